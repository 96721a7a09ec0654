"""Watchers on MongoDB that look at the same schedules: between any two calls to the database, whatever may happen does.

A seed draws the schedules, and what happens before each call: another watcher looks from beginning to end, the watcher dies, a job
begins or ends, the clock goes on or is set, a client pauses, resumes, changes or deletes. Calls nest, so a watcher may be overtaken
by several others.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime

import mongomock
import msgspec
import pytest

from jobyard.engine.config import read_settings
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Status
from jobyard.engine.jobs.submission import Defaults, TaskDefaults
from jobyard.engine.schedules.fire_times import MILLISECOND, Timing, count_fires, next_fire
from jobyard.engine.schedules.schedule import CATCH_UP, OVERLAP, Definition, Paused, Schedule
from jobyard.engine.store.declare_schedule import declare_schedule
from jobyard.engine.store.mongo.store import MongoStore
from jobyard.engine.watcher.fires import Fires
from tests.support.builders import a_log
from tests.support.claims import claim
from tests.support.mongo import open_mock
from tests.support.world import START, FakeWorld

DEFAULTS = Defaults(max_retries=0, timeout_s=60, tasks={"echo": TaskDefaults()})
NAMES = ("a", "b")
MOST_NESTED = 3
STEPS = 60
SEEDS = 30
MANY_SEEDS = 3_000


class Death(Exception):
    """The watcher dies."""


class Race:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = FakeWorld(seed)
        self.client = mongomock.MongoClient()
        self.plain = self._store(hooked=False)
        jobs = self.plain._server.jobs
        jobs.create_index([("schedule", 1), ("fire_at", 1)], unique=True, partialFilterExpression={"fire_at": {"$exists": True}})
        jobs.create_index("slot", unique=True, sparse=True)
        self.depth = 0
        self.is_over = False
        self.death_rate, self.deaths = self.chance.choice([0, 0.1]), 0
        self.clock_steps = self.chance.random() < 0.3
        self.changes_times = self.chance.random() < 0.3
        self.first: dict[str, datetime] = {}
        for name in NAMES:
            self._put(name)

    def run(self) -> None:
        for _ in range(STEPS):
            self._happen()
            self._look()
        self.is_over = True
        for name in NAMES:
            self._look()
            self._check(name)

    def _store(self, *, hooked: bool = True) -> MongoStore:
        store = open_mock(self.client)
        if hooked:
            store._server._waiting = lambda waits: self._before_a_call() if waits else None
        return store

    def _look(self) -> None:
        fires = Fires(
            settings=read_settings({"MAX_PENDING": "30"}), world=self.world, store=self._store(), log=a_log(),
            defaults=lambda: DEFAULTS, tell_cancelled=lambda pairs: None,
        )  # fmt: skip
        self.depth += 1
        try:
            fires.fire()
        except Death:
            pass
        finally:
            self.depth -= 1

    def _before_a_call(self) -> None:
        if self.is_over or self.chance.random() < 0.6:
            return
        if self.depth < MOST_NESTED and self.chance.random() < 0.4:
            self._look()
        elif self.chance.random() < self.death_rate:
            self.deaths += 1
            raise Death
        else:
            self._happen()

    def _happen(self) -> None:
        acts = [self._pass_time, self._pass_time, self._begin, self._end, self._end, self._pause, self._resume, self._change]
        self.chance.choice(acts)()

    def _pass_time(self) -> None:
        self.world.advance(self.chance.choice([0.1, 1, 1, 3, 59, 61]))
        if self.clock_steps and self.chance.random() < 0.1:
            self.world.step_wall_clock(self.chance.choice([-3600, 3600, 86400, -86400]))

    def _jobs(self, name: str | None = None) -> list[Job]:
        return self.plain.list_jobs(JobFilter(schedule=name), limit=1000, look=100_000).jobs

    def _begin(self) -> None:
        claim(self.plain, now=self.world.now(), most=self.chance.choice([1, 9]))

    def _end(self) -> None:
        running = [job for job in self._jobs() if job.status is Status.RUNNING]
        for job in running[: self.chance.choice([1, 9])]:
            outcome = Outcome(status=self.chance.choice([ExecutionStatus.SUCCESS, ExecutionStatus.FAILED]), error="no")
            self.plain.apply([lifecycle.settle(job, outcome, now=self.world.now(), retry_base_s=1)])

    def _pause(self) -> None:
        self._save(paused=Paused(by="api", since=START))

    def _resume(self) -> None:
        """What the scheduler does where nothing is due that it would count before."""
        schedule = self.plain.schedules.find(self.chance.choice(NAMES))
        if schedule is None or schedule.paused is None or schedule.next_fire_at is None:
            return
        if schedule.next_fire_at > self.world.now():
            after = msgspec.structs.replace(schedule, paused=None, version=schedule.version + 1)
            self.plain.schedules.save(after, was=schedule.version)

    def _save(self, **changes: object) -> None:
        schedule = self.plain.schedules.find(self.chance.choice(NAMES))
        if schedule is not None:
            after = msgspec.structs.replace(schedule, version=schedule.version + 1, **changes)  # type: ignore[arg-type]
            self.plain.schedules.save(after, was=schedule.version)

    def _change(self) -> None:
        self._put(self.chance.choice(NAMES), is_new=False)

    def _put(self, name: str, *, is_new: bool = True) -> None:
        before = self.plain.schedules.find(name)
        timing = before.asked.timing if before is not None else Timing(every_s=self.chance.choice([1, 5, 30]))
        if before is not None and self.changes_times:
            timing = Timing(every_s=self.chance.choice([1, 2, 7]))
        asked = Definition(
            timing=timing, job={"task": "echo"}, overlap=self.chance.choice(OVERLAP), catch_up=self.chance.choice(CATCH_UP),
            catch_up_max=self.chance.choice([1, 3, 20]),
        )  # fmt: skip
        after, _ = declare_schedule(self.plain.schedules, name, asked, origin="api", now=self.world.now())
        if is_new:
            assert after.next_fire_at is not None
            self.first[name] = after.next_fire_at

    def _check(self, name: str) -> None:
        schedule = self.plain.schedules.find(name)
        assert schedule is not None
        assert schedule.next_fire_at is not None
        times = [job.fire_at for job in self._jobs(name)]
        assert max(Counter(times).values(), default=0) <= 1
        passed = [at for at in times if at is not None and at < schedule.next_fire_at]  # the others are due when the clock is right
        if self.changes_times:
            return  # fire times may come again, and who was overtaken by several changes cannot know who has counted his
        assert 0 <= len(passed) - schedule.fires <= self.deaths, "every job of a fire is counted, once"
        assert schedule.fires + sum(schedule.missed.values()) == self._passed(schedule)

    def _passed(self, schedule: Schedule) -> int:
        assert schedule.next_fire_at is not None
        until = schedule.next_fire_at - MILLISECOND
        assert next_fire(schedule.asked.timing, until) == schedule.next_fire_at
        return count_fires(schedule.asked.timing, since=self.first[schedule.name], until=until, at_most=1)[0]


def run_seeds(first: int, count: int) -> None:
    for seed in range(first, first + count):
        try:
            Race(seed).run()
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_a_fire_is_made_once_and_counted_once_however_watchers_overtake_each_other(first: int) -> None:
    run_seeds(first, 10)


@pytest.mark.long
def test_the_same_for_long() -> None:
    run_seeds(SEEDS, MANY_SEEDS)
