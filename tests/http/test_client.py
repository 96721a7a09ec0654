"""The client against the real app: requests are understood, answers become values and errors."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from jobyard import Client
from jobyard.engine.errors import Conflict, InvalidRequest, NotFound, TooLarge, Unauthorized, Unavailable
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Outcome, Status
from tests.http.conftest import Backend
from tests.support.world import START

UNKNOWN_ID = "f" * 24


def a_client(backend: Backend, token: str | None = None) -> Client:
    transport = httpx.WSGITransport(app=backend.client().application)
    return Client("http://localhost", token, retry_s=0, http=httpx.Client(transport=transport))


@pytest.fixture
def client(backend: Backend) -> Iterator[Client]:  # type: ignore[override]
    yield a_client(backend)


def test_a_job_comes_back_as_it_was_sent(client: Client) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    payload = {"a": [1.5, None, "ä\U0001f600"], "big": 2**63 - 1}

    job_id = client.submit(
        "resize", payload, queue="mail", priority="high", scheduled_at=at, max_retries=0, timeout_s=2.5, idempotency_key="k"
    )
    job = client.get(job_id)

    assert (job.task, job.payload, job.queue, job.priority, job.scheduled_at) == ("resize", payload, "mail", 9, at)
    assert (job.max_retries, job.timeout_s, job.idempotency_key, job.status) == (0, 2.5, "k", Status.PENDING)


def test_a_submission_without_arguments_is_an_echo_with_a_generated_key(client: Client) -> None:
    jobs = [client.get(client.submit()) for _ in range(2)]

    assert [(job.task, job.payload) for job in jobs] == [("echo", None)] * 2
    assert jobs[0].idempotency_key != jobs[1].idempotency_key


def test_a_repeated_batch_is_stored_once(client: Client) -> None:
    jobs = [{"payload": number, "task": "echo"} for number in range(7)]

    first = client.submit_many(jobs, chunk=3, idempotency_key="import")
    second = client.submit_many(jobs, chunk=4, idempotency_key="import")

    assert first == second and [client.get(job_id).payload for job_id in first] == list(range(7))
    assert [job.payload for job in client.iter_jobs(page=3)] == list(range(6, -1, -1))


def test_lists_are_filtered(client: Client) -> None:
    client.submit(queue="a", payload=1)
    client.cancel(client.submit(queue="b", payload=2))

    assert [job.payload for job in client.iter_jobs(queue="a")] == [1]
    assert [job.payload for job in client.iter_jobs(status="cancelled", task="echo")] == [2]
    assert list(client.iter_jobs(task="resize")) == []


@pytest.mark.parametrize(
    ("options", "kind", "code", "field"),
    [
        ({"priority": 77}, InvalidRequest, "invalid_field", "priority"), ({"task": "x"}, InvalidRequest, "unknown_task", "task"),
        ({"payload": "x" * (1 << 20)}, TooLarge, "payload_too_large", "payload"),
        ({"colour": 1}, InvalidRequest, "unknown_field", "colour"),
    ],
)  # fmt: skip
def test_a_refused_job_is_an_error_with_the_services_message(
    client: Client, options: dict[str, object], kind: type[InvalidRequest], code: str, field: str
) -> None:
    with pytest.raises(kind) as alone:
        client.submit(**options)  # type: ignore[arg-type]
    with pytest.raises(kind) as in_many:
        client.submit_many([{}, {}, options], chunk=2)

    assert (alone.value.code, alone.value.field) == (code, field)
    assert (in_many.value.code, in_many.value.field) == (code, f"jobs[2].{field}")
    assert in_many.value.message == f"jobs[2]: {alone.value.message}" and "first 2 jobs" in in_many.value.__notes__[0]


def test_a_key_with_another_body_is_a_conflict(client: Client) -> None:
    client.submit(payload=1, idempotency_key="k")

    with pytest.raises(Conflict) as wrong:
        client.submit(payload=2, idempotency_key="k")

    assert wrong.value.code == "idempotency_conflict"


def test_an_unknown_job_raises_not_found(client: Client) -> None:
    for ask in (client.get, client.executions, client.cancel, client.retry, client.wait):
        with pytest.raises(NotFound):
            ask(UNKNOWN_ID)
    with pytest.raises(InvalidRequest, match="24 hexadecimal digits"):
        client.get("nobody")


def test_cancelling_and_retrying(client: Client) -> None:
    job_id = client.submit()

    cancelled = client.cancel(job_id)
    pending = client.retry(job_id)

    assert (cancelled.status, pending.status) == (Status.CANCELLED, Status.PENDING) and pending.epoch > cancelled.epoch
    with pytest.raises(Conflict, match="only failed and cancelled"):
        client.retry(job_id)


def test_a_retry_with_edits_and_a_deletion(client: Client) -> None:
    job_id = client.submit(payload=1, tags=("b", "a"))
    client.cancel(job_id)

    again = client.retry(job_id, payload=None, delay_s=60, max_retries=1)

    assert (again.payload, again.max_retries, again.tags) == (None, 1, ("a", "b"))
    assert [job.job_id for job in client.iter_jobs(tag=["a", "b"], page=1)] == [job_id]
    with pytest.raises(Conflict, match="only jobs that have ended can be deleted"):
        client.delete(job_id)
    client.cancel(job_id)
    client.delete(job_id)
    with pytest.raises(NotFound):
        client.delete(job_id)


def test_an_attempt_is_shown_with_its_times(backend: Backend, client: Client) -> None:
    job_id = client.submit()
    [job] = backend.store.find([job_id])
    assert job is not None
    for change in (lambda job: lifecycle.claim(job, owner="box:b00t:watcher-9001:1", now=START),
                   lambda job: lifecycle.enqueue(job, now=START),
                   lambda job: lifecycle.begin(job, owner="box:b00t:worker-7001:1", now=START, lease_s=30),
                   lambda job: lifecycle.settle(
                       job, Outcome(status=ExecutionStatus.SUCCESS, result=b'"x"'), now=START, retry_base_s=1)):  # fmt: skip
        asked = change(job)
        assert backend.store.apply([asked]) == [True]
        job = asked.after(job)

    [execution] = client.executions(job_id)

    assert (execution.attempt, execution.status, execution.started_at) == (1, ExecutionStatus.SUCCESS, START)
    assert client.wait(job_id).result == "x"


def test_stats_and_health(backend: Backend, client: Client) -> None:
    client.submit()
    assert client.stats()["jobs"]["pending"] == 1 and client.health().is_healthy

    backend.silent = {"queue-6000"}

    assert client.health().down == ("queue-6000",)


def test_no_healthy_scheduler_is_unavailable(backend: Backend, client: Client) -> None:
    backend.silent = {"scheduler-8081"}

    with pytest.raises(Unavailable) as wrong:
        client.submit()

    assert (wrong.value.code, wrong.value.retry_after_s) == ("no_scheduler", 1)


def test_a_token_is_needed_where_one_is_set(tmp_path: Path) -> None:
    backend = Backend(tmp_path, API_TOKEN="a-token-that-is-long-enough-to-be-one")

    for token in (None, "wrong"):
        with pytest.raises(Unauthorized) as wrong:
            a_client(backend, token).submit()
        assert wrong.value.code == "unauthorized" and a_client(backend, token).health().is_healthy
    assert a_client(backend, "a-token-that-is-long-enough-to-be-one").submit()
