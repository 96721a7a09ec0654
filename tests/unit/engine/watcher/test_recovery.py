"""Taking back what the dead held."""

from __future__ import annotations

from collections.abc import Iterable

from jobyard.engine.config import read_settings
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.store.port import Inserted
from jobyard.engine.watcher.recovery import PAGE, Recovery
from tests.support.builders import a_job, a_log
from tests.support.memory_store import MemoryStore
from tests.support.world import START, FakeWorld

WATCHER = "box:b00t:watcher-9001:1"
WORKER = "box:b00t:worker-7001:1"


class DeadOwners:
    def __init__(self, *dead: str) -> None:
        self.dead = dead

    def proven(self, owners: Iterable[str]) -> list[str]:
        return [owner for owner in owners if owner in self.dead]


class Stubborn(MemoryStore):
    """Refuses every change of some jobs, as if somebody were always faster."""

    def __init__(self, *refused: str) -> None:
        super().__init__()
        self._refused = refused

    def apply(self, changes: Iterable[Change]) -> list[bool]:
        return [change.job_id not in self._refused and super(Stubborn, self).apply([change])[0] for change in changes]


def store_with(*jobs: Job, store: MemoryStore | None = None) -> MemoryStore:
    store = store or MemoryStore()
    assert isinstance(store.insert([jobs])[0], Inserted)
    return store


def recovery_of(store: MemoryStore, *dead: str, world: FakeWorld | None = None, **asked: str) -> Recovery:
    return Recovery(
        settings=read_settings(asked), world=world or FakeWorld(), store=store, log=a_log(), deaths=DeadOwners(*dead)
    )  # fmt: skip


def statuses(store: MemoryStore) -> list[Status]:
    return [job.status for job in store.all_jobs()]


def test_only_jobs_of_the_proven_dead_are_taken_back() -> None:
    store = store_with(
        a_job(status=Status.RUNNING, locked_by=WORKER),
        a_job(status=Status.RUNNING, locked_by="box:b00t:worker-7001:2"),
        a_job(status=Status.QUEUED, claimed_by=WORKER),
    )

    recovered = recovery_of(store, WORKER).recover()

    assert recovered == 2
    assert statuses(store) == [Status.PENDING, Status.RUNNING, Status.PENDING]


def test_a_running_job_is_its_workers_and_not_its_dead_watchers() -> None:
    store = store_with(a_job(status=Status.RUNNING, claimed_by=WATCHER, locked_by=WORKER))

    assert recovery_of(store, WATCHER).recover() == 0
    assert statuses(store) == [Status.RUNNING]


def test_the_lost_attempt_is_recorded_with_the_reason() -> None:
    job = a_job(status=Status.RUNNING, locked_by=WORKER)
    store = store_with(job)

    recovery_of(store, WORKER).recover()

    (execution,) = store.executions(job.job_id)
    assert (execution.status, execution.worker_id, execution.finished_at) == (ExecutionStatus.LOST, WORKER, START)
    assert WORKER in (execution.error_message or "")


def test_the_whole_first_page_of_hopeless_ones_does_not_keep_the_rest_from_being_recovered() -> None:
    jobs = [a_job(status=Status.QUEUED, claimed_by=WATCHER) for _ in range(2 * PAGE + 1)]
    store = store_with(*jobs, store=Stubborn(*(job.job_id for job in jobs[: PAGE + 10])))

    recovered = recovery_of(store, WATCHER).recover()

    assert recovered == PAGE - 9
    assert store.counts()[Status.PENDING] == PAGE - 9


def test_recovering_twice_recovers_once() -> None:
    store = store_with(a_job(status=Status.RUNNING, locked_by=WORKER))
    first, second = recovery_of(store, WORKER), recovery_of(store, WORKER)

    assert (first.recover(), second.recover()) == (1, 0)
    assert store.all_jobs()[0].lost_count == 1


def test_a_job_that_was_finished_by_the_one_who_is_dead_now_stays_finished() -> None:
    job = a_job(status=Status.RUNNING, locked_by=WORKER)
    store = store_with(job)
    store.apply([lifecycle.settle(job, Outcome(status=ExecutionStatus.SUCCESS), now=START, retry_base_s=10)])

    assert recovery_of(store, WORKER).recover() == 0
    assert statuses(store) == [Status.COMPLETED]
