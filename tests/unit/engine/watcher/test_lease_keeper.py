"""The keeper of HTTP workers' leases: when one ends, what that makes of its job, and what begins anew."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.watcher.lease_keeper import LOOK_S, MARGIN_S, PAUSE_S, LeaseKeeper
from tests.support.builders import a_job, a_log
from tests.support.claims import WATCHER, AllAt
from tests.support.memory_store import MemoryStore
from tests.support.world import FakeWorld

LEASE_S = 30.0


class Bench:
    """A keeper over a store with one leased job."""

    def __init__(self, **fields: object) -> None:
        self.world = FakeWorld()
        self.store = MemoryStore()
        self.job = a_job(**fields)
        self.store.insert([[self.job]])
        self.lease()
        self.keeper = self.a_keeper()
        self.keeper.wake()
        self.keeper.look()

    def a_keeper(self) -> LeaseKeeper:
        return LeaseKeeper(settings=read_settings({}), world=self.world, store=self.store, log=a_log())

    def lease(self) -> None:
        self.store.claim_due(owner=WATCHER, now=self.world.now(), lease_s=LEASE_S, allocation=AllAt("http/ann"))

    def extend(self, lasts_s: float = LEASE_S) -> None:
        now = self.world.now()
        self.store.apply([lifecycle.extend(self.stored(), now=now, until=now + timedelta(seconds=lasts_s))])

    def stored(self) -> Job:
        (job,) = self.store.find([self.job.job_id])
        assert job is not None
        return job

    def pass_by(self, seconds: float, keeper: LeaseKeeper | None = None) -> None:
        """Time passes; the keeper looks whenever it wants to."""
        keeper = keeper or self.keeper
        until = self.world.monotonic() + seconds
        while self.world.monotonic() < until:
            self.world.advance(min(keeper.next_s(), until - self.world.monotonic()) or 0.001)
            keeper.look()

    def lost(self) -> int:
        return self.stored().lost_count


def test_a_lease_that_is_not_extended_ends_after_its_length_and_not_before() -> None:
    bench = Bench()

    bench.pass_by(LEASE_S)
    assert bench.stored().status is Status.RUNNING
    bench.pass_by(MARGIN_S + 0.01)

    job = bench.stored()
    assert (job.status, job.lost_count, job.retry_count, job.attempt) == (Status.PENDING, 1, 0, 1)
    assert [row.status for row in bench.store.executions(job.job_id)] == ["lost"]
    assert (bench.keeper.leases_ended, bench.keeper.attempts) == (1, {"echo": {"lost": 1}})


def test_an_extended_lease_lasts_its_length_from_then_on() -> None:
    bench = Bench()
    bench.pass_by(LEASE_S - 1)
    bench.extend()

    bench.pass_by(LEASE_S)
    assert bench.stored().status is Status.RUNNING
    bench.pass_by(MARGIN_S + LOOK_S)

    assert bench.lost() == 1


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_step_of_the_wall_clock_ends_no_lease_and_keeps_none(step_s: float) -> None:
    bench = Bench()
    bench.world.step_wall_clock(step_s)

    bench.pass_by(LEASE_S)
    assert bench.stored().status is Status.RUNNING
    bench.pass_by(MARGIN_S + 0.01)

    assert bench.lost() == 1


def test_a_new_keeper_gives_a_lease_its_length_anew() -> None:
    bench = Bench()
    bench.pass_by(LEASE_S - 1)
    keeper = bench.a_keeper()
    keeper.wake()

    bench.pass_by(LEASE_S, keeper)
    assert bench.stored().status is Status.RUNNING
    bench.pass_by(MARGIN_S + LOOK_S, keeper)

    assert bench.lost() == 1


def test_after_the_time_of_the_attempt_a_retry_is_used_however_often_the_lease_was_extended() -> None:
    bench = Bench(timeout_s=40)
    bench.pass_by(20)
    bench.extend(20)

    bench.pass_by(19.9)
    assert bench.stored().status is Status.RUNNING
    bench.pass_by(0.2)

    job = bench.stored()
    assert (job.status, job.lost_count, job.retry_count) == (Status.PENDING, 0, 1)
    assert [row.status for row in bench.store.executions(job.job_id)] == ["timeout"]


def test_a_new_keeper_gives_no_more_than_is_left_of_the_attempt() -> None:
    bench = Bench(timeout_s=35)
    bench.pass_by(20)
    keeper = bench.a_keeper()
    keeper.wake()

    bench.pass_by(15.1, keeper)

    assert [row.status for row in bench.store.executions(bench.job.job_id)] == ["timeout"]


def test_a_cancellation_does_not_lengthen_the_lease_of_who_ignores_it() -> None:
    bench = Bench()
    bench.pass_by(20)
    bench.store.apply([lifecycle.cancel(bench.stored(), now=bench.world.now())])

    bench.pass_by(10 + MARGIN_S + 0.01)

    assert bench.stored().status is Status.CANCELLED


def test_a_keeper_that_could_not_look_begins_anew() -> None:
    bench = Bench()
    bench.pass_by(20)
    bench.world.advance(PAUSE_S + 20)
    bench.keeper.look()
    assert bench.stored().status is Status.RUNNING

    bench.store.is_down = True
    bench.world.advance(1)
    with pytest.raises(StoreUnavailable):
        bench.keeper.look()
    bench.keeper.forget()
    bench.store.is_down = False
    bench.pass_by(LEASE_S)

    assert bench.stored().status is Status.RUNNING


def test_a_keeper_without_leases_looks_only_when_it_is_told_to() -> None:
    bench = Bench()
    bench.pass_by(LEASE_S + 1)
    assert bench.keeper.next_s() == float("inf")

    bench.lease()
    bench.keeper.wake()

    assert bench.keeper.next_s() == 0
    bench.keeper.look()
    assert bench.keeper.next_s() == pytest.approx(LOOK_S)


def test_the_job_of_an_ended_lease_is_due_at_once() -> None:
    bench = Bench()
    bench.world.advance(LOOK_S)
    bench.keeper.look()
    bench.pass_by(LEASE_S - LOOK_S)
    bench.world.advance(MARGIN_S)

    assert bench.keeper.look() == [bench.world.now()]
