"""The scheduler's role: one commit for all that was submitted, an answer for everything that was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.control.snapshot import stats_of
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.executor.outcomes import MAX_ERROR_CHARS
from jobyard.engine.hosts.failure_detector import OtherHosts
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.scheduler.group_commit import BYTES_A_TURN, JOBS_A_TURN
from jobyard.engine.scheduler.question_queue import MAX_HEAVY
from jobyard.engine.scheduler.scheduler import IDLE_S, Scheduler
from jobyard.engine.store.port import HostHeartbeat, Inserted, Insertion, Page, Seen, nobody
from jobyard.engine.tasks.catalog import write_catalog
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.why.facts import ProcessReport, WorkerSeen
from jobyard.engine.wire.frames import MAX_FRAME_BYTES, Damaged, frame
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import (
    Accepted,
    Begun,
    CancelAsked,
    CancelJob,
    ChangeMany,
    CountJobs,
    CountMatching,
    Expired,
    Explain,
    Find,
    Json,
    List,
    ListExecutions,
    Ping,
    Refused,
    Replied,
    RetryJob,
    Submit,
    Submits,
    Wake,
)
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.wire.turns import TURN_S
from jobyard.engine.world import later_id
from tests.support.builders import a_job, a_log
from tests.support.claims import claim
from tests.support.memory_store import MemoryStore
from tests.support.network import FakeNetwork, FakePeer
from tests.support.world import START, FakeWorld

WORKER = "box:b00t:worker-7001:1"
PENDING = JobFilter(queue="q", status=Status.PENDING)


class Bench:
    """A scheduler with everything around it; two watchers and a queue should be there."""

    def __init__(self, folder: Path, *jobs: Job, store: MemoryStore | None = None, **asked: str) -> None:
        self.world = FakeWorld()
        self.store = store or MemoryStore()
        self.network = FakeNetwork()
        self.run_dir = RunDir(folder)
        self.run_dir.make()
        write_catalog(self.run_dir, {"echo": TaskOptions(), "resize": TaskOptions(max_retries=1, timeout_s=7)})
        for name in ("watcher-9001", "watcher-9002", "queue-6000"):
            (self.run_dir.path / f"{name}.sock").touch()
        self.store.insert([jobs])
        self.store.commits = 0
        self.scheduler = Scheduler(
            owner="box:b00t:scheduler-8081:1", settings=read_settings(asked), world=self.world, store=self.store,
            network=self.network, log=a_log(), run_dir=self.run_dir,
        )  # fmt: skip

    def submit(self, body: object, *, form: str = "job", waits_s: float = 5, **more: str) -> Submit:
        """A request as the front sends it, with ids reserved for it."""
        count = 1 if form == "job" else 10_000
        return Submit(
            form=form, body=body if isinstance(body, bytes) else json.dumps(body).encode(), first_id=self.world.reserve_ids(count),
            deadline=self.world.monotonic() + waits_s, idempotency_key=more.get("key"),
        )  # fmt: skip

    def ask(self, *messages: Message) -> list[Message]:
        """All in one turn; the answers in the same order."""
        peers = [FakePeer() for _ in messages]
        self.scheduler.tick([peer.says(message) for peer, message in zip(peers, messages, strict=True)])
        return [answer for peer in peers for answer in peer.received]

    def stats(self) -> dict[str, object]:
        """What it counts, as it is shown."""
        return stats_of(self.scheduler.counters(), self.world.monotonic())

    def show(self, message: Message) -> dict[str, object]:
        """The JSON of the one answer."""
        (answer,) = self.ask(message)
        assert isinstance(answer, Json), answer
        shown: dict[str, object] = json.loads(answer.body)
        return shown

    def refusal(self, message: Message) -> Refused:
        (answer,) = self.ask(message)
        assert isinstance(answer, Refused), answer
        return answer

    def statuses(self) -> list[Status]:
        return [job.status for job in self.store.all_jobs()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


MakeBench = Callable[..., Bench]


@pytest.fixture
def bench_with(tmp_path: Path) -> MakeBench:
    return lambda *jobs, **asked: Bench(tmp_path, *jobs, **asked)


# ---- submissions


def test_all_that_was_submitted_since_the_last_turn_is_one_commit(bench: Bench) -> None:
    answers = bench.ask(*(bench.submit({"payload": number}) for number in range(20)))

    assert bench.store.commits == 1
    assert [answer.job_ids[0] for answer in answers if isinstance(answer, Accepted)] == [
        job.job_id for job in bench.store.all_jobs()
    ]
    assert [job.payload for job in bench.store.all_jobs()] == [str(number).encode() for number in range(20)]


def test_a_bad_request_is_told_and_hurts_no_other(bench: Bench) -> None:
    good, bad, batch = bench.submit({}), bench.submit({"priority": 10}), bench.submit({"jobs": [{}, {"nope": 1}]}, form="batch")

    answers = bench.ask(good, bad, batch, bench.submit(b"\xff"), bench.submit({}))

    assert [getattr(answer, "code", "") for answer in answers] == ["", "invalid_field", "unknown_field", "invalid_json", ""]
    assert len(bench.store.all_jobs()) == 2


def test_a_batch_is_stored_whole_and_in_order(bench: Bench) -> None:
    submit = bench.submit({"jobs": [{"payload": 1}, {"payload": 2}]}, form="batch")

    assert bench.ask(submit) == [Accepted(job_ids=[submit.first_id, later_id(submit.first_id, 1)])]


def test_a_task_brings_its_defaults(bench: Bench) -> None:
    bench.ask(bench.submit({"task": "resize"}))

    (job,) = bench.store.all_jobs()
    assert (job.max_retries, job.timeout_s) == (1, 7)


def test_the_same_request_come_again_stores_one_job(tmp_path: Path, bench: Bench) -> None:
    other = Bench(tmp_path, store=bench.store)
    submit = bench.submit({"payload": 1})

    answers = bench.ask(submit) + other.ask(submit) + other.ask(submit, submit)

    assert answers == [Accepted(job_ids=[submit.first_id])] * 4
    assert len(bench.store.all_jobs()) == 1


def test_the_same_key_and_body_give_the_first_job_and_another_body_a_conflict(bench: Bench) -> None:
    first, again, other = (bench.submit({"payload": payload}, key="k") for payload in (1, 1, 2))

    answers = bench.ask(first, again, other)

    assert answers[:2] == [Accepted(job_ids=[first.first_id]), Accepted(job_ids=[first.first_id], repeated=1)]
    assert isinstance(answers[2], Refused)
    assert (answers[2].code, answers[2].field) == ("idempotency_conflict", "idempotency_key")
    assert len(bench.store.all_jobs()) == 1


def test_a_key_taken_by_another_body_refuses_the_whole_batch_and_names_the_job(bench: Bench) -> None:
    bench.ask(bench.submit({"payload": 1}, key="k"))

    refused = bench.refusal(bench.submit({"jobs": [{}, {"payload": 2, "idempotency_key": "k"}]}, form="batch"))

    assert (refused.code, refused.field) == ("idempotency_conflict", "jobs[1].idempotency_key")
    assert len(bench.store.all_jobs()) == 1


def test_a_request_nobody_waits_for_any_more_is_not_stored(bench: Bench) -> None:
    late, in_time = bench.submit({}, waits_s=1), bench.submit({}, waits_s=5)
    bench.world.advance(2)

    answers = bench.ask(late, in_time)

    assert {type(answer) for answer in answers} == {Expired, Accepted}
    assert [job.job_id for job in bench.store.all_jobs()] == [in_time.first_id]


class Slow(MemoryStore):
    """Two seconds for an insert."""

    world = FakeWorld()

    def insert(
        self, requests: Sequence[Sequence[Job]], *, abandoned: Callable[[int], bool] = lambda number: False, seen: Seen = nobody
    ) -> list[Insertion]:  # fmt: skip
        self.world.advance(2)
        return super().insert(requests, abandoned=abandoned, seen=seen)


def test_a_request_whose_time_is_up_while_it_waits_for_the_commit_is_not_stored(tmp_path: Path) -> None:
    store = Slow()
    bench = Bench(tmp_path, store=store)
    store.world = bench.world

    answers = bench.ask(bench.submit({}, waits_s=1))

    assert answers == [Expired()]
    assert bench.store.all_jobs() == []


def test_without_a_database_everybody_is_told_to_come_again(bench: Bench) -> None:
    bench.store.is_down = True

    answers = bench.ask(bench.submit({}), bench.submit({}), Find(job_id="0" * 24), Ping())

    assert [(answer.code, answer.retry_after_s) for answer in answers if isinstance(answer, Refused)] == [
        ("database_unavailable", 1)
    ] * 4


def test_above_max_pending_nothing_more_is_taken_until_some_are_done(bench_with: MakeBench) -> None:
    bench = bench_with(a_job(), a_job(), MAX_PENDING="2")

    refused = bench.refusal(bench.submit({}))
    claim(bench.store, most=1)

    assert (refused.code, refused.retry_after_s) == ("overloaded", 5)
    assert [type(answer) for answer in bench.ask(bench.submit({}))] == [Accepted]


def test_very_large_requests_are_read_over_several_turns_and_a_drain_waits_for_them(bench: Bench) -> None:
    body = b'{"payload":1}' + b" " * (BYTES_A_TURN // 2)
    peers = [FakePeer() for _ in range(5)]

    sleeps = [bench.scheduler.tick([peer.says(bench.submit(body)) for peer in peers])]
    answered = [sum(bool(peer.received) for peer in peers)]
    bench.scheduler.drain()
    while not bench.scheduler.drained:
        sleeps.append(bench.scheduler.tick([]))
        answered.append(sum(bool(peer.received) for peer in peers))

    assert answered == [2, 4, 5]
    assert sleeps == [0.0, 0.0, IDLE_S]


def test_who_asks_whether_we_live_is_answered_before_the_commit_and_between_two(bench: Bench) -> None:
    commits: list[int] = []

    class Asks(FakePeer):
        def send(self, message: Message) -> bool:
            commits.append(bench.store.commits)
            return super().send(message)

    batches = [bench.submit({"jobs": [{}] * JOBS_A_TURN}, form="batch") for _ in range(2)]

    bench.scheduler.tick([*(FakePeer().says(batch) for batch in batches), Asks().says(Ping())])
    bench.scheduler.tick([Asks().says(Ping())])

    assert commits == [0, 1]
    assert bench.store.commits == 2


# ---- waking a watcher


def test_all_schedulers_wake_the_same_watcher_for_a_while_and_then_another_one(bench: Bench) -> None:
    for _ in range(3):
        bench.ask(bench.submit({}), bench.submit({}))
    bench.world.advance(TURN_S)
    bench.ask(bench.submit({}))

    first, *others = [address for address, _ in bench.network.hints]
    assert others[:2] == [first, first]
    assert {first, others[2]} == {"watcher-9001", "watcher-9002"}
    assert bench.network.hints[0][1] == Wake(due_at=START)


def test_a_job_that_is_due_soon_wakes_a_watcher_for_its_time_and_a_far_one_does_not(bench: Bench) -> None:
    bench.ask(bench.submit({"delay_s": 1}))
    bench.ask(bench.submit({"delay_s": 3600}))

    assert [message for _, message in bench.network.hints] == [Wake(due_at=START + timedelta(seconds=1))]


def test_what_is_refused_wakes_nobody(bench: Bench) -> None:
    bench.store.is_down = True

    bench.ask(bench.submit({}), bench.submit({"nope": 1}))

    assert bench.network.hints == []


def test_a_new_watcher_is_known_a_second_later(bench: Bench) -> None:
    bench.ask(bench.submit({}))
    (bench.run_dir.path / "watcher-9003.sock").touch()
    bench.world.advance(1.1)

    for _ in range(3):
        bench.ask(bench.submit({}))
        bench.world.advance(TURN_S)

    assert {address for address, _ in bench.network.hints} == {"watcher-9001", "watcher-9002", "watcher-9003"}


# ---- questions


def test_a_job_is_shown_as_the_contract_says(bench: Bench) -> None:
    submit = bench.submit(b'{"payload": {"b": 1.0, "a": []}, "queue": "q", "priority": "high", "timeout_s": 60}')
    bench.ask(submit)

    shown = bench.show(Find(job_id=submit.first_id))

    now = "2026-01-04T02:04:20.123Z"
    assert shown == {
        "job_id": submit.first_id, "task": "echo", "payload": {"b": 1.0, "a": []}, "queue": "q", "priority": 9, "status": "pending",
        "scheduled_at": now, "created_at": now, "updated_at": now, "claimed_by": None, "claimed_at": None, "queued_at": None,
        "locked_by": None, "locked_until": None, "last_run_at": None, "next_run_at": None, "finished_at": None, "attempt": 0,
        "epoch": 0, "lost_count": 0, "retry_count": 0, "max_retries": 5, "timeout_s": 60, "idempotency_key": None, "result": None,
        "error": None, "unique_key": None, "limit": None, "after": None, "run_if": None, "ref": None, "group": None,
        "schedule": None, "fire_at": None, "expires_s": None, "expires_at": None, "cancelled_because": None, "traceparent": None,
        "tracestate": None, "tags": [],
    }  # fmt: skip


def test_the_hold_of_a_living_worker_is_shown_to_last_and_that_of_another_boot_as_it_was(bench_with: MakeBench) -> None:
    mine = a_job(status=Status.RUNNING, locked_by=WORKER, locked_until=START)
    foreign = a_job(status=Status.RUNNING, locked_by="far:other:worker-7001:1", locked_until=START)
    bench = bench_with(mine, foreign)
    bench.world.advance(3600)

    assert bench.show(Find(job_id=mine.job_id))["locked_until"] == "2026-01-04T03:04:50.123Z"
    assert bench.show(Find(job_id=foreign.job_id))["locked_until"] == "2026-01-04T02:04:20.123Z"


@pytest.mark.parametrize("message", [Find, CancelJob, RetryJob, ListExecutions])
def test_a_job_that_is_not_there_is_not_found(bench: Bench, message: Callable[..., Message]) -> None:
    assert bench.refusal(message(job_id="f" * 24)).code == "not_found"


def test_jobs_are_listed_newest_first_by_what_was_asked_for_page_by_page(bench_with: MakeBench) -> None:
    jobs = [a_job(queue="q") for _ in range(3)]
    bench = bench_with(*jobs, a_job(), a_job(queue="q", status=Status.COMPLETED))

    (first,) = bench.ask(List(limit=2, wanted=PENDING))
    assert isinstance(first, Json)
    (second,) = bench.ask(List(limit=2, wanted=PENDING, cursor=first.cursor))
    assert isinstance(second, Json)

    assert [job["job_id"] for job in json.loads(first.body) + json.loads(second.body)] == [job.job_id for job in reversed(jobs)]
    assert second.cursor is None


def test_an_empty_list_is_an_empty_array(bench: Bench) -> None:
    assert bench.ask(List()) == [Json(body=b"[]")]


def test_a_cursor_that_is_none_is_refused(bench: Bench) -> None:
    assert bench.refusal(List(cursor="nope")).code == "invalid_cursor"


def test_executions_are_listed_oldest_first(bench_with: MakeBench) -> None:
    job = a_job(status=Status.RUNNING)
    bench = bench_with(job)
    bench.store.apply([lifecycle.settle(job, Outcome(status=ExecutionStatus.FAILED, error="no"), now=START, retry_base_s=10)])

    (answer,) = bench.ask(ListExecutions(job_id=job.job_id))

    assert isinstance(answer, Json)
    (shown,) = json.loads(answer.body)
    assert (shown["execution_id"], shown["status"], shown["error_message"]) == (f"{job.job_id}-1", "failed", "no")
    assert (shown["finished_at"], shown["duration_ms"]) == ("2026-01-04T02:04:20.123Z", 0)


def test_the_longest_list_of_attempts_fits_into_a_frame(bench: Bench) -> None:
    job = a_job(status=Status.RUNNING)
    bench.store.insert([[job]])
    worst = Outcome(status=ExecutionStatus.RELEASED, error="\x01" * MAX_ERROR_CHARS, traceback="\x01" * MAX_ERROR_CHARS)
    for _ in range(600):
        bench.store.apply([lifecycle.settle(job, worst, now=START, retry_base_s=10)])
        (job,) = claim(bench.store)

    (answer,) = bench.ask(ListExecutions(job_id=job.job_id))

    assert isinstance(answer, Json)
    shown = json.loads(answer.body)
    assert len(shown) < job.attempt == shown[-1]["attempt"]
    assert len(frame(answer)) < MAX_FRAME_BYTES * 3 / 4


class NarrowPeer(FakePeer):
    """One whose frames hold little."""

    def send(self, message: Message) -> bool:
        if isinstance(message, Json) and len(message.body) > 1000:
            raise Damaged("a Json over the limit")
        return super().send(message)


def test_an_answer_that_no_frame_holds_is_refused_and_the_next_one_is_given(bench_with: MakeBench) -> None:
    large, small = a_job(payload=b'"' + b"x" * 1000 + b'"'), a_job()
    bench, asker, other = bench_with(large, small), NarrowPeer(), NarrowPeer()

    bench.scheduler.tick([asker.says(Find(job_id=large.job_id)), other.says(Find(job_id=small.job_id))])

    (refused,), (answer,) = asker.received, other.received
    assert isinstance(refused, Refused) and (refused.code, refused.retry_after_s) == ("query_too_broad", 1)
    assert isinstance(answer, Json)


def test_jobs_are_counted_by_status_all_eight(bench_with: MakeBench) -> None:
    assert bench_with(a_job(), a_job()).show(CountJobs()) == {status: 2 * (status == "pending") for status in Status}


def test_many_are_retried_at_once_and_a_watcher_is_woken(bench_with: MakeBench) -> None:
    bench = bench_with(a_job(status=Status.FAILED), a_job(status=Status.COMPLETED))

    told = bench.show(ChangeMany(verb=lifecycle.Verb.RETRY, body=b'{"filter": {}}'))

    assert told == {"changed": 1, "skipped": 1, "cursor": None}
    assert [job.status for job in bench.store.all_jobs()] == [Status.PENDING, Status.COMPLETED]
    assert [type(hint) for _, hint in bench.network.hints] == [Wake]


def test_many_are_cancelled_at_once_and_whoever_has_them_is_told_once(bench_with: MakeBench) -> None:
    jobs = [a_job(status=Status.RUNNING), a_job(status=Status.RUNNING), a_job(status=Status.QUEUED), a_job()]
    bench = bench_with(*jobs)

    told = bench.show(ChangeMany(verb=lifecycle.Verb.CANCEL, body=b'{"filter": {"task": "echo"}}'))

    assert told == {"changed": 4, "skipped": 0, "cursor": None}
    assert sorted(name for name, hint in bench.network.hints if isinstance(hint, CancelAsked)) == ["worker-7001"]


def test_a_selection_that_is_wrong_changes_nothing(bench_with: MakeBench) -> None:
    bench = bench_with(a_job())

    refusal = bench.refusal(ChangeMany(verb=lifecycle.Verb.CANCEL, body=b'{"filter": {"status": "done"}}'))

    assert (refusal.code, refusal.field) == ("invalid_field", "filter.status")
    assert bench.store.all_jobs()[0].status is Status.PENDING


def test_matching_jobs_are_counted(bench_with: MakeBench) -> None:
    bench = bench_with(a_job(task="resize"), a_job())

    assert bench.show(CountMatching(wanted=JobFilter(task="resize"))) == {"count": 1, "is_exact": True}


def test_a_job_that_does_not_run_is_explained_by_what_the_store_the_hosts_and_the_front_know(bench_with: MakeBench) -> None:
    mine, first = a_job(priority=3), a_job(priority=9)
    bench = bench_with(mine, first, a_job(task="gone", priority=9))
    report = ProcessReport(watchers=1, queues=1, workers=(WorkerSeen(name="worker-7001", slots=1, busy=1),))

    told = bench.show(Explain(job_id=mine.job_id, report=report))

    assert (told["job_id"], told["status"]) == (mine.job_id, "pending")
    assert [reason["code"] for reason in told["reasons"]] == ["jobs_ahead", "slots_busy"]
    assert told["reasons"][0]["ahead"] == 1, "nobody waits for what nobody serves"


def test_why_is_answered_without_the_database_too(bench_with: MakeBench) -> None:
    job = a_job()
    bench = bench_with(job)
    bench.store.is_down = True

    told = bench.show(Explain(job_id=job.job_id, report=ProcessReport()))

    assert told["status"] is None
    assert [reason["code"] for reason in told["reasons"]] == ["database_unavailable", "no_watcher", "no_queue", "no_worker"]


def test_nobody_explains_a_job_that_is_not_there(bench: Bench) -> None:
    assert bench.refusal(Explain(job_id="f" * 24, report=ProcessReport())).code == "not_found"


def test_stats_say_what_the_contract_says(bench: Bench) -> None:
    bench.ask(bench.submit({"jobs": [{}, {}]}, form="batch"), bench.submit({"nope": 1}), Find(job_id="0" * 24), Ping())
    bench.world.advance(2)

    assert bench.stats() == {"scheduler_id": "scheduler-8081", "jobs_accepted": 2, "requests": 3, "uptime_s": 2.0}


def test_jobs_that_a_key_repeats_are_not_accepted_twice(bench: Bench) -> None:
    bench.ask(bench.submit({}, key="k"), bench.submit({}, key="k"))

    assert bench.stats()["jobs_accepted"] == 1


def test_it_is_well_when_its_database_is(bench: Bench) -> None:
    assert bench.show(Ping()) == {"status": "healthy", "database": "memory"}


def test_hints_and_words_for_others_are_left_unanswered(bench: Bench) -> None:
    peer = FakePeer()

    bench.scheduler.tick(
        [Envelope(None, Wake(due_at=START)), peer.says(Wake(due_at=START)), peer.hangs_up(), Envelope(None, Ping())]
    )

    assert peer.received == []


# ---- cancel and retry


@pytest.mark.parametrize("status", [Status.PENDING, Status.CLAIMED, Status.QUEUED])
def test_what_has_not_begun_is_cancelled_at_once(bench_with: MakeBench, status: Status) -> None:
    job = a_job(status=status)
    bench = bench_with(job)

    shown = bench.show(CancelJob(job_id=job.job_id))

    assert (shown["status"], shown["epoch"], shown["finished_at"]) == ("cancelled", job.epoch + 1, "2026-01-04T02:04:20.123Z")
    assert bench.statuses() == [Status.CANCELLED]
    assert bench.network.hints == []


def test_the_worker_of_a_running_job_is_told(bench_with: MakeBench) -> None:
    job = a_job(status=Status.RUNNING, locked_by=WORKER)
    bench = bench_with(job)

    shown = bench.show(CancelJob(job_id=job.job_id))

    assert shown["status"] == "running"
    assert bench.network.hints == [("worker-7001", CancelAsked(job_id=job.job_id, epoch=job.epoch))]
    assert bench.store.cancel_requests(WORKER) == [job.job_id]


@pytest.mark.parametrize("status", lifecycle.TERMINAL)
def test_what_has_ended_cannot_be_cancelled(bench_with: MakeBench, status: Status) -> None:
    job = a_job(status=status, finished_at=START)
    bench = bench_with(job)

    assert bench.refusal(CancelJob(job_id=job.job_id)).code == "conflict"
    assert bench.store.all_jobs() == [job]


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_what_failed_or_was_cancelled_can_be_tried_again_at_once(bench_with: MakeBench, status: Status) -> None:
    job = a_job(status=status, attempt=6, retry_count=5, lost_count=1, finished_at=START, error="no")
    bench = bench_with(job)

    shown = bench.show(RetryJob(job_id=job.job_id))

    assert (shown["status"], shown["attempt"], shown["retry_count"], shown["error"]) == ("pending", 6, 0, None)
    assert [message for _, message in bench.network.hints] == [Wake(due_at=START)]


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.FAILED, Status.CANCELLED}))
def test_nothing_else_can_be_retried(bench_with: MakeBench, status: Status) -> None:
    job = a_job(status=status)
    bench = bench_with(job)

    assert bench.refusal(RetryJob(job_id=job.job_id)).code == "conflict"
    assert bench.store.all_jobs() == [job]


class Racing(MemoryStore):
    """Somebody else is faster so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        if self.times:
            self.times -= 1
            job = self.all_jobs()[0]
            moved = lifecycle.claim(job, owner=WORKER, now=START) if job.status is Status.PENDING else lifecycle.recover(
                job, now=START, max_lost=5
            )  # fmt: skip
            super().apply([moved])
        return super().apply(changes)


def test_a_cancellation_that_loses_a_race_is_decided_anew(bench_with: MakeBench) -> None:
    job = a_job()
    bench = bench_with(job, store=Racing(3))

    assert bench.show(CancelJob(job_id=job.job_id))["status"] == "cancelled"


def test_a_cancellation_that_loses_every_race_is_given_up_with_a_word(bench_with: MakeBench) -> None:
    job = a_job()
    bench = bench_with(job, store=Racing(100))

    assert bench.refusal(CancelJob(job_id=job.job_id)).code == "unavailable"


# ---- our own faults


class Faulty(MemoryStore):
    def find(self, job_ids: Sequence[str]) -> list[Job | None]:
        raise ValueError("a bug of ours")


def test_a_fault_of_ours_is_told_without_its_insides_and_the_next_request_is_answered(bench_with: MakeBench) -> None:
    bench = bench_with(store=Faulty())

    refused = bench.refusal(Find(job_id="0" * 24))

    assert refused.code == "internal_error"
    assert "a bug of ours" not in refused.message
    assert [type(answer) for answer in bench.ask(bench.submit({}))] == [Accepted]


# ---- other hosts, and a database that loses replies


SHRINK = b'{"shrink": {"max_retries": 2, "timeout_s": null}}'


def test_a_task_that_only_another_host_knows_is_accepted_with_its_defaults(bench: Bench) -> None:
    hosts = MemoryStore()
    hosts.renew(HostHeartbeat(boot="f00d", host="far", renewal=0, seen_at=START, tasks=SHRINK))
    bench.scheduler._other_hosts = OtherHosts(hosts, bench.world)

    (answer,) = bench.ask(bench.submit({"task": "shrink"}))

    assert isinstance(answer, Accepted)
    assert bench.store.all_jobs()[0].max_retries == 2


def test_a_running_job_of_another_host_is_shown_as_held_until_a_lease_after_its_last_sign(bench_with: MakeBench) -> None:
    bench = bench_with(a_job(status=Status.RUNNING, locked_by="far:f00d:worker-7001:1"))
    hosts = MemoryStore()
    hosts.renew(HostHeartbeat(boot="f00d", host="far", renewal=0, seen_at=START + timedelta(seconds=100)))
    bench.scheduler._other_hosts = OtherHosts(hosts, bench.world)

    shown = bench.show(Find(job_id=bench.store.all_jobs()[0].job_id))

    assert shown["locked_until"] == rfc3339(START + timedelta(seconds=130))


def test_an_insert_whose_reply_was_lost_is_told_as_unknown_and_cleared_by_the_same_request(bench_with: MakeBench) -> None:
    class Lossy(MemoryStore):
        loses = True

        def insert(self, requests: object, **more: object) -> list[Insertion]:  # type: ignore[override]
            done = super().insert(requests, **more)  # type: ignore[arg-type]
            if self.loses and done != [Inserted(job_ids=[])]:
                self.loses = False
                raise StoreUnavailable("cut", may_be_stored=True)
            return done

    store = Lossy()
    bench = bench_with(store=store)
    request = bench.submit({})

    (first,) = bench.ask(request)
    (second,) = bench.ask(request)

    assert isinstance(first, Refused) and (first.code, first.retry_after_s) == ("outcome_unknown", None)
    assert isinstance(second, Accepted)
    assert len(store.all_jobs()) == 1


def test_who_waits_is_told_when_a_request_begins_to_be_stored_where_that_may_take_long(bench_with: MakeBench) -> None:
    shared = bench_with(MONGO_URI="mongodb://somewhere")

    told = shared.ask(shared.submit({}))

    assert [type(message) for message in told] == [Begun, Accepted]


# ---- submissions that come together


def test_those_that_come_together_share_a_commit_and_a_frame_of_replies(bench: Bench) -> None:
    peer = FakePeer()
    submits = [bench.submit({"payload": 1}), bench.submit({"priority": 99}), bench.submit({"payload": 2})]

    bench.scheduler.tick([peer.says(Submits(first_number=7, submits=submits))])

    (replied,) = peer.received
    assert isinstance(replied, Replied)
    answers = dict(replied.replies)
    assert [type(answers[number]) for number in (7, 8, 9)] == [Accepted, Refused, Accepted]
    assert answers[9] == Accepted(job_ids=[submits[2].first_id])
    assert bench.store.commits == 1


def test_each_connection_gets_the_replies_to_what_came_on_it(bench: Bench) -> None:
    peers = [FakePeer(), FakePeer()]
    envelopes = [peer.says(Submits(first_number=0, submits=[bench.submit({})])) for peer in (*peers, peers[0])]

    bench.scheduler.tick(envelopes)

    assert [len(message.replies) for peer in peers for message in peer.received if isinstance(message, Replied)] == [2, 1]
    assert bench.store.commits == 1


def test_who_stores_where_commits_have_no_order_says_so_of_each_before_it_does(bench_with: MakeBench) -> None:
    bench = bench_with(MONGO_URI="mongodb://nowhere")
    peer = FakePeer()

    bench.scheduler.tick([peer.says(Submits(first_number=3, submits=[bench.submit({}), bench.submit({})]))])

    told = [reply for message in peer.received if isinstance(message, Replied) for reply in message.replies]
    assert [(number, type(reply)) for number, reply in told] == [(3, Begun), (4, Begun), (3, Accepted), (4, Accepted)]


class SlowSearch(MemoryStore):
    """A fifth of a second for a page."""

    world = FakeWorld()

    def list_jobs(self, wanted: JobFilter, **more: object) -> Page:  # type: ignore[override]
        self.world.advance(0.2)
        return super().list_jobs(wanted, **more)  # type: ignore[arg-type]


def test_many_searches_are_spread_over_ticks_and_a_drain_waits_for_those_that_were_taken(bench_with: MakeBench) -> None:
    store = SlowSearch()
    bench = bench_with(store=store)
    store.world = bench.world
    searchers = [FakePeer() for _ in range(64)]
    search = List(wanted=JobFilter(text="x"))

    slept = bench.scheduler.tick([peer.says(search) for peer in searchers])
    bench.scheduler.drain()
    began = bench.world.monotonic()
    pinger = FakePeer()
    bench.scheduler.tick([pinger.says(Ping())])

    assert slept == 0.0
    assert len(pinger.received) == 1
    assert bench.world.monotonic() - began < 0.3
    while not bench.scheduler.drained:
        bench.scheduler.tick([])
    answers = [answer for peer in searchers for answer in peer.received]
    assert len(answers) == 64
    assert sum(isinstance(answer, Json) for answer in answers) == MAX_HEAVY
    assert {answer.code for answer in answers if isinstance(answer, Refused)} == {"overloaded"}


def test_a_search_whose_sender_has_gone_is_not_made(bench_with: MakeBench) -> None:
    store = SlowSearch()
    bench = bench_with(store=store)
    store.world = bench.world
    gone, waits = FakePeer(), FakePeer()
    search = List(wanted=JobFilter(text="x"))
    bench.scheduler.tick([peer.says(search) for peer in (waits, gone, gone, gone)])
    began = bench.world.monotonic()

    bench.scheduler.tick([gone.hangs_up()])

    assert len(waits.received) == 1
    assert bench.world.monotonic() == began
