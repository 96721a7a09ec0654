"""THE rules of a look at a schedule: which of its due fire times become jobs, which are missed, and why.

Due are the fire times from `next_fire_at` to now. One that is less than a minute late is made. Several, or one that is later, are a
catch-up. What is to be made then meets the overlap rule, one after the other, and its unique key when it is stored. A fire time
that has its job already, because whoever made it died before the schedule advanced, or by a backfill, is a fire. A look is pure: a
store commits its jobs together with what becomes of the schedule.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.expiry import expiry
from jobyard.engine.jobs.job import CancelledBecause, Job
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.schedules.fire_times import Timing, count_fires, just_before, newest_fires, next_fire
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
Made = Mapping[datetime, str]
"""The ids of jobs that are stored already, by fire time."""


@dataclass(slots=True)
class Fires:
    """Jobs to be made, in order, and the changes that end what they replace; `known`: fire times that have their jobs already."""

    jobs: list[Job] = field(default_factory=list)
    known: list[tuple[datetime, str]] = field(default_factory=list)
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
    newest: dict[str, datetime] = field(default_factory=dict)
    """The newest fire time that was missed for each reason."""
    sample: Job | None = None
    """A job as the schedule makes it now, if anything was missed or made."""

    @property
    def newest_missed(self) -> datetime | None:
        """The newest of all."""
        return max(self.newest.values(), default=None)

    def miss(self, reason: str, newest: datetime | None, count: int = 1) -> None:
        """Count missed fire times; `newest` is the last of them."""
        if count and newest is not None:
            self.missed[reason] += count
            self.newest[reason] = max(newest, self.newest.get(reason, newest))

    def after(self, job_ids: Sequence[str | None]) -> Schedule:
        """The schedule once the jobs are stored under these ids; None for a job whose unique key another job holds."""
        for job, job_id in zip(self.fires.jobs, job_ids, strict=True):
            if job_id is None:
                self.miss(NOT_UNIQUE, job.fire_at)
        ids = zip(self.fires.jobs, job_ids, strict=True)
        made = [(job.fire_at, job_id) for job, job_id in ids if job.fire_at is not None and job_id is not None]
        made = sorted([*made, *self.fires.known])
        before = self.schedule
        last_fire_at, last_job_id = made[-1] if made else (before.last_fire_at, before.last_job_id)
        missed = {reason: before.missed.get(reason, 0) + count for reason, count in self.missed.items()}
        return msgspec.structs.replace(
            before, next_fire_at=self.next_fire_at, last_fire_at=last_fire_at, last_job_id=last_job_id,
            fires=before.fires + len(made), missed={**before.missed, **missed},
            missed_is_exact=before.missed_is_exact and self.is_exact,
            last_missed_at=self.newest_missed or before.last_missed_at, version=before.version + 1,
        )  # fmt: skip


def look_at(
    schedule: Schedule, *, now: datetime, living: Sequence[Job], room: int, make: Make, made: Made | None = None
) -> Look | None:  # fmt: skip
    """None: nothing is due, or what is due waits for room. `living`: jobs of its fires and backfills that have not ended.

    `made`: the jobs that fire times from `next_fire_at` on have already; read after `living`, so that none of these is missing.
    """
    first = schedule.next_fire_at
    if first is None or first > now:
        return None
    timing = schedule.asked.timing
    made = {at: job_id for at, job_id in (made or {}).items() if first <= at <= now and _is_fire(timing, at)}
    if schedule.paused is not None:
        return _look_while_paused(schedule, first, now, made)
    second = next_fire(timing, first)
    is_one = second is None or second > now
    look = Look(schedule, second if is_one else next_fire(timing, now))
    chosen = _choose_one(look, first, now, made) if is_one else _choose(look, first, now, made)
    times = _as_there_is_room(look, sorted({*chosen, *made}), room, made)
    if chosen and not times:
        return None
    look.fires = overlapping(schedule, times, living, now=now, make=make, overlap=schedule.asked.overlap, made=made)
    look.miss(OVERLAPPED, max(look.fires.overlapped, default=None), len(look.fires.overlapped))
    return look


def _is_fire(timing: Timing, at: datetime) -> bool:
    return next_fire(timing, just_before(at)) == at


def _look_while_paused(schedule: Schedule, first: datetime, now: datetime, made: Made) -> Look:
    timing = schedule.asked.timing
    look = Look(schedule, next_fire(timing, now), Fires(known=sorted(made.items())))
    count, look.is_exact = count_fires(timing, since=first, until=now, at_most=COUNTED)
    newest = [at for at in newest_fires(timing, since=first, until=now, count=1 + len(made)) if at not in made]
    look.miss(PAUSED, max(newest, default=None), count - len(made))
    return look


def _choose_one(look: Look, only: datetime, now: datetime, made: Made) -> list[datetime]:
    if now - only < ON_TIME or look.schedule.asked.catch_up != NONE or only in made:
        return [only]
    look.miss(CAUGHT_UP, only)
    return []


def _choose(look: Look, first: datetime, now: datetime, made: Made) -> list[datetime]:
    """Of several fire times, those to be made; the others count as missed."""
    asked = look.schedule.asked
    most = {LATEST: 1, EVERY: asked.catch_up_max, NONE: 1}[asked.catch_up]
    newest = newest_fires(asked.timing, since=first, until=now, count=most + 1 + len(made))
    chosen = newest[-most:]
    if asked.catch_up == NONE and now - chosen[-1] >= ON_TIME:
        chosen = []
    count, look.is_exact = count_fires(asked.timing, since=first, until=now, at_most=max(COUNTED, most) + 1)
    are_fires = {*chosen, *made}
    others = [at for at in newest if at not in are_fires]
    look.miss(CAUGHT_UP, max(others, default=None), count - len(are_fires))
    return chosen


def _as_there_is_room(look: Look, times: list[datetime], room: int, made: Made) -> list[datetime]:
    """The oldest of these fire times, as far as there is room for new jobs; the schedule advances only past these."""
    new = [at for at in times if at not in made]
    if len(new) <= room:
        return times
    look.next_fire_at = new[max(0, room)]
    return [at for at in times if at < look.next_fire_at]


def overlapping(
    schedule: Schedule, times: Sequence[datetime], living: Sequence[Job], *, now: datetime, make: Make, overlap: str,
    made: Made | None = None,
) -> Fires:  # fmt: skip
    """The jobs of these fire times, as the overlap rule allows; for a catch-up and for a backfill."""
    fires, known = Fires(), made or {}
    others = [job for job in living if job.fire_at not in known]
    own = {job.fire_at: job for job in living if job.fire_at in known}
    alive, waiting = len(others), sum(job.attempt == 0 for job in others)
    for at in times:
        if at in known:
            fires.known.append((at, known[at]))
            alive, waiting = alive + (at in own), waiting + (at in own and own[at].attempt == 0)
            continue
        if (overlap == SKIP and alive) or (overlap == QUEUE and waiting):
            fires.overlapped.append(at)
            continue
        if overlap == REPLACE and fires.jobs:
            fires.jobs[-1] = lifecycle.cancel(fires.jobs[-1], now=now, because=_replaced(schedule)).after(fires.jobs[-1])
        fires.jobs.append(_fire(schedule, at, make, lane_of(schedule.name) if overlap in ONE_AT_A_TIME else None))
        alive, waiting = alive + 1, waiting + 1
    if overlap == REPLACE and times:
        fires.cancels = _cancels(schedule, living, now, but=max(times))
    return fires


def _cancels(schedule: Schedule, living: Sequence[Job], now: datetime, *, but: datetime) -> list[tuple[Job, Change]]:
    """The ends of what lives, except of the job of the newest fire time."""
    ends = [job for job in living if job.fire_at != but and job.cancel_requested_at is None]
    return [(job, lifecycle.cancel(job, now=now, because=_replaced(schedule))) for job in ends]


def _replaced(schedule: Schedule) -> CancelledBecause:
    return CancelledBecause(reason=REPLACED, schedule=schedule.name)


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
