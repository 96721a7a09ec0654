"""The values of a schedule: what was asked for, and what has become of it so far."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from jobyard.engine.limits import rules
from jobyard.engine.schedules.fire_times import Timing
from jobyard.engine.timestamps import rfc3339

SKIP, QUEUE, ALL, REPLACE, ALLOW = OVERLAP = ("skip", "queue", "all", "replace", "allow")
LATEST, EVERY, NONE = CATCH_UP = ("latest", "all", "none")
ONE_AT_A_TIME = (QUEUE, ALL, REPLACE)
"""The kinds of overlap under which the jobs of a schedule run one after the other."""
API, CODE = ORIGINS = ("api", "code")
PAUSED, CAUGHT_UP, OVERLAPPED, NOT_UNIQUE = REASONS = ("paused", "catch_up", "overlap", "unique")
"""Why a fire time has no job, in the order in which they are looked at."""


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """What a PUT asks for. `job`: the fields of the new jobs as they were given, but for the payload, which is JSON text."""

    timing: Timing
    job: dict[str, Any]
    payload: str = "null"
    overlap: str = SKIP
    catch_up: str = LATEST
    catch_up_max: int = 100
    jitter_s: float = 0


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """Who paused a schedule, since when, and why."""

    by: str
    since: datetime
    reason: str | None = None


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule as stored. `next_fire_at`: no fire time before it is looked at again; None when there is no other.

    `version` rises with every change; it is the guard of every write.
    """

    name: str
    asked: Definition
    origin: str = API
    next_fire_at: datetime | None = None
    last_fire_at: datetime | None = None
    last_job_id: str | None = None
    fires: int = 0
    missed: dict[str, int] = {}
    missed_is_exact: bool = True
    last_missed_at: datetime | None = None
    paused: Paused | None = None
    version: int = 0


def lane_of(name: str) -> str:
    """The lane of a schedule whose jobs run one at a time."""
    return str(rules.lane_of([f"{rules.SCHEDULE}{name}"]))


def shown(schedule: Schedule, job: Mapping[str, object], next_fires: list[datetime] | None = None) -> dict[str, object]:
    """The schedule as clients see it; `job` with its defaults, `next_fires` in the answer about one schedule only."""
    asked, timing = schedule.asked, schedule.asked.timing
    return {
        "name": schedule.name, "cron": timing.cron, "every_s": number(timing.every_s), "time_zone": timing.time_zone, "job": job,
        "overlap": asked.overlap, "catch_up": asked.catch_up, "catch_up_max": asked.catch_up_max,
        "jitter_s": number(asked.jitter_s),
        "starts_at": rfc3339(timing.starts_at), "ends_at": rfc3339(timing.ends_at), "dst_gap": timing.dst_gap,
        "dst_fold": timing.dst_fold, "next_fire_at": rfc3339(schedule.next_fire_at),
        **({} if next_fires is None else {"next_fires": [rfc3339(at) for at in next_fires]}),
        "last_fire_at": rfc3339(schedule.last_fire_at), "last_job_id": schedule.last_job_id, "fires": schedule.fires,
        "missed": {reason: schedule.missed.get(reason, 0) for reason in REASONS}, "missed_is_exact": schedule.missed_is_exact,
        "last_missed_at": rfc3339(schedule.last_missed_at), "paused": _shown_pause(schedule.paused), "origin": schedule.origin,
    }  # fmt: skip


def _shown_pause(paused: Paused | None) -> dict[str, object] | None:
    return None if paused is None else {"by": paused.by, "since": rfc3339(paused.since), "reason": paused.reason}


def number(seconds: float | None) -> float | None:
    """Integral seconds without a fraction."""
    return int(seconds) if seconds is not None and seconds == int(seconds) else seconds
