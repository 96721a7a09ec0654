"""Taking back what the dead held, giving back what no queue has, removing what is old."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import pytest

from engine import lifecycle
from engine.config import read_settings
from engine.job import ExecutionStatus, Job, Outcome, Status, ticket_for
from engine.lifecycle import Change
from engine.store.port import Inserted
from engine.upkeep import CLOCK_TRUSTED_AFTER_S, PAGE, PURGE_BATCH, PURGE_BATCHES, PURGE_EVERY_S, Upkeep, WallClock, hand_back
from tests.support.builders import a_job, a_log
from tests.support.memory_store import MemoryStore
from tests.support.world import START, FakeWorld

WATCHER = "box:b00t:watcher-9001:1"
WORKER = "box:b00t:worker-7001:1"
WEEK_S = 604800.0


class Graveyard:
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


def upkeep_of(store: MemoryStore, *dead: str, world: FakeWorld | None = None, **asked: str) -> Upkeep:
    return Upkeep(
        settings=read_settings(asked), world=world or FakeWorld(), store=store, log=a_log(), deaths=Graveyard(*dead)
    )  # fmt: skip


def statuses(store: MemoryStore) -> list[Status]:
    return [job.status for job in store.all_jobs()]


# ---- recover


def test_only_jobs_of_the_proven_dead_are_taken_back() -> None:
    store = store_with(
        a_job(status=Status.RUNNING, locked_by=WORKER),
        a_job(status=Status.RUNNING, locked_by="box:b00t:worker-7001:2"),
        a_job(status=Status.QUEUED, claimed_by=WORKER),
    )

    recovered = upkeep_of(store, WORKER).recover()

    assert recovered == 2
    assert statuses(store) == [Status.PENDING, Status.RUNNING, Status.PENDING]


def test_a_running_job_is_its_workers_and_not_its_dead_watchers() -> None:
    store = store_with(a_job(status=Status.RUNNING, claimed_by=WATCHER, locked_by=WORKER))

    assert upkeep_of(store, WATCHER).recover() == 0
    assert statuses(store) == [Status.RUNNING]


def test_the_lost_attempt_is_recorded_with_the_reason() -> None:
    job = a_job(status=Status.RUNNING, locked_by=WORKER)
    store = store_with(job)

    upkeep_of(store, WORKER).recover()

    (execution,) = store.executions(job.job_id)
    assert (execution.status, execution.worker_id, execution.finished_at) == (ExecutionStatus.LOST, WORKER, START)
    assert WORKER in (execution.error_message or "")


def test_the_whole_first_page_of_hopeless_ones_does_not_keep_the_rest_from_being_recovered() -> None:
    jobs = [a_job(status=Status.QUEUED, claimed_by=WATCHER) for _ in range(2 * PAGE + 1)]
    store = store_with(*jobs, store=Stubborn(*(job.job_id for job in jobs[: PAGE + 10])))

    recovered = upkeep_of(store, WATCHER).recover()

    assert recovered == PAGE - 9
    assert store.counts()[Status.PENDING] == PAGE - 9


def test_recovering_twice_recovers_once() -> None:
    store = store_with(a_job(status=Status.RUNNING, locked_by=WORKER))
    first, second = upkeep_of(store, WORKER), upkeep_of(store, WORKER)

    assert (first.recover(), second.recover()) == (1, 0)
    assert store.all_jobs()[0].lost_count == 1


def test_a_job_that_was_finished_by_the_one_who_is_dead_now_stays_finished() -> None:
    job = a_job(status=Status.RUNNING, locked_by=WORKER)
    store = store_with(job)
    store.apply([lifecycle.settle(job, Outcome(status=ExecutionStatus.SUCCESS), now=START, retry_base_s=10)])

    assert upkeep_of(store, WORKER).recover() == 0
    assert statuses(store) == [Status.COMPLETED]


# ---- hand back


def test_what_is_handed_back_waits_as_before_and_nothing_is_charged() -> None:
    job = a_job(status=Status.QUEUED, scheduled_at=START - timedelta(seconds=5))
    store = store_with(job)

    assert hand_back(store, [ticket_for(job)], now=START, max_lost=5) == 1

    back = store.all_jobs()[0]
    assert (back.status, back.epoch, back.scheduled_at) == (Status.PENDING, job.epoch + 1, job.scheduled_at)
    assert (back.retry_count, back.lost_count, back.attempt) == (0, 0, 0)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.QUEUED])
def test_what_is_no_longer_queued_stays_as_it_is(status: Status) -> None:
    job = a_job(status=status, epoch=1)
    store = store_with(job)

    assert hand_back(store, [ticket_for(job)], now=START, max_lost=5) == 0
    assert statuses(store) == [status]


def test_what_was_claimed_anew_or_is_gone_stays_as_it_is() -> None:
    job = a_job(status=Status.QUEUED, epoch=3)
    store = store_with(job)
    old = ticket_for(a_job(job_id=job.job_id, status=Status.QUEUED, epoch=1))

    assert hand_back(store, [old, ticket_for(a_job())], now=START, max_lost=5) == 0
    assert statuses(store) == [Status.QUEUED]


def test_more_than_a_page_is_handed_back() -> None:
    jobs = [a_job(status=Status.QUEUED) for _ in range(2 * PAGE + 1)]
    store = store_with(*jobs)

    assert hand_back(store, [ticket_for(job) for job in jobs], now=START, max_lost=5) == 2 * PAGE + 1


# ---- purge


def finished(age_s: float, status: Status = Status.COMPLETED) -> Job:
    return a_job(status=status, finished_at=START - timedelta(seconds=age_s))


def purge_soon(world: FakeWorld, upkeep: Upkeep) -> int:
    world.advance(PURGE_EVERY_S)
    return upkeep.purge()


def test_finished_jobs_are_removed_when_they_are_old_enough_and_others_never() -> None:
    world = FakeWorld()
    old = [finished(WEEK_S + 1, status) for status in lifecycle.TERMINAL]
    kept = [finished(WEEK_S - 3600), a_job(created_at=START - timedelta(days=400)), a_job(status=Status.RUNNING)]
    store = store_with(*old, *kept)

    assert purge_soon(world, upkeep_of(store, world=world)) == 3
    assert store.all_jobs() == kept


def test_a_retention_of_nought_keeps_everything() -> None:
    world = FakeWorld()
    store = store_with(finished(10 * WEEK_S))

    assert purge_soon(world, upkeep_of(store, world=world, RETENTION_S="0")) == 0
    assert len(store.all_jobs()) == 1


@pytest.mark.parametrize(("step_s", "purged_at_last"), [(3600.0, 1), (315_360_000.0, 1), (-3600.0, 0)])
def test_a_step_of_the_wall_clock_stops_the_purge_for_an_hour(step_s: float, purged_at_last: int) -> None:
    world = FakeWorld()
    store = store_with(finished(WEEK_S - 600))
    upkeep = upkeep_of(store, world=world)

    world.step_wall_clock(step_s)

    assert purge_soon(world, upkeep) == 0
    assert purge_soon(world, upkeep) == 0
    world.advance(CLOCK_TRUSTED_AFTER_S)
    assert purge_soon(world, upkeep) == purged_at_last


def test_a_short_retention_is_looked_after_more_often() -> None:
    world = FakeWorld()
    store = store_with(finished(21))
    upkeep = upkeep_of(store, world=world, RETENTION_S="20")

    world.advance(2)

    assert upkeep.purge() == 1


def test_many_old_jobs_are_removed_in_small_batches_some_at_once_and_the_rest_with_the_next_polls() -> None:
    world = FakeWorld()
    store = store_with(*(finished(WEEK_S + 1) for _ in range(PURGE_BATCH * PURGE_BATCHES + 1)))
    upkeep = upkeep_of(store, world=world)

    assert [purge_soon(world, upkeep), upkeep.purge(), upkeep.purge()] == [PURGE_BATCH * PURGE_BATCHES, 1, 0]


def test_the_wall_clock_is_trusted_while_it_goes_like_the_monotonic_one() -> None:
    world = FakeWorld()
    clock = WallClock(world)
    drifting = []
    for _ in range(100):
        world.advance(60)
        world.step_wall_clock(0.5)
        drifting.append(clock.is_trusted())

    world.step_wall_clock(-400)

    assert all(drifting)
    assert not clock.is_trusted()
