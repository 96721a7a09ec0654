"""Limits kept in memory: the whole of `LimitStore` in its simplest correct form, beside jobs that are kept in memory.

What a job is under is decided anew at each look, so there is nothing to keep up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.limits.effects import refused, replaced_under
from jobyard.engine.limits.limit import CANCEL, REPLACE, Limit, PartUsage, Usage
from jobyard.engine.limits.rules import (
    Code,
    Obstacle,
    PartState,
    clamped,
    from_micros,
    is_implicit,
    is_kept,
    lane_for,
    limit_of,
    micros,
    next_token,
    obstacle,
    partition_of,
    parts_of,
    take_token,
)
from jobyard.engine.store.limit_port import MOST_PARTITIONS, PartHolders


class InMemoryLimits:
    """See `LimitStore`. `jobs` lists all jobs."""

    effective_within_s = 0

    def __init__(self, jobs: Callable[[], list[Job]]) -> None:
        self._jobs = jobs
        self._limits: dict[str, Limit] = {}
        self._slots: dict[str, set[str]] = {}
        self._tats: dict[str, int] = {}
        self._holds: dict[str, datetime] = {}
        self._served: dict[str | None, int] = {}
        self._turn = count(1)

    # ---- see `LimitStore`

    def all(self) -> list[Limit]:
        """See `LimitStore`."""
        return [self._limits[name] for name in sorted(self._limits)]

    def find(self, name: str) -> Limit | None:
        """See `LimitStore`."""
        return self._limits.get(name)

    def save(self, limit: Limit, *, was: int | None) -> bool:
        """See `LimitStore`."""
        stored = self._limits.get(limit.name)
        if (None if stored is None else stored.version) != was:
            return False
        self._limits[limit.name] = limit
        if was is None and is_implicit(limit.name):
            running = (job for job in self._jobs() if job.status is Status.RUNNING)
            self._slots[limit.name] = {job.job_id for job in running if limit.name in self._parts(job)}
        return True

    def delete(self, name: str) -> bool:
        """See `LimitStore`."""
        if self._limits.pop(name, None) is None:
            return False
        self._tats = {part: tat for part, tat in self._tats.items() if limit_of(part) != name}
        return True

    def hold_parts(self, parts: Sequence[str], until: datetime) -> None:
        """See `LimitStore`."""
        for part in parts:
            self._holds[part] = max(until, self._holds.get(part, until))

    def usage(self, limit: Limit, *, now: datetime, is_whole: bool) -> Usage:
        """See `LimitStore`."""
        waiting: Counter[str] = Counter()
        for job in self._jobs():
            if job.status is Status.PENDING and job.scheduled_at <= now:
                waiting.update(part for part in self._parts(job) if limit_of(part) == limit.name)
        running = {part: len(ids) for part, ids in self._slots.items() if ids and limit_of(part) == limit.name}
        fullest = sorted({*running, *waiting}, key=lambda part: (-running.get(part, 0), -waiting[part], part))
        partitions = [
            PartUsage(
                partition=partition_of(part), running=running.get(part, 0), waiting=waiting[part], next_at=self._next_at(part, now)
            )
            for part in fullest[:MOST_PARTITIONS]
            if partition_of(part) is not None
        ]
        return Usage(
            running=sum(running.values()), waiting=waiting.total(), next_at=self._next_at(limit.name, now),
            partitions=tuple(partitions) if is_whole else (),
        )  # fmt: skip

    def _next_at(self, part: str, now: datetime) -> datetime | None:
        limit = self._limits.get(limit_of(part))
        if limit is None or limit.numbers.count is None:
            return None
        at = next_token(limit.numbers, self._tats.get(part, 0), micros(now))
        return from_micros(at) if at > micros(now) else None

    def parts(self, parts: Sequence[str]) -> Mapping[str, PartHolders]:
        """See `LimitStore`."""
        return {part: PartHolders(self._state(part), tuple(sorted(self._slots.get(part, ())))[:MOST_PARTITIONS]) for part in parts}

    def relane(self, *, now: datetime, limit: int) -> bool:
        """There is nothing to do."""
        return False

    def tidy(self, *, now: datetime, limit: int) -> None:
        """There is nothing to do."""

    # ---- for whoever keeps the jobs

    def accept(self, jobs: Iterable[Job]) -> list[Job]:
        """The new jobs in their lanes; those whose limit is full and says so are cancelled."""
        taken: Counter[str] = Counter()
        accepted = []
        for job in jobs:
            cancelling = [part for part in self._parts(job) if self._on_full(part) == CANCEL and not lifecycle.is_terminal(job)]
            full = next((part for part in cancelling if self._living(part) + taken[part] >= (self._most(part) or 0)), None)
            if full is None:
                taken.update(cancelling)
                lane = lane_for(job, self._implicit())
                accepted.append(msgspec.structs.replace(job, lane=lane) if job.status is Status.PENDING else job)
            else:
                accepted.append(refused(job, limit_of(full)))
        return accepted

    def obstacle(self, job: Job, now: datetime) -> Obstacle | None:
        """What stands against the begin of a pending job."""
        parts = [part for part in self._parts(job) if not (is_kept(part) and job.job_id in self._slots.get(part, ()))]
        for part in parts:
            limit = self._limits.get(limit_of(part))
            if limit is not None and part in self._tats:
                self._tats[part] = clamped(limit.numbers, self._tats[part], micros(now))
        return obstacle(parts, limits=self._limits, state=self._state, now=now)

    def next_at(self, job: Job, now: datetime) -> datetime | None:
        """When the job may begin; None if an event must come first."""
        found = self.obstacle(job, max(now, job.scheduled_at))
        return job.scheduled_at if found is None else found.until

    def in_turn(self, due: Iterable[Job]) -> list[Job]:
        """Due jobs in claiming order: by priority; lanes of one priority in turn; within a lane by due time."""
        found = sorted(due, key=lambda job: (-job.priority, job.scheduled_at))
        rounds: Counter[str | None] = Counter()
        places = []
        for number, job in enumerate(found):
            lane = lane_for(job, self._implicit())
            rounds[lane] += 1
            places.append(((-job.priority, rounds[lane], self._served.get(lane, 0), number), job))
        return [job for _, job in sorted(places, key=lambda place: place[0])]

    def begin(self, job: Job, now: datetime) -> str | None:
        """The job begins: it takes its slots and tokens; its lane."""
        for part in self._parts(job):
            self._slots.setdefault(part, set()).add(job.job_id)
            limit = self._limits.get(limit_of(part))
            if limit is not None and limit.numbers.count is not None:
                self._tats[part] = take_token(limit.numbers, self._tats.get(part, 0), micros(now))
        lane = lane_for(job, self._implicit())
        self._served[lane] = next(self._turn)
        return lane

    def follow(self, after: Job) -> None:
        """The job was changed: one that runs no longer frees its slots; but a schedule's only when it has ended."""
        if after.status is Status.RUNNING:
            return
        keeps = after.status is Status.PENDING and after.attempt > 0
        for part, ids in self._slots.items():
            if not (keeps and is_kept(part)):
                ids.discard(after.job_id)

    def to_replace(self, due: Sequence[Job], now: datetime) -> list[lifecycle.Change]:
        """For each due job that waits for a full part, the change that asks the oldest running one to cancel."""
        full = [found for job in due if (found := self.obstacle(job, now)) is not None and found.code is Code.FULL]
        changes = []
        for part, waiting in Counter(found.part for found in full if self._on_full(found.part) == REPLACE).items():
            running = [job for job in self._jobs() if job.job_id in self._slots.get(part, ()) and job.status is Status.RUNNING]
            running.sort(key=lambda job: job.last_run_at or now)
            asked = sum(job.cancel_requested_at is not None for job in running)
            cause = replaced_under(limit_of(part))
            for job in [job for job in running if job.cancel_requested_at is None][: max(0, waiting - asked)]:
                changes.append(lifecycle.cancel(job, now=now, because=cause))
        return changes

    def _parts(self, job: Job) -> tuple[str, ...]:
        lane = lane_for(job, self._implicit())
        return () if lane is None else parts_of(lane)

    def _implicit(self) -> list[str]:
        return [name for name in self._limits if is_implicit(name)]

    def _on_full(self, part: str) -> str | None:
        limit = self._limits.get(limit_of(part))
        return None if limit is None else limit.numbers.on_full

    def _most(self, part: str) -> int | None:
        limit = self._limits.get(limit_of(part))
        return None if limit is None else limit.numbers.max_running

    def _living(self, part: str) -> int:
        return sum(part in self._parts(job) for job in self._jobs() if not lifecycle.is_terminal(job))

    def _state(self, part: str) -> PartState:
        return PartState(len(self._slots.get(part, ())), self._tats.get(part, 0), self._holds.get(part))
