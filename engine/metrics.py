"""The counters and duration histograms of one component, as totals and for each of the last sixty minutes.

Recording a duration takes one bisection. A minute costs nothing until it ends; its counts are then the difference between the
totals at its end and at its beginning. Minutes follow the monotonic clock, which all processes of a host share, so a step of the
wall clock never moves, duplicates or drops one. Everything is kept in memory and starts from zero when the process restarts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from jobyard.engine.world import World

BOUNDS_S = tuple(float(f"{step}e{power}") for power in range(-4, 5) for step in ("1", "1.6", "2.5", "4", "6.3")) + (1e5,)
"""From 0.1 ms to a day, five bounds per decade, so a percentile read from them is within 25 % of the true value."""

MINUTE_S = 60
MINUTES = 60
MOST_TASKS = 100
OTHER = "other"


class Histogram(msgspec.Struct, kw_only=True):
    """A histogram of durations: one count per upper bound, and one for durations beyond the last bound."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def note(self, seconds: float) -> None:
        """Record one duration. A negative one, which a clock that was set back can produce, counts as zero."""
        if seconds < 0:
            seconds = 0.0
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    @property
    def count(self) -> int:
        """The number of recorded durations."""
        return sum(self.counts)

    def since(self, before: Histogram) -> Histogram:
        """What was recorded after the snapshot `before`."""
        counts = [now - then for now, then in zip(self.counts, before.counts, strict=True)]
        return Histogram(counts=counts, sum_s=self.sum_s - before.sum_s)

    def percentile(self, percent: float) -> float | None:
        """The given percentile in seconds, interpolated linearly within its bucket; None when nothing was recorded."""
        wanted = percent / 100 * self.count
        if not wanted:
            return None
        passed = 0
        for number, count in enumerate(self.counts):
            if count and passed + count >= wanted:
                low = BOUNDS_S[number - 1] if number else 0.0
                high = BOUNDS_S[min(number, len(BOUNDS_S) - 1)]
                return low + (high - low) * (wanted - passed) / count
            passed += count
        return BOUNDS_S[-1]


def together(histograms: Iterable[Histogram]) -> Histogram:
    """The sum of all the histograms."""
    listed = list(histograms)
    if not listed:
        return Histogram()
    counts = [sum(column) for column in zip(*(histogram.counts for histogram in listed), strict=True)]
    return Histogram(counts=counts, sum_s=sum(histogram.sum_s for histogram in listed))


class Totals(msgspec.Struct, kw_only=True):
    """Counters and histograms since the process started, by name."""

    counts: dict[str, int] = {}
    histograms: dict[str, Histogram] = {}

    def since(self, before: Totals) -> Totals:
        """What was counted after the snapshot `before`."""
        return Totals(
            counts={name: count - before.counts[name] for name, count in self.counts.items()},
            histograms={name: histogram.since(before.histograms[name]) for name, histogram in self.histograms.items()},
        )

    def copy(self) -> Totals:
        """A snapshot of the current totals."""
        histograms = {
            name: Histogram(counts=[*histogram.counts], sum_s=histogram.sum_s) for name, histogram in self.histograms.items()
        }
        return Totals(counts={**self.counts}, histograms=histograms)

    @property
    def is_nothing(self) -> bool:
        """Whether nothing was counted."""
        return not any(self.counts.values()) and not any(histogram.count for histogram in self.histograms.values())


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted in one minute; `number` is that minute of the host's monotonic clock."""

    number: int
    totals: Totals


class ComponentCounters(msgspec.Struct, kw_only=True):
    """Everything that a component counts and reports about itself, as the control process serves it.

    Ongoing activities are reported by their start, in monotonic seconds, which all processes of a host share; so the counters
    change only when something happens. `stats`: what `/stats` shows; `depth`: waiting tickets in the queue, by priority 0 to 9;
    `minute`: the current minute; `minutes`: the completed ones. `in_passing`: those of `stats` that change with time alone; they
    are published together with other changes, and otherwise every few seconds. `http_workers`: those that asked for jobs last.
    """

    started_at: float
    stats: dict[str, Any]
    counts: dict[str, int] = {}
    histograms: dict[str, Histogram] = {}
    attempts: dict[str, dict[str, int]] = {}
    depth: list[int] = []
    minute: Minute | None = None
    minutes: list[Minute] = []
    in_passing: tuple[str, ...] = ()
    http_workers: list[dict[str, Any]] = []


class Minutes:
    """The last sixty minutes of one process; minutes in which nothing was counted are omitted."""

    def __init__(self, world: World, read: Callable[[], Totals]) -> None:
        """`read` returns the current totals."""
        self._world = world
        self._read = read
        self._number = minute_of(world)
        self._before = read().copy()
        self._over: deque[Minute] = deque()

    def turn(self) -> None:
        """Start a new minute if one has begun. Must be called before anything is counted."""
        number = minute_of(self._world)
        if number == self._number:
            return
        counted = self._read().since(self._before)
        if not counted.is_nothing:
            self._over.append(Minute(number=self._number, totals=counted))
        self._before = self._read().copy()
        self._number = number
        while self._over and self._over[0].number <= number - MINUTES:
            self._over.popleft()

    def over(self) -> list[Minute]:
        """The completed minutes, oldest first."""
        self.turn()
        return [*self._over]

    def under_way(self) -> Minute | None:
        """The current minute; None if nothing was counted in it."""
        self.turn()
        totals = self._read().since(self._before)
        return None if totals.is_nothing else Minute(number=self._number, totals=totals)


def minute_of(world: World) -> int:
    """The current minute of the monotonic clock."""
    return int(world.monotonic() // MINUTE_S)


def count_attempt(attempts: dict[str, dict[str, int]], task: str, outcome: str, count: int) -> None:
    """Add to the task's count; tasks beyond the first hundred are counted together as `other`."""
    of_task = attempts.get(task)
    if of_task is None:
        of_task = attempts.setdefault(task if len(attempts) < MOST_TASKS else OTHER, {})
    of_task[outcome] = of_task.get(outcome, 0) + count


def all_attempts(told: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """The sum over several components, by task and outcome. Tasks are added by name, so the same ones are always left out."""
    listed = [(task, outcome, count) for by_task in told for task, by in by_task.items() for outcome, count in by.items()]
    attempts: dict[str, dict[str, int]] = {}
    for task, outcome, count in sorted(listed, key=lambda one: (one[0] == OTHER, one)):
        count_attempt(attempts, task, outcome, count)
    return attempts
