"""Schedules fire once whoever looks, however the clock is set and whatever fails in between."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs.submission import Defaults, TaskDefaults
from jobyard.engine.schedules.fire_times import Timing, count_fires, next_fire
from jobyard.engine.schedules.schedule import Definition, Schedule
from jobyard.engine.watcher.fires import Fires
from tests.support.builders import a_log
from tests.support.memory_store import MemoryStore
from tests.support.world import START, FakeWorld

DEFAULTS = Defaults(max_retries=5, timeout_s=60, tasks={"echo": TaskDefaults()})
MILLISECOND = timedelta(milliseconds=1)


def fires_of(store: MemoryStore, world: FakeWorld, **settings: str) -> Fires:
    return Fires(
        settings=read_settings(settings), world=world, store=store, log=a_log(), defaults=lambda: DEFAULTS,
        tell_cancelled=lambda pairs: None,
    )  # fmt: skip


def a_schedule(**asked: object) -> Schedule:
    timing = Timing(every_s=10)
    asked = {"overlap": "allow", "catch_up": "all", "catch_up_max": 1000, **asked}
    definition = Definition(timing=timing, job={"task": "gone"}, **asked)  # type: ignore[arg-type]
    return Schedule(name="s", asked=definition, next_fire_at=next_fire(timing, START))


class Shaky(MemoryStore):
    """Before and after its writes, something may fail: before, nothing was done; after, only the answer is lost."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.schedules.fire_due = self._shaken(self.schedules.fire_due)  # type: ignore[method-assign]

    def _shaken(self, act: Callable[..., object]) -> Callable[..., object]:
        def shaken(*args: object, **named: object) -> object:
            if self.chance.random() < 0.2:
                raise StoreUnavailable("before")
            done = act(*args, **named)
            if self.chance.random() < 0.2:
                raise StoreUnavailable("after", may_be_stored=True)
            return done

        return shaken


@pytest.mark.parametrize("seed", range(20))
def test_every_fire_time_ends_as_one_job_or_is_counted_whatever_the_clock_and_the_store_do(seed: int) -> None:
    chance, world = random.Random(seed), FakeWorld(seed)
    store = Shaky(chance)
    schedule = a_schedule(catch_up=chance.choice(["all", "latest", "none"]), overlap=chance.choice(["allow", "all", "skip"]))
    store.schedules.save(schedule, was=None)
    watchers = [fires_of(store, world) for _ in range(3)]

    for _ in range(200):
        world.advance(chance.choice([0.5, 3, 10, 61, 400]))
        if chance.random() < 0.05:
            world.step_wall_clock(chance.choice([3600, -3600, 86400, -86400]))
        number = chance.randrange(3)
        if chance.random() < 0.1:
            watchers[number] = fires_of(store, world)  # it was killed and replaced
        try:
            watchers[number].forget()
            watchers[number].fire()
        except StoreUnavailable:
            continue

    after = store.schedules.find("s")
    assert after is not None and after.next_fire_at is not None and schedule.next_fire_at is not None
    times = [job.fire_at for job in store.all_jobs()]
    assert len(times) == len(set(times)) == after.fires
    passed, _ = count_fires(Timing(every_s=10), since=schedule.next_fire_at, until=after.next_fire_at - MILLISECOND, at_most=1)
    assert after.fires + sum(after.missed.values()) == passed


@pytest.mark.parametrize("step_s", [-3600, -86400, -315_360_000])
def test_no_fire_comes_twice_after_the_clock_was_set_back(step_s: int) -> None:
    world, store = FakeWorld(), MemoryStore()
    store.schedules.save(a_schedule(), was=None)
    fires = fires_of(store, world)
    world.advance(100)
    assert fires.fire()
    made = len(store.all_jobs())

    world.step_wall_clock(step_s)
    fires.forget()

    assert not fires.fire() and len(store.all_jobs()) == made and (fires.next_s() or 0) >= -step_s


def test_ten_years_of_fires_at_once_cost_what_their_jobs_cost() -> None:
    world, store = FakeWorld(), MemoryStore()
    store.schedules.save(a_schedule(catch_up="latest"), was=None)
    world.step_wall_clock(315_360_000)

    assert fires_of(store, world).fire()

    after = store.schedules.find("s")
    assert after is not None and (after.fires, len(store.all_jobs())) == (1, 1)
    assert after.missed["catch_up"] == 31_536_000 - 1 and after.missed_is_exact


def test_at_max_pending_fires_wait_and_then_are_a_catch_up() -> None:
    world, store = FakeWorld(), MemoryStore()
    store.schedules.save(a_schedule(), was=None)
    fires = fires_of(store, world, MAX_PENDING="2")
    world.advance(40)

    fires.fire()

    assert len(store.all_jobs()) == 2 and fires.next_s() is None, "nobody spins for room"
    schedule = store.schedules.find("s")
    assert schedule is not None and schedule.next_fire_at is not None and schedule.next_fire_at < world.now()


def test_the_sleep_ends_at_the_next_fire() -> None:
    world, store = FakeWorld(), MemoryStore()
    fires = fires_of(store, world)
    assert fires.next_s() is None

    store.schedules.save(a_schedule(), was=None)
    fires.forget()

    due = next_fire(Timing(every_s=10), START)
    assert due is not None and 0 <= (fires.next_s() or 0) - (due - START).total_seconds() < 0.01
    world.advance((due - START).total_seconds())
    assert fires.fire() and fires.counts()["fires"] == 1 and fires.lag.count == 1
