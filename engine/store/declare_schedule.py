"""Stores what a PUT or a task module asks of a schedule, whoever else does so at the same moment."""

from __future__ import annotations

from datetime import datetime

import msgspec

from jobyard.engine.errors import changing_too_quickly
from jobyard.engine.schedules.fire_times import next_fire
from jobyard.engine.schedules.schedule import API, CODE, Definition, Schedule
from jobyard.engine.store.schedule_port import ScheduleStore

GUARD_TRIES = 20


def declare_schedule(
    schedules: ScheduleStore, name: str, asked: Definition, *, origin: str, now: datetime
) -> tuple[Schedule, Schedule | None]:  # fmt: skip
    """The schedule after and before it (None: it is new). The same again changes nothing, nor does code what the API has stored."""
    for _ in range(GUARD_TRIES):
        stored = schedules.find(name)
        if stored is not None and ((stored.asked, stored.origin) == (asked, origin) or (origin == CODE and stored.origin == API)):
            return stored, stored
        after = _changed(schedules, stored, asked, now) if stored else _new(name, asked, now)
        after = msgspec.structs.replace(after, origin=origin)
        if schedules.save(after, was=None if stored is None else stored.version):
            return after, stored
    raise changing_too_quickly(f"schedule {name}")


def _new(name: str, asked: Definition, now: datetime) -> Schedule:
    return Schedule(name=name, asked=asked, next_fire_at=next_fire(asked.timing, now))


def _changed(schedules: ScheduleStore, stored: Schedule, asked: Definition, now: datetime) -> Schedule:
    """A change of when it fires drops what was due and has no job yet, and computes the next fire from now; any other keeps it."""
    after = msgspec.structs.replace(stored, asked=asked, version=stored.version + 1)
    if stored.asked.timing == asked.timing:
        return after
    under_way = schedules.made(stored.name, since=stored.next_fire_at, until=now) if stored.next_fire_at else {}
    newest = max(under_way, default=None)
    last = (stored.last_fire_at, stored.last_job_id) if newest is None else (newest, under_way[newest])
    return msgspec.structs.replace(
        after, next_fire_at=next_fire(asked.timing, now), fires=stored.fires + len(under_way), last_fire_at=last[0],
        last_job_id=last[1],
    )  # fmt: skip
