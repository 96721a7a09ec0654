"""THE fire times of a schedule: cron expressions by Debian's rule at the changes of the clock, or plain intervals.

A cron expression matches local times. It is *fixed* when neither its minute nor its hour begins with `*`, else *running*:

                          a local time that does not exist (gap)        a local time that exists twice (fold)
    running               nothing                                       both
    fixed                 the first instant after the gap, or nothing   the first, the last, or both

Local times are mapped to instants by `zoneinfo`. Near a change of the clock, all local times from some hours before are mapped and
sorted; anywhere else, which is nearly always, the next local time is the answer. Fire times depend on the fields here and the time
zone database only.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import msgspec

from jobyard.engine.schedules.cron import Cron, parse_cron

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
WINDOW = timedelta(hours=4)
"""No zone has set its clock back by more than three hours since 1990."""
SECOND = timedelta(seconds=1)
FIRST_TIME, LAST_TIME = datetime(2, 1, 1, tzinfo=UTC), datetime(9990, 1, 1, tzinfo=UTC)
"""Nothing fires before or after: no local time of any zone is then outside of the calendar."""
FIRST_SPAN = timedelta(hours=1)
GAP_SHIFT, GAP_SKIP = DST_GAP = ("shift", "skip")
FOLD_FIRST, FOLD_LAST, FOLD_BOTH = DST_FOLD = ("first", "last", "both")


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """When a schedule fires; one of `cron` and `every_s` is given."""

    cron: str | None = None
    every_s: float | None = None
    time_zone: str = "UTC"
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    dst_gap: str = GAP_SHIFT
    dst_fold: str = FOLD_FIRST


def fires_after(timing: Timing, after: datetime) -> Iterator[datetime]:
    """The fire times later than this one, in order, within `starts_at` and `ends_at`, both inclusive."""
    after = max(after, FIRST_TIME if timing.starts_at is None else just_before(timing.starts_at))
    if after >= LAST_TIME:
        return
    found = _intervals(timing, after) if timing.cron is None else _matches(timing, after)
    for at in found:
        if (timing.ends_at is not None and at > timing.ends_at) or at > LAST_TIME:
            return
        yield at


def just_before(at: datetime) -> datetime:
    """The last time before this one."""
    return max(at, FIRST_TIME) - MILLISECOND


@functools.lru_cache(maxsize=4096)
def next_fire(timing: Timing, after: datetime) -> datetime | None:
    """The first fire time later than this one. Cached: many schedules fire at the same times."""
    return next(fires_after(timing, after), None)


def newest_fires(timing: Timing, *, since: datetime, until: datetime, count: int) -> list[datetime]:
    """The last `count` fire times in [since, until], oldest first; takes time for about so many, however long the span is."""
    since = max(since, FIRST_TIME)
    until = until if timing.ends_at is None else min(until, timing.ends_at)
    if timing.cron is None:
        span = min(count * timedelta(seconds=timing.every_s or 0) + SECOND, max(timedelta(), until - FIRST_TIME))
        first = max(just_before(since), until - span)
        return _within(timing, first, until, count)
    span = FIRST_SPAN
    while True:
        first = max(just_before(since), until - span) if until - FIRST_TIME > span else just_before(since)
        found = _within(timing, first, until, count)
        if len(found) == count or first < since:
            return found
        span *= 2


def count_fires(timing: Timing, *, since: datetime, until: datetime, at_most: int) -> tuple[int, bool]:
    """The number of fire times in [since, until], and whether it is exact: of a cron expression at most so many are counted."""
    if timing.cron is None:
        first = next_fire(timing, just_before(since))
        last = until if timing.ends_at is None else min(until, timing.ends_at)
        if first is None or first > last:
            return 0, True
        return _number_of(timing, last) - _number_of(timing, first) + 1, True
    counted = 0
    for at in fires_after(timing, just_before(since)):
        if at > until:
            break
        if counted == at_most:
            return counted, False
        counted += 1
    return counted, True


def _within(timing: Timing, after: datetime, until: datetime, count: int) -> list[datetime]:
    kept: deque[datetime] = deque(maxlen=count)
    for at in fires_after(timing, after):
        if at > until:
            break
        kept.append(at)
    return list(kept)


# ---- intervals


def _intervals(timing: Timing, after: datetime) -> Iterator[datetime]:
    number = _number_of(timing, after) + 1
    while True:
        yield _interval(timing, number)
        number += 1


def _number_of(timing: Timing, at: datetime) -> int:
    """The number of the last fire time that is not later."""
    number = int((at - _base(timing)) // MILLISECOND / (_every(timing) * 1000))
    while _interval(timing, number) > at:
        number -= 1
    while _interval(timing, number + 1) <= at:
        number += 1
    return number


def _interval(timing: Timing, number: int) -> datetime:
    return _base(timing) + int(number * _every(timing) * 1000 // 1) * MILLISECOND


def _base(timing: Timing) -> datetime:
    return timing.starts_at or EPOCH


def _every(timing: Timing) -> Fraction:
    return _exact(timing.every_s or 1)


@functools.lru_cache(maxsize=4096)
def _exact(seconds: float) -> Fraction:
    """The number as it is written, so that 0.1 is a tenth."""
    return Fraction(repr(seconds))


# ---- cron


def _matches(timing: Timing, after: datetime) -> Iterator[datetime]:
    cron, zone = parse_cron(timing.cron or ""), zone_of(timing.time_zone)
    after = after.replace(microsecond=0)
    while True:
        calm = _calm_matches(cron, zone, after)
        for at in calm:
            yield at
            after = at
        best = _next_near_a_change(timing, cron, zone, after)
        if best is None:
            return
        yield best
        after = best


def _calm_matches(cron: Cron, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Fire times as long as no change of the clock is near."""
    if zone.key == "UTC":
        for local in cron.after(after.replace(tzinfo=None)):
            yield local.replace(tzinfo=UTC)
        return
    if not _is_calm(zone, after):
        return
    for local in cron.after(after.astimezone(zone).replace(tzinfo=None)):
        at = local.replace(tzinfo=zone).astimezone(UTC)
        if not _is_calm(zone, at) or at.astimezone(zone).replace(tzinfo=None) != local:
            return
        yield at


def _is_calm(zone: ZoneInfo, at: datetime) -> bool:
    before, now, later = ((at + shift).astimezone(zone).utcoffset() for shift in (-WINDOW, timedelta(), WINDOW))
    return before == now == later


def _next_near_a_change(timing: Timing, cron: Cron, zone: ZoneInfo, after: datetime) -> datetime | None:
    best: datetime | None = None
    best_local: datetime | None = None
    start = after.astimezone(zone).replace(tzinfo=None) - WINDOW
    for local in cron.after(start):
        if best_local is not None and local > best_local + WINDOW:
            break
        later = [at for at in _instants(timing, cron, zone, local) if at > after]
        if later and (best is None or min(later) < best):
            best = min(later)
            best_local = best_local or local
    return best


def _instants(timing: Timing, cron: Cron, zone: ZoneInfo, local: datetime) -> list[datetime]:
    """When a local time is."""
    first, last = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == last:
        return [first]
    if first > last:  # a gap: before it the clock would show this time later, after it earlier
        return [_end_of_gap(zone, last, first)] if cron.is_fixed and timing.dst_gap == GAP_SHIFT else []
    if not cron.is_fixed or timing.dst_fold == FOLD_BOTH:
        return [first, last]
    return [first if timing.dst_fold == FOLD_FIRST else last]


def _end_of_gap(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first instant with the new offset, between these two."""
    old = before.astimezone(zone).utcoffset()
    while after - before > SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return after


@functools.lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The zone; raises `zoneinfo.ZoneInfoNotFoundError` or `ValueError`."""
    return ZoneInfo(name)
