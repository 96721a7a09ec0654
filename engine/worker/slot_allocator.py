"""Who may be handed how many attempts now: each slot's depth, and how much of it is free, while attempts are given out one by one.

A slot behind a job that is or may be long takes nothing: what waits there could run elsewhere. Of the shortest jobs a few go to one
slot together, because to wake a child costs more than they do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobyard.engine.worker.duration_estimates import MOST_AHEAD, DurationEstimates
from jobyard.engine.worker.slot import Slot

PARTS = 8


@dataclass(slots=True)
class SlotShare:
    """A slot with what it has and may have. `slot`: None as long as no executor was forked for it."""

    slot: Slot | None
    count: int
    depth: int


class SlotAllocator:
    """As they stand now."""

    def __init__(
        self, slots: Iterable[Slot], durations: DurationEstimates, *, now: float, max_jobs_per_child: int = 0, spare: int = 0
    ) -> None:
        """`spare`: how many more executors may be forked for what finds no place in those that are there.

        One that does not live yet gets one job: nobody knows when it will.
        """
        self._durations = durations
        self._spare = spare
        self._last: SlotShare | None = None
        self._shares = [
            SlotShare(slot, len(slot.attempts), self._depth(slot, max_jobs_per_child))
            for slot in slots
            if slot.takes_work and not slot.is_behind_long(now)
        ]

    def take(self, task: str) -> SlotShare | None:
        """A share with room for one more of this task: the last one, for a part of what it may have; then the one with the least;
        then a new one, whose slot is the caller's to make."""
        ahead = self._durations.ahead(task)
        last = self._last
        if last is not None and last.count < ahead // PARTS and last.count < last.depth:
            best: SlotShare | None = last
        else:
            best = None
            for share in self._shares:
                if share.count < ahead and share.count < share.depth and (best is None or share.count < best.count):
                    best = share
        if best is None:
            if not self._spare:
                return None
            self._spare -= 1
            best = SlotShare(None, 0, 1)
            self._shares.append(best)
        best.count += 1
        best.depth = min(best.depth, ahead)
        self._last = best
        return best

    def wanted_tickets(self) -> int:
        """How many more attempts are of use: for what is free, and as many again ahead where jobs are short."""
        expected = self._durations.expected()
        depths = [(share.count, min(share.depth, expected)) for share in self._shares]
        depths += [(0, min(MOST_AHEAD, expected))] * self._spare
        return sum(max(0, depth - count) + (depth if depth > 1 else 0) for count, depth in depths)

    def _depth(self, slot: Slot, max_jobs_per_child: int) -> int:
        if not slot.handle.has_lived:
            return 1
        depth = min((self._durations.ahead(attempt.job.task) for attempt in slot.attempts), default=MOST_AHEAD)
        return min(depth, max_jobs_per_child - slot.runs) if max_jobs_per_child else depth
