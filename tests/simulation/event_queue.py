"""The event queue: simulated time, events in an order that depends on the seed alone, and the trace of what happened.

While an event runs, `pass_time` runs other events first: this is how a slow call of one process gives way to the ticks of others.
They end before it continues, as nested calls do: an event that starts within a wait lasts no longer than that wait.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable


class Violation(BaseException):
    """An invariant was violated. It is not an `Exception`, so that no role can catch it."""


class EventQueue:
    """The only clock, the only source of randomness, and the only trace."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)
        self.trace: list[tuple[float, str, str, tuple[object, ...]]] = []
        self._until = math.inf
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, what: Callable[[], object]) -> None:
        """Run this at that time, after all events that were added for the same time before."""
        heapq.heappush(self._events, (max(when, self.now), next(self._numbers), what))

    def after(self, delay_s: float, what: Callable[[], object]) -> None:
        """Run this after a delay."""
        self.at(self.now + delay_s, what)

    def pass_time(self, seconds: float) -> None:
        """Advance the clock, running all events that are due; not beyond the end of an enclosing `pass_time`."""
        until = min(self.now + seconds, self._until)
        outer_until, self._until = self._until, until
        while self._events and self._events[0][0] <= until:
            when, _, what = heapq.heappop(self._events)
            self.now = max(self.now, when)
            what()
        self.now = max(self.now, until)
        self._until = outer_until

    def between(self, least: float, most: float) -> float:
        """A random number between these."""
        return self.chance.uniform(least, most)

    def happens(self, probability: float) -> bool:
        """Whether an event of this probability happens now. At probability 0 no random number is drawn."""
        return probability > 0 and self.chance.random() < probability

    def note(self, who: str, what: str, *facts: object) -> None:
        """Add a line to the trace."""
        self.trace.append((self.now, who, what, facts))

    def format_trace(self, last: int | None = None) -> str:
        """The trace as readable text, or its last lines."""
        lines = self.trace if last is None else self.trace[-last:]
        return "\n".join(f"{at:11.6f} {who:<22} {what} {' '.join(map(str, facts))}".rstrip() for at, who, what, facts in lines)
