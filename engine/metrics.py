"""What a component counts about time: spreads over fixed bounds, and what of it fell into each of the last sixty minutes.

A spread is noted with one bisection, a minute costs nothing until it is over: then what was counted in it is the difference
between the totals of now and of its beginning. Minutes are those of the monotonic clock, which all processes of a host share; so
no step of the wall clock moves, doubles or loses one. All of it lives in memory and begins anew with its process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from jobyard.engine.world import World

BOUNDS_S = tuple(float(f"{step}e{power}") for power in range(-4, 5) for step in ("1", "1.6", "2.5", "4", "6.3")) + (1e5,)
"""From a tenth of a millisecond to a day, five to a decade: a percentile read from them is within a quarter of the true one."""

MINUTE_S = 60
MINUTES = 60
MOST_TASKS = 100
OTHER = "other"


class Histogram(msgspec.Struct, kw_only=True):
    """How many of what was measured were at most how long: a count for each bound, and one for what is beyond them all."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def note(self, seconds: float) -> None:
        """One more. Less than nothing, as a clock that was set back makes it, is nothing."""
        if seconds < 0:
            seconds = 0.0
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    @property
    def count(self) -> int:
        """How many in all."""
        return sum(self.counts)

    def since(self, before: Histogram) -> Histogram:
        """What was noted after it was like that."""
        counts = [now - then for now, then in zip(self.counts, before.counts, strict=True)]
        return Histogram(counts=counts, sum_s=self.sum_s - before.sum_s)

    def percentile(self, percent: float) -> float | None:
        """So many percent were at most so many seconds; within its bounds it is taken to be even. None when there are none."""
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
    """All of them as one."""
    listed = list(histograms)
    if not listed:
        return Histogram()
    counts = [sum(column) for column in zip(*(histogram.counts for histogram in listed), strict=True)]
    return Histogram(counts=counts, sum_s=sum(histogram.sum_s for histogram in listed))


class Totals(msgspec.Struct, kw_only=True):
    """What was counted so far, by name."""

    counts: dict[str, int] = {}
    histograms: dict[str, Histogram] = {}

    def since(self, before: Totals) -> Totals:
        """What was counted after it was like that."""
        return Totals(
            counts={name: count - before.counts[name] for name, count in self.counts.items()},
            histograms={name: histogram.since(before.histograms[name]) for name, histogram in self.histograms.items()},
        )

    def copy(self) -> Totals:
        """As it is now."""
        histograms = {
            name: Histogram(counts=[*histogram.counts], sum_s=histogram.sum_s) for name, histogram in self.histograms.items()
        }
        return Totals(counts={**self.counts}, histograms=histograms)

    @property
    def is_nothing(self) -> bool:
        """Whether nothing was counted."""
        return not any(self.counts.values()) and not any(histogram.count for histogram in self.histograms.values())


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted in one minute; `number` is that of the host's monotonic clock."""

    number: int
    totals: Totals


class ComponentCounters(msgspec.Struct, kw_only=True):
    """All that a component counts and says of itself, as control shows it to whoever asks.

    What goes on is told by when it began, in monotonic seconds, which all processes of a host share: so it changes only when
    something happened. `stats`: what `/stats` shows; `depth`: tickets that wait in the queue, by priority 0 to 9; `minute`: the
    one under way; `minutes`: those that are over. `in_passing`: those of `stats` that time alone changes: told with what else does,
    and else every few seconds.
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


class Minutes:
    """The last sixty, of one process; those without anything are left out."""

    def __init__(self, world: World, read: Callable[[], Totals]) -> None:
        """`read`: the totals as they stand."""
        self._world = world
        self._read = read
        self._number = minute_of(world)
        self._before = read().copy()
        self._over: deque[Minute] = deque()

    def turn(self) -> None:
        """To be called before anything is counted: see whether another minute has begun."""
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
        """Those that are over, oldest first."""
        self.turn()
        return [*self._over]

    def under_way(self) -> Minute | None:
        """The one that is not over yet, unless nothing was counted in it."""
        self.turn()
        totals = self._read().since(self._before)
        return None if totals.is_nothing else Minute(number=self._number, totals=totals)


def minute_of(world: World) -> int:
    """The minute of the monotonic clock in which we are."""
    return int(world.monotonic() // MINUTE_S)


def count_attempt(attempts: dict[str, dict[str, int]], task: str, outcome: str, count: int) -> None:
    """So many more, for the task or, past the hundredth task, for all others."""
    of_task = attempts.get(task)
    if of_task is None:
        of_task = attempts.setdefault(task if len(attempts) < MOST_TASKS else OTHER, {})
    of_task[outcome] = of_task.get(outcome, 0) + count


def all_attempts(told: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Of several components, by task and outcome; the tasks come by name, so that it is the same ones that are left out."""
    listed = [(task, outcome, count) for by_task in told for task, by in by_task.items() for outcome, count in by.items()]
    attempts: dict[str, dict[str, int]] = {}
    for task, outcome, count in sorted(listed, key=lambda one: (one[0] == OTHER, one)):
        count_attempt(attempts, task, outcome, count)
    return attempts
