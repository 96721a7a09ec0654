"""The values of a limit: what was asked for, and whether it is paused or held."""

from __future__ import annotations

from datetime import datetime

import msgspec

from jobyard.engine.timestamps import rfc3339

WAIT, CANCEL, REPLACE = ON_FULL = ("wait", "cancel", "replace")
API, CODE = ORIGINS = ("api", "code")


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """Who paused a limit, since when, why, and until when (None: until it is resumed)."""

    by: str
    since: datetime
    reason: str | None = None
    until: datetime | None = None


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """What a PUT asks for. At most `count` jobs begin in `per_s` seconds; both are None without a rate."""

    max_running: int | None = None
    count: int | None = None
    per_s: float | None = None
    burst: int = 1
    on_full: str = WAIT


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit as stored. `origin` is None where only a pause or a hold made it.

    `version` rises with every change; it is the guard of every write.
    """

    name: str
    numbers: Numbers = Numbers()
    origin: str | None = None
    paused: Paused | None = None
    hold_until: datetime | None = None
    version: int = 0


class PartUsage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one part of a limit is in use. `next_at`: when the next job may begin, if only time stands against it."""

    partition: str | None
    running: int
    waiting: int
    waiting_is_exact: bool = True
    next_at: datetime | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a limit is in use. `partitions`: the fullest; empty unless they were asked for."""

    running: int = 0
    waiting: int = 0
    waiting_is_exact: bool = True
    next_at: datetime | None = None
    partitions: tuple[PartUsage, ...] = ()


def pause_of(limit: Limit, now: datetime) -> Paused | None:
    """The pause that holds now."""
    paused = limit.paused
    return None if paused is None or (paused.until is not None and paused.until <= now) else paused


def hold_of(limit: Limit, now: datetime) -> datetime | None:
    """Until when nobody begins, if that is later than now."""
    return None if limit.hold_until is None or limit.hold_until <= now else limit.hold_until


def shown(limit: Limit, usage: Usage, now: datetime, *, is_whole: bool) -> dict[str, object]:
    """The limit as clients see it; `is_whole`: with its partitions."""
    numbers = limit.numbers
    return {
        "name": limit.name, "max_running": numbers.max_running, "count": numbers.count, "per_s": _number(numbers.per_s),
        "burst": None if numbers.count is None else numbers.burst, "on_full": numbers.on_full,
        "paused": _shown_pause(pause_of(limit, now)), "hold_until": rfc3339(hold_of(limit, now)), "origin": limit.origin or API,
        "running": usage.running, "waiting": {"count": usage.waiting, "is_exact": usage.waiting_is_exact},
        "next_at": rfc3339(usage.next_at),
        **({"partitions": [_shown_part(part) for part in usage.partitions]} if is_whole else {}),
    }  # fmt: skip


def _shown_pause(paused: Paused | None) -> dict[str, object] | None:
    if paused is None:
        return None
    return {"by": paused.by, "since": rfc3339(paused.since), "reason": paused.reason, "until": rfc3339(paused.until)}


def _shown_part(part: PartUsage) -> dict[str, object]:
    return {
        "partition": part.partition, "running": part.running,
        "waiting": {"count": part.waiting, "is_exact": part.waiting_is_exact}, "next_at": rfc3339(part.next_at),
    }  # fmt: skip


def _number(seconds: float | None) -> float | None:
    return int(seconds) if seconds is not None and seconds == int(seconds) else seconds
