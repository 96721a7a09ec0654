"""Claimers on MongoDB that want the same jobs: between any two commands to the database, whatever may happen does.

A seed draws the jobs, and what happens before each command: another claimer claims from beginning to end, the process dies, a write
fails or its reply is lost, a job ends, is lost, retried or cancelled, upkeep runs, the clock goes on. Commands nest, so a claimer
may be overtaken by several others. Whenever anything has happened, no more jobs run than the limits allow; in the end all have run,
and nobody has a slot.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import mongomock
import pytest
from pymongo.errors import AutoReconnect

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Status
from jobyard.engine.limits.limit import Limit, Numbers
from jobyard.engine.limits.rules import lane_of, parts_of
from jobyard.engine.store.mongo.store import MongoStore
from tests.support.builders import a_job
from tests.support.claims import claim
from tests.support.mongo import open_mock
from tests.support.world import START, FakeWorld

LIMITS = {
    "three": Numbers(max_running=3), "customer": Numbers(max_running=1), "mail": Numbers(count=4, per_s=1.0, burst=2),
}  # fmt: skip
MOST = {"three": 3, "customer/1": 1, "customer/2": 1, "schedule:s": 1}
OF_JOBS = (
    ("three",), ("three",), ("customer/1",), ("customer/2",), ("customer/1", "three"), ("customer/2", "three"), ("mail",),
    ("mail", "three"), None,
)  # fmt: skip
SUCCESS, FAILURE = Outcome(status=ExecutionStatus.SUCCESS, result=b"1"), Outcome(status=ExecutionStatus.FAILED, error="no")
WINDOW, MOST_IN_WINDOW = timedelta(seconds=1), 5
MOST_NESTED = 3
HAPPENINGS, MOST_JOBS = 120, 25
ROUNDS = 300
SEEDS = 20
MANY_SEEDS = 3_000


class Death(BaseException):
    """The process dies."""


class Race:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = FakeWorld(seed)
        self.client = mongomock.MongoClient()
        self.plain = self._store(hooked=False)
        self.depth, self.left, self.submitted = 0, HAPPENINGS, 0
        self.is_over = False
        self.death_rate = self.chance.choice([0, 0.05])
        self.fault_rate = self.chance.choice([0, 0.05])
        self.happen_rate = self.chance.choice([0.1, 0.4])
        for name, numbers in LIMITS.items():
            assert self.plain.limits.save(Limit(name=name, version=1, numbers=numbers), was=None)

    def run(self) -> None:
        while self.left > 0:
            self._happen()
        self.is_over = True
        for _ in range(ROUNDS):
            self.world.advance(0.7)
            self.plain.limits.tidy(now=self.world.now(), limit=100)
            claim(self.plain, now=self.world.now())
            self._check()
            for job in self._jobs(Status.RUNNING):
                self._apply(lifecycle.settle(job, SUCCESS, now=self.world.now(), retry_base_s=1))
            if not self._jobs(Status.PENDING):
                break
        self._check_end()

    # ---- what happens

    def _happen(self) -> None:
        acts = [
            self._pass_time, self._pass_time, self._submit, self._submit, self._claim, self._claim, self._claim,
            self._end, self._end, self._end, self._cancel, self._retry, self._tidy,
        ]  # fmt: skip
        self.depth += 1
        self.left -= 1
        try:
            self.chance.choice(acts)()
        except (Death, StoreUnavailable):
            pass
        finally:
            self.depth -= 1
        self._check()

    def _before_a_command(self, collection: str, command: str) -> None:
        if self.is_over:
            return
        if self.chance.random() < self.death_rate:
            raise Death
        if self.chance.random() < self.fault_rate:
            raise AutoReconnect("refused")
        if self.left > 0 and self.depth < MOST_NESTED and self.chance.random() < self.happen_rate:
            self._happen()

    def _pass_time(self) -> None:
        self.world.advance(self.chance.choice([0.001, 0.1, 0.3, 1, 2]))

    def _submit(self) -> None:
        store, now = self._store(), self.world.now()
        for _ in range(min(self.chance.randint(1, 5), MOST_JOBS - self.submitted)):
            self.submitted += 1
            limit, kept = self.chance.choice(OF_JOBS), self.chance.random() < 0.1
            due = now + timedelta(seconds=self.chance.choice([-1, 0, 0, 1]))
            lane = lane_of([*(limit or ()), "schedule:s"]) if kept else None
            priority = self.chance.choice([5, 5, 5, 9])
            job = a_job(limit=limit, lane=lane, priority=priority, scheduled_at=due, created_at=now, max_retries=1)
            store.insert([[job]])

    def _claim(self) -> None:
        store, most = self._store(), self.chance.choice([1, 2, 20])
        for _ in range(self.chance.choice([1, 3])):
            claim(store, now=self.world.now(), most=most)

    def _end(self) -> None:
        running = self._jobs(Status.RUNNING)
        self.chance.shuffle(running)
        changes = [self._stopped(job) for job in running[: self.chance.choice([1, 2, 9])]]
        self._apply(*changes)

    def _stopped(self, job: Job) -> lifecycle.Change:
        now = self.world.now()
        how = self.chance.choice(["success", "failure", "lost", "returned"])
        if how == "lost":
            return lifecycle.recover(job, now=now, max_lost=100)
        if how == "returned":
            return lifecycle.return_unstarted(job, now=now)
        return lifecycle.settle(job, SUCCESS if how == "success" else FAILURE, now=now, retry_base_s=1)

    def _cancel(self) -> None:
        found = self._jobs(Status.PENDING)
        if found:
            self._apply(lifecycle.cancel(self.chance.choice(found), now=self.world.now()))

    def _retry(self) -> None:
        found = [*self._jobs(Status.FAILED), *self._jobs(Status.CANCELLED)]
        if found:
            self._apply(lifecycle.retry(self.chance.choice(found), now=self.world.now()))

    def _tidy(self) -> None:
        self._store().limits.tidy(now=self.world.now(), limit=100)

    def _apply(self, *changes: lifecycle.Change) -> None:
        if changes:
            (self.plain if self.is_over else self._store()).apply(changes)

    # ---- what must hold

    def _check(self) -> None:
        used: Counter[str] = Counter()
        for document in self.client["jobs"].jobs.find({"status": "running", "lane": {"$exists": True}}, {"lane": 1}):
            used.update(parts_of(document["lane"]))
        for part, most in MOST.items():
            assert used[part] <= most, f"{used[part]} run under {part}"

    def _check_end(self) -> None:
        left = [(job.job_id, job.lane) for job in self._jobs(Status.PENDING)]
        assert not left, f"never begun: {left}"
        self.world.advance(10)
        self.plain.limits.tidy(now=self.world.now(), limit=100)
        slots = {document["_id"]: document["slots"] for document in self.client["jobs"].parts.find() if document["slots"]}
        assert not slots, f"slots of nobody: {slots}"
        begun = self._begun()
        assert max((sum(at <= other < at + WINDOW for other in begun) for at in begun), default=0) <= MOST_IN_WINDOW

    def _begun(self) -> list[datetime]:
        """When attempts of the limit that has a rate began."""
        jobs = self.plain.list_jobs(JobFilter(), limit=10_000, look=100_000).jobs
        mails = [job for job in jobs if "mail" in parts_of(job.lane or "[]")]
        return sorted(row.started_at for job in mails for row in self.plain.executions(job.job_id))

    # ----

    def _jobs(self, status: Status) -> list[Job]:
        return self.plain.list_jobs(JobFilter(status=status), limit=10_000, look=100_000).jobs

    def _store(self, *, hooked: bool = True) -> MongoStore:
        """A process of its own."""
        return open_mock(self.client, before=self._before_a_command if hooked else None, world=self.world)


class Once:
    """Does something once, before the first command to a collection."""

    def __init__(self, collection: str, command: str, act: Callable[[], object]) -> None:
        self._at, self._act = (collection, command), act
        self._is_done = False

    def __call__(self, collection: str, command: str) -> None:
        if (collection, command) == self._at and not self._is_done:
            self._is_done = True
            self._act()


def die() -> None:
    raise Death


def with_limit(client: mongomock.MongoClient, numbers: Numbers) -> MongoStore:
    store = open_mock(client)
    assert store.limits.save(Limit(name="three", version=1, numbers=numbers), was=None)
    return store


def test_a_claim_that_loses_its_job_to_another_leaves_the_slot_of_that_one() -> None:
    client = mongomock.MongoClient()
    other = with_limit(client, Numbers(max_running=2))
    other.insert([[a_job(limit=("three",)) for _ in range(3)]])
    overtaken = open_mock(client, before=Once("parts", "bulk_write", lambda: claim(other, most=1)))

    claim(overtaken, most=1)
    claim(other)

    assert other.counts()[Status.RUNNING] == 2


def test_a_slot_that_a_claim_could_not_take_is_not_taken_for_that_of_another() -> None:
    client = mongomock.MongoClient()
    other = with_limit(client, Numbers(max_running=1))
    other.insert([[a_job(limit=("three",)) for _ in range(2)]])
    late = open_mock(client, before=Once("jobs", "bulk_write", lambda: claim(overtaking)))
    overtaking = open_mock(client)

    claim(late)
    claim(other)

    assert other.counts()[Status.RUNNING] == 1


def test_a_job_begins_although_its_writer_died_before_the_job_was_in_its_lane() -> None:
    client = mongomock.MongoClient()
    other = with_limit(client, Numbers(max_running=2))
    with pytest.raises(Death):
        open_mock(client, before=Once("lanes", "bulk_write", die)).insert([[a_job(limit=("three",))]])

    other.limits.tidy(now=START, limit=100)

    assert len(claim(other)) == 1


def test_a_slot_of_a_claim_that_died_is_free_after_a_second_and_its_begin_comes_too_late() -> None:
    client = mongomock.MongoClient()
    other = with_limit(client, Numbers(max_running=1))
    other.insert([[a_job(limit=("three",))]])
    with pytest.raises(Death):
        claim(open_mock(client, before=Once("jobs", "bulk_write", die)))
    soon, later = START + timedelta(seconds=0.9), START + timedelta(seconds=1)

    other.limits.tidy(now=soon, limit=100)
    assert claim(other, now=soon) == []
    other.limits.tidy(now=later, limit=100)

    [begun] = claim(other, now=later)
    assert begun.epoch == 3


def test_parts_that_nobody_uses_are_forgotten() -> None:
    client = mongomock.MongoClient()
    store = with_limit(client, Numbers(max_running=1))
    store.insert([[a_job(limit=("three",), lane=None)]])
    [job] = claim(store)
    store.apply([lifecycle.settle(job, SUCCESS, now=START, retry_base_s=1)])

    store.limits.tidy(now=START + timedelta(seconds=59), limit=100)
    assert client["jobs"].parts.count_documents({}) == 1
    store.limits.tidy(now=START + timedelta(seconds=61), limit=100)

    assert client["jobs"].parts.count_documents({}) == 0


def run_seeds(first: int, count: int) -> None:
    for seed in range(first, first + count):
        try:
            Race(seed).run()
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_no_more_run_than_the_limits_allow_however_claimers_overtake_each_other(first: int) -> None:
    run_seeds(first, 10)


@pytest.mark.long
def test_the_same_for_long() -> None:
    run_seeds(SEEDS, MANY_SEEDS)
