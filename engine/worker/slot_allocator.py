"""Who may be handed how many attempts now: each slot's depth, and how much of it is free, while attempts are given out one by one.

A slot behind a job that is or may be long takes nothing: what waits there could run elsewhere. Of the shortest jobs a few go to one
slot together, because to wake a child costs more than they do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobyard.engine.wire.capacity import SLOT_UNITS
from jobyard.engine.worker.duration_estimates import DurationEstimates
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

    def room(self, unplaced: Iterable[str]) -> tuple[int, int]:
        """The units that are free, and those for short jobs ahead: as many again as all slots here have.

        `unplaced`: the tasks of the attempts that wait for a slot already.
        """
        free = self._spare * SLOT_UNITS
        for share in self._shares:
            if share.depth > share.count:
                taken = sum(self._durations.cost(attempt.job.task) for attempt in share.slot.attempts) if share.slot else 0
                free += max(0, SLOT_UNITS - taken)
        ahead = (self._spare + len(self._shares)) * SLOT_UNITS
        waiting = sum(map(self._durations.cost, unplaced))
        return max(0, free - waiting), max(0, ahead - max(0, waiting - free))

    def _depth(self, slot: Slot, max_jobs_per_child: int) -> int:
        if not slot.handle.has_lived:
            return 1
        depth = min((self._durations.ahead(attempt.job.task) for attempt in slot.attempts), default=SLOT_UNITS)
        return min(depth, max_jobs_per_child - slot.runs) if max_jobs_per_child else depth
