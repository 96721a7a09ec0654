"""THE rules of limits: what a job is under, and whether it may begin now. Pure; times come in as arguments.

A *part* is a limit, or one partition of it: `stripe`, `customer/7`, `queue:mail`. Numbers hold for each part. A job's *lane* is the
text of the parts that it is under; jobs of one lane have the same obstacles, so only the first of them needs to be looked at. While
a job runs it has a *slot* in each of its parts. A job that no limit applies to has no lane.

The parts of a schedule whose jobs run one at a time (`schedule:NAME`) are limits without a row, of which a job keeps its slot until
it has ended, waits for retries included.

Rates are GCRA: a part has one number, `tat`, the time at which its next token would be due if tokens were taken one by one.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import NamedTuple

from jobyard.engine.jobs.job import Job
from jobyard.engine.limits.limit import Limit, Numbers, hold_of, pause_of

EVERYTHING, QUEUE, TASK, SCHEDULE = "*", "queue:", "task:", "schedule:"
IMPLICIT = (QUEUE, TASK, EVERYTHING)
"""How the names of limits begin that apply by themselves."""
ONE_AT_A_TIME = Numbers(max_running=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Code(StrEnum):
    """What stands against a begin."""

    PAUSED = "paused"
    HELD = "held"
    FULL = "limit_full"
    RATE = "rate_limited"


class Obstacle(NamedTuple):
    """What stands against the begin of a job: in which part, and until when if only time does."""

    code: Code
    part: str
    limit: str
    until: datetime | None = None

    @property
    def blocked_on(self) -> str:
        """What a lane waits for: a part; or the limit as a whole, for a pause or a hold."""
        return self.part if self.code in (Code.FULL, Code.RATE) else f"={self.limit}"


class PartState(NamedTuple):
    """What a part has in use. `tat`: microseconds since 1970, 0 if none was ever taken; `hold_until`: of this part alone."""

    running: int = 0
    tat: int = 0
    hold_until: datetime | None = None


# ---- names


def limit_of(part: str) -> str:
    """The name of a part's limit."""
    name, slash, _ = part.partition("/")
    return part if not slash or ":" in name else name


def partition_of(part: str) -> str | None:
    """The part's partition; None if it is the limit as a whole."""
    name = limit_of(part)
    return None if name == part else part[len(name) + 1 :]


def is_implicit(name: str) -> bool:
    """Whether the limit applies by itself."""
    return name == EVERYTHING or name.startswith((QUEUE, TASK))


def is_kept(part: str) -> bool:
    """Whether a job keeps its slot in this part until it has ended."""
    return part.startswith(SCHEDULE)


def lane_of(parts: Iterable[str]) -> str | None:
    """The lane of a job under these parts."""
    listed = sorted(set(parts))
    return json.dumps(listed, ensure_ascii=False, separators=(",", ":")) if listed else None


@functools.lru_cache(maxsize=65_536)
def parts_of(lane: str) -> tuple[str, ...]:
    """The parts of a lane, sorted."""
    return tuple(json.loads(lane))


def lane_for(job: Job, implicit: Collection[str]) -> str | None:
    """The lane that the job should have; `implicit`: the names of the limits that there are and that apply by themselves."""
    return lane_from(job.limit, job.lane, queue=job.queue, task=job.task, implicit=implicit)


def lane_from(named: Iterable[str] | None, lane: str | None, *, queue: str, task: str, implicit: Collection[str]) -> str | None:
    """See `lane_for`. Limits that a job names stay in its lane when there is no such limit, and bind again when there is."""
    kept = [] if lane is None else [part for part in parts_of(lane) if is_kept(part)]
    if not (named or kept or implicit):
        return None
    by_itself = [name for name in (QUEUE + queue, TASK + task, EVERYTHING) if name in implicit]
    return lane_of([*(named or ()), *kept, *by_itself])


# ---- may it begin


def obstacle(
    parts: Iterable[str], *, limits: Mapping[str, Limit], state: Callable[[str], PartState], now: datetime
) -> Obstacle | None:  # fmt: skip
    """What stands against a begin now; of several, one that time alone does not remove, else the one that lasts longest."""
    longest: Obstacle | None = None
    for part in parts:
        found = _in_part(part, limits, state, now)
        if found is None:
            continue
        if found.until is None:
            return found
        if longest is None or longest.until is None or found.until > longest.until:
            longest = found
    return longest


def _in_part(
    part: str, limits: Mapping[str, Limit], state: Callable[[str], PartState], now: datetime
) -> Obstacle | None:  # fmt: skip
    name = limit_of(part)
    limit = limits.get(name)
    if limit is None and not is_kept(part):
        return None
    numbers = ONE_AT_A_TIME if limit is None else limit.numbers
    if limit is not None and (paused := pause_of(limit, now)) is not None:
        return Obstacle(Code.PAUSED, part, name, paused.until)
    held = None if limit is None else hold_of(limit, now)
    if held is not None:
        return Obstacle(Code.HELD, part, name, held)
    found = state(part)
    if found.hold_until is not None and found.hold_until > now:
        return Obstacle(Code.HELD, part, name, found.hold_until)
    if numbers.max_running is not None and found.running >= numbers.max_running:
        return Obstacle(Code.FULL, part, name)
    if numbers.count is not None and (next_us := next_token(numbers, found.tat, micros(now))) > micros(now):
        return Obstacle(Code.RATE, part, name, from_micros(next_us))
    return None


# ---- rates


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def from_micros(at: int) -> datetime:
    """The time, rounded up to a millisecond, so that nothing begins too early."""
    return _EPOCH + timedelta(milliseconds=-(-at // 1000))


def interval(numbers: Numbers) -> int:
    """Microseconds between two tokens, rounded up; 0 without a rate."""
    if numbers.count is None or numbers.per_s is None:
        return 0
    return ceil(round(numbers.per_s * 1_000_000 / numbers.count, 6))


def clamped(numbers: Numbers, tat: int, now: int) -> int:
    """The `tat` as it must be stored if it is later than can be, since the clock was set back or the rate was changed."""
    return min(tat, now + numbers.burst * interval(numbers))


def next_token(numbers: Numbers, tat: int, now: int) -> int:
    """When the next job may begin, in microseconds; at most `now` if it may."""
    return clamped(numbers, tat, now) - (numbers.burst - 1) * interval(numbers)


def take_token(numbers: Numbers, tat: int, now: int) -> int:
    """The `tat` after a job has begun."""
    return max(clamped(numbers, tat, now), now) + interval(numbers)
