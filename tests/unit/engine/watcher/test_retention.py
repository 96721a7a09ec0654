"""Removing finished jobs that are old enough, and not trusting a wall clock that has stepped."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.store.port import Inserted
from jobyard.engine.watcher.retention import CLOCK_TRUSTED_AFTER_S, PURGE_BATCH, PURGE_BATCHES, PURGE_EVERY_S, Retention, WallClock
from tests.support.builders import a_job, a_log
from tests.support.memory_store import MemoryStore
from tests.support.world import START, FakeWorld

WEEK_S, MONTH_S = 604800.0, 2592000.0


def store_with(*jobs: Job) -> MemoryStore:
    store = MemoryStore()
    assert isinstance(store.insert([jobs])[0], Inserted)
    return store


def retention_of(store: MemoryStore, *, world: FakeWorld, **asked: str) -> Retention:
    return Retention(settings=read_settings(asked), world=world, store=store, log=a_log())


def finished(age_s: float, status: Status = Status.COMPLETED) -> Job:
    return a_job(status=status, finished_at=START - timedelta(seconds=age_s))


def purge_soon(world: FakeWorld, retention: Retention) -> int:
    world.advance(PURGE_EVERY_S)
    return retention.purge()


def test_finished_jobs_are_removed_when_they_are_old_enough_and_others_never() -> None:
    world = FakeWorld()
    old = [finished(WEEK_S + 1), finished(WEEK_S + 1, Status.CANCELLED), finished(MONTH_S + 1, Status.FAILED)]
    kept = [finished(WEEK_S - 3600), finished(MONTH_S - 3600, Status.FAILED)]
    kept += [a_job(created_at=START - timedelta(days=400)), a_job(status=Status.RUNNING)]
    store = store_with(*old, *kept)

    assert purge_soon(world, retention_of(store, world=world)) == 3
    assert store.all_jobs() == kept


def test_a_retention_of_nought_keeps_everything() -> None:
    world = FakeWorld()
    store = store_with(finished(10 * WEEK_S), finished(10 * WEEK_S, Status.FAILED))

    assert purge_soon(world, retention_of(store, world=world, RETENTION_S="0", RETENTION_FAILED_S="0")) == 0
    assert len(store.all_jobs()) == 2


@pytest.mark.parametrize(("zero", "kept"), [("RETENTION_S", Status.COMPLETED), ("RETENTION_FAILED_S", Status.FAILED)])
def test_each_status_has_a_retention_of_its_own(zero: str, kept: Status) -> None:
    world = FakeWorld()
    store = store_with(finished(10 * WEEK_S), finished(10 * WEEK_S, Status.FAILED))

    assert purge_soon(world, retention_of(store, world=world, **{zero: "0"})) == 1
    assert [job.status for job in store.all_jobs()] == [kept]


@pytest.mark.parametrize(("step_s", "purged_at_last"), [(3600.0, 1), (315_360_000.0, 1), (-3600.0, 0)])
def test_a_step_of_the_wall_clock_stops_the_purge_for_an_hour(step_s: float, purged_at_last: int) -> None:
    world = FakeWorld()
    store = store_with(finished(WEEK_S - 600))
    retention = retention_of(store, world=world)

    world.step_wall_clock(step_s)

    assert purge_soon(world, retention) == 0
    assert purge_soon(world, retention) == 0
    world.advance(CLOCK_TRUSTED_AFTER_S)
    assert purge_soon(world, retention) == purged_at_last


def test_a_short_retention_is_looked_after_more_often() -> None:
    world = FakeWorld()
    store = store_with(finished(21))
    retention = retention_of(store, world=world, RETENTION_S="20")

    world.advance(2)

    assert retention.purge() == 1


def test_a_short_retention_of_failed_jobs_is_looked_after_more_often() -> None:
    world = FakeWorld()
    retention = retention_of(store_with(finished(21, Status.FAILED)), world=world, RETENTION_FAILED_S="20", RETENTION_S="0")

    world.advance(2)

    assert retention.purge() == 1


def test_many_old_jobs_are_removed_in_small_batches_some_at_once_and_the_rest_with_the_next_polls() -> None:
    world = FakeWorld()
    store = store_with(*(finished(WEEK_S + 1) for _ in range(PURGE_BATCH * PURGE_BATCHES + 1)))
    retention = retention_of(store, world=world)

    assert [purge_soon(world, retention), retention.purge(), retention.purge()] == [PURGE_BATCH * PURGE_BATCHES, 1, 0]


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
