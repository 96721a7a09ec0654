"""The fixture `jobyard`, used as users do."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from jobyard import AsyncClient, Client, Retry, Unrecoverable, chain, current_job, group, schedule, task
from jobyard.engine.client.interception import interceptor
from jobyard.engine.errors import Conflict, InvalidRequest, JobFailed, NotFinished, NotFound
from jobyard.engine.jobs.job import ExecutionStatus, Status
from jobyard.engine.tasks.declared_schedules import DECLARED
from jobyard.engine.testing.inline import InlineJobyard
from jobyard.engine.testing.pytest_plugin import jobyard as jobyard

ran: list[Any] = []


@task("inline.note", max_retries=2)
def note(payload: Any) -> Any:
    ran.append(payload)
    return {"attempt": current_job().attempt}


@task("inline.fan_out")
def fan_out(payload: int) -> list[str]:
    return [note.submit(number, idempotency_key=f"{current_job().job_id}-{number}") for number in range(payload)]


@task("inline.unsteady", max_retries=2)
def unsteady(payload: int) -> str:
    ran.append(current_job().attempt)
    if current_job().attempt < payload:
        raise ConnectionError("not today")
    return "well"


@task("inline.patient", max_retries=1)
def retries_itself(payload: Any) -> str:
    if current_job().retry_count < payload:
        raise Retry(delay_s=3600)
    return "well"


@task("inline.hopeless")
def hopeless(payload: Any) -> None:
    raise Unrecoverable("no use")


@task("inline.breaks_off")
def raises_connect_error(payload: Any) -> None:
    raise httpx.ConnectError("an error of httpx that must not be taken for one of the client's own")


@task("inline.again")
def again(payload: Any) -> None:
    again.submit(payload)


@task("inline.coroutine")
async def coroutine(payload: Any) -> Any:
    await anyio.sleep(0)
    return payload


@task("inline.resize")
def resize(*, path: Path, width: int = 100) -> list[Any]:
    return [path, width]


@task("inline.choosy", max_retries=2, retry_on=OSError, retry_base_s=0.5)
def choosy(payload: str) -> None:
    raise {"ConnectionError": ConnectionError, "KeyError": KeyError}[payload]()


def submit_in_a_child() -> None:
    note.submit(1)


MADE_EARLY = Client("http://192.0.2.1:9", retry_s=0)


class OfTheProject(Client):
    """A project may have one of its own."""


@pytest.fixture(autouse=True)
def forget(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the schedules of this file where they are not wanted: in some minutes of the day, they would fire."""
    ran.clear()
    if request.function is not test_schedules_fire_when_the_clock_is_moved:
        for name in ("inline.nightly", "inline.often"):
            monkeypatch.delitem(DECLARED, name)


def test_submitted_jobs_run_when_drained(jobyard: InlineJobyard) -> None:
    job_id = note.submit({"to": "ann"})
    assert ran == [] and jobyard.client.get(job_id).status is Status.PENDING

    [job] = jobyard.drain()

    assert ran == [{"to": "ann"}]
    assert (job.job_id, job.status, job.result, job.max_retries) == (job_id, Status.COMPLETED, {"attempt": 1}, 2)
    assert [execution.status for execution in jobyard.client.executions(job_id)] == [ExecutionStatus.SUCCESS]


def test_jobs_submitted_by_a_job_are_drained_too(jobyard: InlineJobyard) -> None:
    fan_out.submit(3)

    ended = jobyard.drain()

    assert [job.task for job in ended] == ["inline.fan_out", "inline.note", "inline.note", "inline.note"] and ran == [0, 1, 2]


def test_inline_jobs_run_at_once_unless_they_are_due_later(jobyard: InlineJobyard) -> None:
    jobyard.is_inline = True

    fan_out.submit(2)
    note.submit("later", delay_s=60)
    assert ran == [0, 1]
    jobyard.advance(60)

    assert [job.payload for job in jobyard.run_due()] == ["later"]


def test_urgent_jobs_run_first_and_late_ones_last(jobyard: InlineJobyard) -> None:
    note.submit("late", delay_s=86400, priority=9)
    note.submit("usual")
    note.submit("urgent", priority="high")

    jobyard.drain()

    assert ran == ["urgent", "usual", "late"]


def test_drain_raises_a_tasks_exception(jobyard: InlineJobyard) -> None:
    job_id = unsteady.submit(2)

    with pytest.raises(ConnectionError, match="not today"):
        jobyard.drain()

    assert jobyard.client.get(job_id).status is Status.PENDING and ran == [1]


def test_without_raising_a_job_is_retried_as_by_a_worker(jobyard: InlineJobyard) -> None:
    good, bad = unsteady.submit(3), unsteady.submit(9)

    jobs = {job.job_id: job for job in jobyard.drain(raising=False)}

    assert (jobs[good].status, jobs[good].attempt, jobs[good].result) == (Status.COMPLETED, 3, "well")
    assert (jobs[bad].status, jobs[bad].attempt, jobs[bad].error) == (Status.FAILED, 3, "ConnectionError: not today")
    with pytest.raises(JobFailed, match="ConnectionError: not today"):
        jobs[bad].raise_for_status()


def test_a_retry_is_raised_only_when_no_retries_are_left(jobyard: InlineJobyard) -> None:
    retries_itself.submit(1)
    [job] = jobyard.drain()
    retries_itself.submit(2)

    with pytest.raises(Retry):
        jobyard.drain()

    assert job.result == "well" and (job.finished_at - job.created_at).total_seconds() >= 3600  # type: ignore[operator]


@pytest.mark.parametrize(("failing", "kind"), [(hopeless, Unrecoverable), (raises_connect_error, httpx.ConnectError)])
def test_inline_submit_raises_the_tasks_exception(jobyard: InlineJobyard, failing: Any, kind: type[Exception]) -> None:
    jobyard.is_inline = True

    with pytest.raises(kind):
        failing.submit(1)

    assert len(jobyard.jobs()) == 1


def test_waiting_runs_the_job(jobyard: InlineJobyard) -> None:
    job_id = unsteady.submit(3, delay_s=600)

    assert jobyard.client.wait(job_id).attempt == 3


def test_waiting_for_a_job_that_cannot_finish_raises(jobyard: InlineJobyard) -> None:
    @task("inline.waits_for_itself")
    def waits_for_itself(payload: Any) -> None:
        jobyard.client.wait(current_job().job_id)

    waits_for_itself.submit()

    with pytest.raises(NotFinished):
        jobyard.drain()


def test_jobs_that_submit_themselves_for_ever_are_noticed(jobyard: InlineJobyard) -> None:
    again.submit()

    with pytest.raises(AssertionError, match="submits itself"):
        jobyard.drain()


def test_asynchronous_code_can_use_the_async_client(jobyard: InlineJobyard) -> None:
    async def main() -> Any:
        client = jobyard.async_client
        ids = await client.submit_many([{"task": coroutine, "payload": number} for number in range(3)], chunk=2)
        return [(await client.wait(job_id)).result for job_id in ids], [job.payload async for job in client.iter_jobs()]

    assert anyio.run(main) == ([0, 1, 2], [2, 1, 0])


def test_invalid_requests_are_refused_as_by_the_service(jobyard: InlineJobyard) -> None:
    with pytest.raises(InvalidRequest, match="priority must be") as wrong:
        note.submit(1, priority=10)
    with pytest.raises(InvalidRequest, match="is not registered"):
        jobyard.client.submit("inline.unheard_of")
    with pytest.raises(NotFound):
        jobyard.client.get("a" * 24)

    assert wrong.value.field == "priority" and jobyard.jobs() == []


def test_the_same_key_creates_one_job(jobyard: InlineJobyard) -> None:
    assert note.submit(1, idempotency_key="k") == note.submit(1, idempotency_key="k")
    with pytest.raises(Conflict) as other:
        note.submit(2, idempotency_key="k")

    assert (other.value.code, other.value.field, len(jobyard.jobs())) == ("idempotency_conflict", "idempotency_key", 1)


def test_a_conflicting_key_refuses_the_whole_batch(jobyard: InlineJobyard) -> None:
    note.submit(1, idempotency_key="k")

    with pytest.raises(Conflict, match=r"^jobs\[1\]: this idempotency_key was used for job") as wrong:
        jobyard.client.submit_many([{"payload": 1}, {"payload": 2, "idempotency_key": "k"}])

    assert wrong.value.field == "jobs[1].idempotency_key" and len(jobyard.jobs()) == 1


def test_a_batch_is_accepted_completely_or_not_at_all(jobyard: InlineJobyard) -> None:
    with pytest.raises(InvalidRequest, match=r"^jobs\[1\]: priority"):
        jobyard.client.submit_many([{"payload": 1}, {"payload": 2, "priority": 77}])

    assert jobyard.jobs() == [] and len(jobyard.client.submit_many({"payload": number} for number in range(5))) == 5


def test_jobs_are_cancelled_retried_counted_and_listed(jobyard: InlineJobyard) -> None:
    job_id = note.submit(1)
    note.submit(2, queue="other")

    assert jobyard.client.cancel(job_id).status is Status.CANCELLED
    with pytest.raises(Conflict):
        jobyard.client.cancel(job_id)
    assert jobyard.client.stats()["jobs"]["cancelled"] == 1 and jobyard.client.health().is_healthy
    assert jobyard.client.retry(job_id).status is Status.PENDING
    assert [job.payload for job in jobyard.client.iter_jobs(queue="other")] == [2]
    (second,) = jobyard.client.iter_jobs(queue="other")
    assert [job.payload for job in jobyard.client.iter_jobs(text="2")] == [2]
    assert second in list(jobyard.client.iter_jobs(created_after=second.created_at))
    assert second not in list(jobyard.client.iter_jobs(created_before=second.created_at))
    with pytest.raises(InvalidRequest, match="text must be"):
        list(jobyard.client.iter_jobs(text=""))
    assert [job.payload for job in jobyard.jobs("inline.note")] == [1, 2]


def test_every_client_is_caught_however_it_was_made(jobyard: InlineJobyard) -> None:
    async def submit() -> list[str]:
        async with AsyncClient("http://192.0.2.1:9") as client:
            return [await client.submit(note, 1), await note.submit_async(2)]

    ids = [
        MADE_EARLY.submit(note, 3), Client("http://192.0.2.1:9", token="t").submit(note, 4), *anyio.run(submit),
        Client(http=httpx.Client()).submit(note, 5), OfTheProject("http://192.0.2.1:9").submit(note, 6),
    ]  # fmt: skip

    assert sorted(job.payload for job in jobyard.jobs("inline.note")) == [1, 2, 3, 4, 5, 6]
    assert [job.job_id for job in jobyard.drain()] == [MADE_EARLY.get(job_id).job_id for job_id in ids[:1] + ids[1:2] + ids[2:]]


def test_handles_ask_the_test(jobyard: InlineJobyard) -> None:
    handle, later = note.submit(1), note.submit(2, delay_s=60)

    async def wait() -> Any:
        submitted = await note.submit_async(3)
        return (await submitted.wait()).result, (await submitted.get()).status

    assert handle.wait().result == {"attempt": 1} and handle.get().status is Status.COMPLETED
    assert later.cancel().status is Status.CANCELLED and pickle.loads(pickle.dumps(later)).get().status is Status.CANCELLED
    assert anyio.run(wait) == ({"attempt": 1}, Status.COMPLETED)


def test_a_process_that_the_test_starts_cannot_submit(jobyard: InlineJobyard) -> None:
    program = "from jobyard import Client; Client('http://192.0.2.1:9').submit('echo')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    with multiprocessing.get_context("fork").Pool(1) as pool, pytest.raises(RuntimeError, match="started by a test"):
        pool.apply(submit_in_a_child)

    assert ended.returncode == 1 and "this process was started by a test that uses the fixture" in ended.stderr
    assert jobyard.jobs() == []


def test_after_the_test_its_client_refuses_and_others_are_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with InlineJobyard() as jobyard:
        client = jobyard.client

    with pytest.raises(RuntimeError, match="the test that this client belongs to is over"):
        client.submit("echo")
    assert interceptor() is None and "JOBYARD_TEST_PROCESS" not in os.environ


def test_keyword_only_parameters_are_converted_as_by_a_worker(jobyard: InlineJobyard) -> None:
    resize.submit(path=Path("a.png"))
    jobyard.client.submit("inline.resize", {"path": 5})

    ended = jobyard.drain(raising=False)

    assert [(job.status, job.result, job.attempt) for job in ended] == [("completed", ["a.png", 100], 1), ("failed", None, 1)]
    assert ended[1].error == "WrongArguments: arguments of task 'inline.resize': path: expected str, got int"


def test_a_job_that_does_not_begin_in_time_expires(jobyard: InlineJobyard) -> None:
    late, now = note.submit(1, expires_s=60), note.submit(2, delay_s=30, expires_s=60)

    jobyard.advance(61)

    assert late.get().status is Status.CANCELLED and late.get().cancelled_because == {"reason": "expired"}
    assert [job.job_id for job in jobyard.drain()] == [now] and now.get().attempt == 1
    assert jobyard.client.retry(late).expires_s == 60 and late.wait().status is Status.COMPLETED


def test_a_failed_task_is_tried_again_by_its_own_rules(jobyard: InlineJobyard) -> None:
    for kind in ("ConnectionError", "KeyError"):
        choosy.submit(kind)

    ended = jobyard.drain(raising=False)

    assert sorted((job.error, job.attempt) for job in ended) == [("ConnectionError", 3), ("KeyError", 1)]


def test_the_fixture_works_as_a_pytest_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(
        "from jobyard import task\n\n@task('theirs')\ndef theirs(payload): return payload\n\n"
        "def test_theirs(jobyard):\n    theirs.submit(7)\n    assert [job.result for job in jobyard.drain()] == [7]\n"
        "def test_fresh(jobyard):\n    assert jobyard.jobs() == []\n"
    )
    plugins = ["-p", "jobyard.engine.testing.pytest_plugin", "-p", "no:cacheprovider"]
    words = [sys.executable, "-m", "pytest", "-q", *plugins, "-W", "error", "."]

    ended = subprocess.run(words, cwd=tmp_path, env=os.environ, capture_output=True, text=True)

    assert ended.returncode == 0 and "2 passed" in ended.stdout, ended.stdout


def test_a_unique_job_is_one_job(jobyard: InlineJobyard) -> None:
    first = jobyard.client.submit("inline.note", 1, unique="k")

    assert jobyard.client.submit("inline.note", 2, unique="k") == first
    assert [job.result for job in jobyard.drain()] == [{"attempt": 1}]
    assert jobyard.client.submit("inline.note", 3, unique="k") != first


def test_a_handle_tells_whether_the_job_existed(jobyard: InlineJobyard) -> None:
    async def submit() -> list[bool]:
        async with AsyncClient() as client:
            return [(await client.submit(note, 1, unique="k")).existing, (await note.submit_async(1, unique="k")).existing]

    first, again, other = (note.submit(number, unique=key) for number, key in ((1, "k"), (2, "k"), (3, None)))
    many = jobyard.client.submit_many([{"task": "inline.note", "unique": key} for key in ("k", "l", "l")])

    assert (first.existing, again.existing, other.existing) == (False, True, False)
    assert [one.existing for one in many] == [True, False, True] and anyio.run(submit) == [True, True]


def test_a_unique_job_is_replaced_or_refused(jobyard: InlineJobyard) -> None:
    debounce = {"key": "k", "until": "begun", "on_conflict": "replace"}
    first = jobyard.client.submit("inline.note", 1, unique=debounce, delay_s=60)

    assert jobyard.client.submit("inline.note", 2, unique=debounce, delay_s=60) == first
    with pytest.raises(Conflict) as refused:
        jobyard.client.submit("inline.note", 3, unique={"key": "k", "on_conflict": "refuse"})

    assert refused.value.code == "not_unique"
    assert [job.payload for job in jobyard.drain()] == [2]


@task("inline.nightly", cron="0 2 * * *", payload={"a": 1})
def nightly(payload: Any) -> str:
    fire_at = current_job().fire_at
    assert fire_at is not None
    return f"{fire_at:%H:%M}"


schedule("inline.often", task=nightly, every_s=8 * 3600, overlap="all")


def test_schedules_fire_when_the_clock_is_moved(jobyard: InlineJobyard) -> None:
    assert jobyard.jobs() == []

    jobyard.advance(24 * 3600)
    ended = jobyard.run_due()

    assert sorted(job.schedule or "" for job in ended) == ["inline.nightly", *["inline.often"] * 3]
    assert {(job.result, job.payload and job.payload["a"]) for job in ended if job.schedule == "inline.nightly"} == {("02:00", 1)}


def test_workflows_run_in_order(jobyard: InlineJobyard) -> None:
    first = jobyard.client.submit("inline.note", 1)
    second = jobyard.client.submit("inline.note", 2, after=[first])
    third = jobyard.client.submit("inline.note", 3, after=[second], group="g")
    last = jobyard.client.submit("inline.note", 4, after=[{"group": "g"}], priority="high")

    ended = jobyard.drain()

    assert [job.job_id for job in ended] == [first, second, third, last]


def test_a_failure_cancels_what_waits_and_its_retry_restores_it(jobyard: InlineJobyard) -> None:
    first = jobyard.client.submit("inline.hopeless")
    second = jobyard.client.submit("inline.note", 2, after=[first])
    jobyard.drain(raising=False)
    cancelled = jobyard.client.get(second)

    with pytest.raises(Conflict) as refused:
        jobyard.client.retry(second)
    jobyard.client.retry(first)

    assert cancelled.cancelled_because == {"reason": "dependency_failed", "job_id": first}
    assert refused.value.code == "blocked_by"
    assert jobyard.client.get(second).status is Status.BLOCKED


@task("inline.collect")
def collect(payload: str | None) -> Any:
    job = current_job()
    return {"results": dict(job.results), "group": [tuple(one) for one in job.group_results(payload)] if payload else None}


def test_a_job_reads_the_results_of_what_it_waited_for(jobyard: InlineJobyard) -> None:
    first, second, last = chain(note.job(1, ref="a"), note.job(2), collect.job(None)).submit()
    jobyard.drain()

    assert jobyard.client.get(last).result["results"] == {"2": {"attempt": 1}}
    named = jobyard.client.submit("inline.collect", after=[first, second])
    jobyard.drain()
    assert jobyard.client.get(named).result["results"] == {first: {"attempt": 1}, second: {"attempt": 1}}


def test_a_callback_reads_the_results_of_its_group_in_order(jobyard: InlineJobyard) -> None:
    *members, last = group("g", [note.job(1), hopeless.job(2), note.job(3)]).then(collect.job("g"), run_if="ended").submit()
    jobyard.drain(raising=False)

    told = jobyard.client.get(last).result
    assert told["results"] == {}
    assert told["group"] == [
        [members[0], "completed", {"attempt": 1}], [members[1], "failed", None], [members[2], "completed", {"attempt": 1}],
    ]  # fmt: skip


def test_a_batch_takes_jobs_and_dicts(jobyard: InlineJobyard) -> None:
    first, second = jobyard.client.submit_batch([note.job(1, ref="a"), {"task": note, "payload": 2, "after": ["a"]}])

    assert jobyard.client.get(second).after == ({"job_id": first, "ref": "a"},)


@task("inline.tagged", tags=["b"])
def tagged(payload: Any) -> Any:
    if payload is None:
        raise ValueError("nothing 7")
    return payload


def test_jobs_are_found_by_tags_and_kinds_of_errors(jobyard: InlineJobyard) -> None:
    first, _ = tagged.submit(1, tags=["a", "b"]), tagged.submit(None, max_retries=0)
    jobyard.drain(raising=False)

    assert [job.job_id for job in jobyard.client.iter_jobs(tag=["a", "b"])] == [first]
    assert [job.tags for job in jobyard.client.iter_jobs(tag="b")] == [("b",), ("a", "b")]
    assert [job.payload for job in jobyard.client.iter_jobs(error_kind="ValueError: nothing")] == [None]


def test_a_failed_job_is_retried_with_another_payload_and_deleted(jobyard: InlineJobyard) -> None:
    job_id = tagged.submit(None, max_retries=0)
    jobyard.drain(raising=False)

    again = jobyard.client.retry(job_id, payload=[1], delay_s=60)

    assert (again.payload, again.scheduled_at - again.updated_at) == ([1], timedelta(seconds=60))
    with pytest.raises(Conflict, match="only jobs that have ended can be deleted"):
        jobyard.client.delete(job_id)
    assert jobyard.client.ask("POST", f"/api/jobs/{job_id}/run")["status"] == "pending"
    assert [job.result for job in jobyard.run_due()] == [[1]]
    assert jobyard.client.ask("PUT", f"/api/jobs/{job_id}/tags", ["z"])["tags"] == ["z"]
    jobyard.client.delete(job_id)
    assert jobyard.jobs() == []
