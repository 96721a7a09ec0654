"""Limits in the generated lives: clients make, change, pause and resume them while faults last, and no begin ever exceeds one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.limits.limit import Limit, Numbers, Paused
from jobyard.engine.limits.rules import is_kept, limit_of, parts_of
from jobyard.engine.store.declare_limit import change_limit, replaced
from jobyard.engine.store.limit_port import LimitStore
from tests.simulation.checker import Violation
from tests.simulation.event_queue import EventQueue

NAMES = ("three", "customer", "queue:default", "task:quick", "*")
OF_JOBS = ("three", "customer/1", "customer/2", ["three", "customer/1"])
NO_NUMBERS = Numbers()


class Limiter:
    """What clients do with limits."""

    def __init__(self, event_queue: EventQueue, limits: LimitStore) -> None:
        self._queue = event_queue
        self._limits = limits
        self._has_ended = False

    def begin(self) -> None:
        """Make those that jobs name, and change them all now and then."""
        self._put("three", Numbers(max_running=3))
        self._put("customer", Numbers(max_running=1))
        self._plan()

    def end(self) -> None:
        """Nothing limits anybody any more."""
        self._has_ended = True
        for limit in self._limits.all():
            change_limit(self._limits, limit.name, lambda one: replaced(one, numbers=NO_NUMBERS, paused=None, hold_until=None))

    def limit_for_a_job(self) -> dict[str, object]:
        """Some jobs name one or two."""
        return {"limit": self._queue.chance.choice(OF_JOBS)} if self._queue.chance.random() < 0.4 else {}

    def _plan(self) -> None:
        self._queue.after(self._queue.chance.expovariate(1 / 5.0), self._change)

    def _change(self) -> None:
        if self._has_ended:
            return
        chance = self._queue.chance
        name, wants = chance.choice(NAMES), chance.random()
        if wants < 0.5:
            rate = {"count": chance.choice([1, 5]), "per_s": 1.0, "burst": 1} if chance.random() < 0.3 else {}
            self._put(name, Numbers(max_running=chance.choice([1, 2, 5, None]), **rate))  # type: ignore[arg-type]
        elif self._limits.find(name) is not None:
            paused = Paused(by="sim", since=datetime.min) if wants < 0.65 else None
            change_limit(self._limits, name, lambda one: replaced(one, paused=paused))
        self._plan()

    def _put(self, name: str, numbers: Numbers) -> None:
        self._queue.note("client", "limit", name, str(numbers.max_running))
        change_limit(self._limits, name, lambda one: replaced(one, numbers=numbers), new=Limit(name=name))


def check_begin(begun: Job, jobs: Sequence[Job], limits: LimitStore) -> None:
    """No part of a limit has more running jobs than it may; of a schedule one job at a time has begun and not ended."""
    for part in () if begun.lane is None else parts_of(begun.lane):
        limit = limits.find(limit_of(part))
        if is_kept(part):
            most, running = 1, limits.parts([part])[part].state.running
        elif limit is None or limit.numbers.max_running is None:
            continue
        else:
            most = limit.numbers.max_running
            running = sum(job.status is Status.RUNNING and part in parts_of(job.lane or "[]") for job in jobs)
        if running > most:
            raise Violation(f"{begun.job_id} begins as number {running} of at most {most} in {part}")


def check_slots(jobs: Sequence[Job], limits: LimitStore) -> None:
    """Nobody has a slot who does not run, but for a job of a schedule that has not ended."""
    living = {job.job_id: job for job in jobs}
    parts = sorted({part for job in jobs for part in parts_of(job.lane or "[]")})
    for part, holders in limits.parts(parts).items():
        for job_id in holders.job_ids:
            job = living.get(job_id)
            if job is None or (job.status is not Status.RUNNING and not (is_kept(part) and job.status is Status.PENDING)):
                raise Violation(f"{job_id} has a slot in {part} and does not run")
