"""The ledger of a worker: every outcome is written once, and what never started leaves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Output, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.tasks.catalog import Catalog
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.worker.executor_pool import Ended
from jobyard.engine.worker.settle import COMMIT_EVERY_S, PAUSE_S, Ledger
from jobyard.engine.worker.slot import Attempt
from tests.support.builders import a_job, a_log
from tests.support.claims import claim
from tests.support.memory_store import MemoryStore
from tests.support.world import START, FakeWorld

SUCCESS = Outcome(status=ExecutionStatus.SUCCESS, result=b"1")
FAILED = Outcome(status=ExecutionStatus.FAILED, error="no", retry_delay_s=5)
LOST = Outcome(status=ExecutionStatus.LOST, error="its template died")


class ForgetfulStore(MemoryStore):
    """Writes, and loses the reply, once."""

    loses_reply = False

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        done = super().apply(changes)
        if self.loses_reply:
            self.loses_reply = False
            raise StoreUnavailable("the reply was lost")
        return done


class Bench:
    """A ledger with its store."""

    def __init__(self, folder: Path) -> None:
        self.world = FakeWorld()
        self.store = ForgetfulStore()
        self.ledger = Ledger(
            settings=read_settings({}), world=self.world, store=self.store, log=a_log(), catalog=Catalog(RunDir(folder))
        )  # fmt: skip

    def begun(self, **fields: object) -> Job:
        self.store.insert([[a_job(**fields)]])
        (job,) = claim(self.store)
        return job

    def job(self, job: Job) -> Job:
        (stored,) = self.store.find([job.job_id])
        assert stored is not None
        return stored

    def statuses(self, job: Job) -> list[ExecutionStatus]:
        return [row.status for row in self.store.executions(job.job_id)]


def end(job: Job, outcome: Outcome | None) -> Ended:
    return Ended(Attempt(job=job), outcome)


def key(job: Job) -> tuple[str, int]:
    return job.job_id, job.epoch


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_everything_that_ended_is_written_in_one_commit_and_its_leases_are_over(bench: Bench) -> None:
    done, unstarted = bench.begun(), bench.begun()
    commits = bench.store.commits

    written = bench.ledger.write([end(done, SUCCESS), end(unstarted, None)])

    assert bench.store.commits == commits + 1
    assert (written.acked, written.released) == ([key(done)], [key(unstarted)])
    assert (bench.job(done).status, bench.job(unstarted).status) == (Status.COMPLETED, Status.PENDING)


def test_what_ends_right_after_a_commit_shares_the_next_one(bench: Bench) -> None:
    first, second, third = bench.begun(), bench.begun(), bench.begun()
    bench.ledger.write([end(first, SUCCESS)])
    commits = bench.store.commits

    at_once = bench.ledger.write([end(second, SUCCESS)])
    next_at = bench.ledger.next_try_at()
    bench.world.advance(COMMIT_EVERY_S)
    written = bench.ledger.write([end(third, SUCCESS)])

    assert (at_once.acked, next_at) == ([], bench.world.monotonic())
    assert written.acked == [key(second), key(third)]
    assert bench.store.commits == commits + 1


def test_an_attempt_that_never_started_leaves_no_count_and_no_row(bench: Bench) -> None:
    job = bench.begun()

    written = bench.ledger.write([end(job, None)])

    back = bench.job(job)
    assert (back.attempt, back.retry_count, back.lost_count, bench.statuses(job)) == (0, 0, 0, [])
    assert written.wake_at == job.scheduled_at
    assert bench.ledger.attempt_metrics.attempts == {}
    assert set(bench.ledger.counts.values()) == {0}


def test_a_retry_says_when_it_is_due(bench: Bench) -> None:
    soon, later = bench.begun(), bench.begun()

    written = bench.ledger.write([end(soon, FAILED), end(later, Outcome(status=ExecutionStatus.FAILED, retry_delay_s=60))])

    assert written.wake_at == START + timedelta(seconds=5)
    assert bench.ledger.counts["jobs_retried"] == 2


def test_an_attempt_that_was_lost_with_its_template_counts_as_lost(bench: Bench) -> None:
    job = bench.begun()

    bench.ledger.write([end(job, LOST)])

    assert (bench.job(job).lost_count, bench.statuses(job)) == (1, [ExecutionStatus.LOST])


def test_one_that_never_started_and_is_to_be_cancelled_ends_cancelled(bench: Bench) -> None:
    job = bench.begun()
    bench.store.apply([lifecycle.cancel(job, now=START)])

    first = bench.ledger.write([end(job, None)])
    second = bench.ledger.write([])

    assert (first.released, second.released) == ([], [key(job)])
    assert (bench.job(job).status, bench.job(job).attempt, bench.statuses(job)) == (Status.CANCELLED, 0, [])


def test_a_failure_that_was_to_be_cancelled_ends_cancelled(bench: Bench) -> None:
    job = bench.begun()
    bench.store.apply([lifecycle.cancel(job, now=START)])

    bench.ledger.write([end(job, FAILED)])
    bench.ledger.write([])

    assert bench.job(job).status is Status.CANCELLED


def test_what_belongs_to_somebody_else_by_now_is_dropped_and_its_lease_is_over(bench: Bench) -> None:
    ran, unstarted = bench.begun(), bench.begun()
    bench.store.apply([lifecycle.recover(job, now=START, max_lost=5) for job in (ran, unstarted)])

    written = bench.ledger.write([end(ran, SUCCESS), end(unstarted, None)])

    assert (written.acked, written.released) == ([key(ran)], [key(unstarted)])
    assert bench.ledger.counts["jobs_lost"] == 1
    assert bench.ledger.is_clear


def test_an_outcome_whose_reply_was_lost_counts_once(bench: Bench) -> None:
    job = bench.begun()
    bench.store.loses_reply = True

    first = bench.ledger.write([end(job, SUCCESS)])
    bench.world.advance(PAUSE_S)
    second = bench.ledger.write([])

    assert (first.acked, second.acked) == ([], [key(job)])
    assert bench.ledger.counts["jobs_succeeded"] == 1


def test_a_return_whose_reply_was_lost_is_over_too(bench: Bench) -> None:
    job = bench.begun()
    bench.store.loses_reply = True

    bench.ledger.write([end(job, None)])
    bench.world.advance(PAUSE_S)
    written = bench.ledger.write([])

    assert (written.released, bench.job(job).attempt, bench.ledger.is_clear) == ([key(job)], 0, True)


def test_without_a_database_outcomes_are_kept_with_their_leases_and_outputs(bench: Bench) -> None:
    job = bench.begun()
    ended = end(job, SUCCESS)
    ended.attempt.output = Output(job_id=job.job_id, attempt=1, text="said")
    bench.store.is_down = True

    bench.ledger.write([ended])
    held, output = bench.ledger.held(), bench.ledger.output_of(job.job_id, 1)
    bench.store.is_down = False
    too_soon = bench.ledger.write([])
    bench.world.advance(PAUSE_S)
    written = bench.ledger.write([])

    assert (held, output) == ([key(job)], ended.attempt.output)
    assert (too_soon.acked, written.acked, bench.ledger.fault) == ([], [key(job)], None)
    assert bench.store.outputs(job.job_id) == [ended.attempt.output]


def test_it_says_when_it_tries_again(bench: Bench) -> None:
    job = bench.begun()
    clear_at = bench.ledger.next_try_at()
    bench.store.is_down = True

    bench.ledger.write([end(job, SUCCESS)])

    assert (clear_at, bench.ledger.next_try_at()) == (float("inf"), bench.world.monotonic() + PAUSE_S)
