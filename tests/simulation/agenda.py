"""Simulated time: what is to happen when, in one order that follows from the seed alone; and what has happened, to be told.

While something happens, `pass_time` lets other things happen first: that is how a slow call of one process gives way to the
turns of others. They end before it goes on, as nested calls do: what begins within somebody's wait lasts no longer than that.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable


class Violation(BaseException):
    """Something happened that must not. No role may catch it, so it is no `Exception`."""


class Agenda:
    """The one clock, the one source of chance, the one list of what was done."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)
        self.trace: list[tuple[float, str, str, tuple[object, ...]]] = []
        self._until = math.inf
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, what: Callable[[], object]) -> None:
        """Do it then, after all that was asked for the same moment before."""
        heapq.heappush(self._events, (max(when, self.now), next(self._numbers), what))

    def after(self, delay_s: float, what: Callable[[], object]) -> None:
        """Do it in so many seconds."""
        self.at(self.now + delay_s, what)

    def pass_time(self, seconds: float) -> None:
        """So much time, with everything that is due in it; less, when somebody's wait in which this happens is over sooner."""
        until = min(self.now + seconds, self._until)
        outer_until, self._until = self._until, until
        while self._events and self._events[0][0] <= until:
            when, _, what = heapq.heappop(self._events)
            self.now = max(self.now, when)
            what()
        self.now = max(self.now, until)
        self._until = outer_until

    def between(self, least: float, most: float) -> float:
        """A number between these."""
        return self.chance.uniform(least, most)

    def happens(self, probability: float) -> bool:
        """Whether what has this probability happens now; a thing that cannot happen takes no chance away from others."""
        return probability > 0 and self.chance.random() < probability

    def note(self, who: str, what: str, *facts: object) -> None:
        """One line of the trace."""
        self.trace.append((self.now, who, what, facts))

    def told(self, last: int | None = None) -> str:
        """The trace as people read it, or its last lines."""
        lines = self.trace if last is None else self.trace[-last:]
        return "\n".join(f"{at:11.6f} {who:<22} {what} {' '.join(map(str, facts))}".rstrip() for at, who, what, facts in lines)
