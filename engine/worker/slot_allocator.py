"""Who may be handed how many attempts now: each slot's depth, and how much of it is free, while attempts are given out one by one.

A slot behind a job that is or may be long takes nothing: what waits there could run elsewhere. Of the shortest jobs a few go to one
slot together, because to wake a child costs more than they do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobyard.engine.worker.duration_estimates import MOST_AHEAD, DurationEstimates
from jobyard.engine.worker.slot import Attempt, Slot

LONG_S = 0.02
PARTS = 8


@dataclass(slots=True)
class SlotShare:
    """A slot with what it has and may have."""

    slot: Slot
    count: int
    depth: int


class SlotAllocator:
    """As they stand now."""

    def __init__(self, slots: Iterable[Slot], durations: DurationEstimates, *, now: float, max_jobs_per_child: int = 0) -> None:
        self._durations = durations
        self._last: SlotShare | None = None
        self._shares = [
            SlotShare(slot, len(slot.attempts), self._depth(slot, max_jobs_per_child))
            for slot in slots
            if slot.takes_work and not (slot.attempts and is_long(slot.attempts[0], now))
        ]

    def take(self, task: str) -> Slot | None:
        """A slot that can have one more of this task: the last one, for a part of what it may have; then the one with the least."""
        ahead = self._durations.ahead(task)
        last = self._last
        if last is not None and last.count < ahead // PARTS and last.count < last.depth:
            best: SlotShare | None = last
        else:
            best = None
            for seat in self._shares:
                if seat.count < ahead and seat.count < seat.depth and (best is None or seat.count < best.count):
                    best = seat
        if best is None:
            return None
        best.count += 1
        best.depth = min(best.depth, ahead)
        self._last = best
        return best.slot

    def wanted_tickets(self) -> int:
        """How many more attempts are of use: for what is free, and as many again ahead where jobs are short."""
        depths = [(seat.count, min(seat.depth, self._durations.expected())) for seat in self._shares]
        return sum(max(0, depth - count) + (depth if depth > 1 else 0) for count, depth in depths)

    def _depth(self, slot: Slot, max_jobs_per_child: int) -> int:
        depth = min((self._durations.ahead(attempt.job.task) for attempt in slot.attempts), default=MOST_AHEAD)
        return min(depth, max_jobs_per_child - slot.runs) if max_jobs_per_child else depth


def is_long(attempt: Attempt, now: float) -> bool:
    """Whether it has run for longer than others should wait behind it."""
    return attempt.started_at is not None and now - attempt.started_at > LONG_S
