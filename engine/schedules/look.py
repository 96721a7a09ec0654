"""THE rules of a look at a schedule: which of its due fire times become jobs, which are missed, and why.

Due are the fire times from `next_fire_at` to now. One that is less than a minute late is made. Several, or one that is later, are a
catch-up. What is to be made then meets the overlap rule, one after the other, and its unique key when it is stored. A look is pure:
a store commits its jobs together with what becomes of the schedule.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.expiry import expiry
from jobyard.engine.jobs.job import CancelledBecause, Job
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.schedules.fire_times import Timing, count_fires, newest_fires, next_fire
from jobyard.engine.schedules.schedule import (
    CAUGHT_UP,
    EVERY,
    LATEST,
    NONE,
    NOT_UNIQUE,
    ONE_AT_A_TIME,
    OVERLAPPED,
    PAUSED,
    QUEUE,
    REPLACE,
    SKIP,
    Schedule,
    lane_of,
)

ON_TIME = timedelta(seconds=60)
COUNTED = 1_000
REPLACED = "replaced"
Make = Callable[[Schedule, datetime], Job]
"""The new job of a fire, without what this module adds."""


@dataclass(slots=True)
class Fires:
    """Jobs to be made, in order, and the changes that end what they replace."""

    jobs: list[Job] = field(default_factory=list)
    cancels: list[tuple[Job, Change]] = field(default_factory=list)
    overlapped: list[datetime] = field(default_factory=list)


@dataclass(slots=True)
class Look:
    """What one look decides. `next_fire_at`: as the schedule has it afterwards."""

    schedule: Schedule
    next_fire_at: datetime | None
    fires: Fires = field(default_factory=Fires)
    missed: Counter[str] = field(default_factory=Counter)
    is_exact: bool = True
    newest_missed: datetime | None = None

    def miss(self, reason: str, newest: datetime | None, count: int = 1) -> None:
        """Count missed fire times; `newest` is the last of them."""
        if count and newest is not None:
            self.missed[reason] += count
            self.newest_missed = max(newest, self.newest_missed or newest)

    def after(self, job_ids: Sequence[str | None]) -> Schedule:
        """The schedule once the jobs are stored under these ids; None for a job whose unique key another job holds."""
        for job, job_id in zip(self.fires.jobs, job_ids, strict=True):
            if job_id is None:
                self.miss(NOT_UNIQUE, job.fire_at)
        made = [(job.fire_at, job_id) for job, job_id in zip(self.fires.jobs, job_ids, strict=True) if job_id is not None]
        before = self.schedule
        last_fire_at, last_job_id = made[-1] if made else (before.last_fire_at, before.last_job_id)
        missed = {reason: before.missed.get(reason, 0) + count for reason, count in self.missed.items()}
        return msgspec.structs.replace(
            before, next_fire_at=self.next_fire_at, last_fire_at=last_fire_at, last_job_id=last_job_id,
            fires=before.fires + len(made), missed={**before.missed, **missed},
            missed_is_exact=before.missed_is_exact and self.is_exact,
            last_missed_at=self.newest_missed or before.last_missed_at, version=before.version + 1,
        )  # fmt: skip


def look_at(schedule: Schedule, *, now: datetime, living: Sequence[Job], room: int, make: Make) -> Look | None:
    """None: nothing is due, or what is due waits for room. `living`: jobs of its fires and backfills that have not ended."""
    first = schedule.next_fire_at
    if first is None or first > now:
        return None
    timing = schedule.asked.timing
    if schedule.paused is not None:
        return _look_while_paused(schedule, first, now)
    second = next_fire(timing, first)
    is_one = second is None or second > now
    look = Look(schedule, second if is_one else next_fire(timing, now))
    chosen = _choose_one(look, first, now) if is_one else _choose(look, first, now)
    if not chosen:
        return look
    if room <= 0:
        return None
    if len(chosen) > room:
        look.next_fire_at = chosen[room]
        chosen = chosen[:room]
    look.fires = overlapping(schedule, chosen, living, now=now, make=make, overlap=schedule.asked.overlap)
    look.miss(OVERLAPPED, max(look.fires.overlapped, default=None), len(look.fires.overlapped))
    return look


def _look_while_paused(schedule: Schedule, first: datetime, now: datetime) -> Look:
    timing = schedule.asked.timing
    look = Look(schedule, next_fire(timing, now))
    count, look.is_exact = count_fires(timing, since=first, until=now, at_most=COUNTED)
    look.miss(PAUSED, newest_fires(timing, since=first, until=now, count=1)[-1], count)
    return look


def _choose_one(look: Look, only: datetime, now: datetime) -> list[datetime]:
    if now - only < ON_TIME or look.schedule.asked.catch_up != NONE:
        return [only]
    look.miss(CAUGHT_UP, only)
    return []


def _choose(look: Look, first: datetime, now: datetime) -> list[datetime]:
    """Of several fire times, those to be made; the others count as missed."""
    asked = look.schedule.asked
    most = {LATEST: 1, EVERY: asked.catch_up_max, NONE: 1}[asked.catch_up]
    newest = newest_fires(asked.timing, since=first, until=now, count=most + 1)
    chosen = newest[-most:]
    if asked.catch_up == NONE and now - chosen[-1] >= ON_TIME:
        chosen = []
    count, look.is_exact = count_fires(asked.timing, since=first, until=now, at_most=max(COUNTED, most) + 1)
    others = [at for at in newest if at not in chosen]
    look.miss(CAUGHT_UP, max(others, default=None), count - len(chosen))
    return chosen


def overlapping(
    schedule: Schedule, times: Sequence[datetime], living: Sequence[Job], *, now: datetime, make: Make, overlap: str
) -> Fires:  # fmt: skip
    """The jobs of these fire times, as the overlap rule allows; for a catch-up and for a backfill."""
    fires = Fires()
    alive, waiting = len(living), sum(job.attempt == 0 for job in living)
    cause = CancelledBecause(reason=REPLACED, schedule=schedule.name)
    for at in times:
        if (overlap == SKIP and alive) or (overlap == QUEUE and waiting):
            fires.overlapped.append(at)
            continue
        if overlap == REPLACE and not fires.jobs:
            fires.cancels = [
                (job, lifecycle.cancel(job, now=now, because=cause)) for job in living if job.cancel_requested_at is None
            ]
        elif overlap == REPLACE:
            fires.jobs[-1] = lifecycle.cancel(fires.jobs[-1], now=now, because=cause).after(fires.jobs[-1])
        fires.jobs.append(_fire(schedule, at, make, lane_of(schedule.name) if overlap in ONE_AT_A_TIME else None))
        alive, waiting = alive + 1, waiting + 1
    return fires


def _fire(schedule: Schedule, at: datetime, make: Make, lane: str | None) -> Job:
    due = at + jitter(schedule.name, schedule.asked.timing, at, schedule.asked.jitter_s)
    job = make(schedule, at)
    expires_at = expiry(due, job.expires_s)
    return msgspec.structs.replace(
        job, schedule=schedule.name, fire_at=at, lane=lane, scheduled_at=due, expires_at=expires_at, lapses_at=expires_at
    )  # fmt: skip


def jitter(name: str, timing: Timing, at: datetime, jitter_s: float) -> timedelta:
    """The delay of the job of this fire: always the same, and never past the next fire."""
    if not jitter_s:
        return timedelta()
    following = next_fire(timing, at)
    most_s = jitter_s if following is None else min(jitter_s, (following - at).total_seconds())
    digest = hashlib.sha256(f"{name}|{at.timestamp():.3f}".encode()).digest()
    return timedelta(milliseconds=int.from_bytes(digest[:8]) * int(most_s * 1000) >> 64)
