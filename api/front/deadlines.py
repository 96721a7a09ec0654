"""When the waits of clients end."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """A wait. `deadline`: in monotonic seconds."""

    deadline: float
    is_waiting: bool


W = TypeVar("W", bound=Waiting)


class Deadlines(Generic[W]):
    """The deadlines of waits, earliest first. Those of waits that ended before their time stay until there are too many of them."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, W]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """How many entries there are, those of ended waits included."""
        return len(self._heap)

    def add(self, waiter: W) -> None:
        """One more wait."""
        heapq.heappush(self._heap, (waiter.deadline, next(self._numbers), waiter))

    def note_end(self, waiting: int) -> None:
        """A wait has ended; so many go on."""
        if len(self._heap) > 2 * waiting + 100:
            self._heap = [entry for entry in self._heap if entry[2].is_waiting]
            heapq.heapify(self._heap)

    def pop_due(self, now: float) -> Iterator[W]:
        """The waits whose time is up."""
        while self._heap and self._heap[0][0] <= now:
            waiter = heapq.heappop(self._heap)[2]
            if waiter.is_waiting:
                yield waiter

    def next_at(self) -> float:
        """No wait ends by itself before this."""
        return self._heap[0][0] if self._heap else float("inf")
