"""How many attempts each slot can take now, while they are given out one by one.

A slot whose job is or may be long takes nothing more: what waits there could run elsewhere. A few of the shortest jobs go to one
slot together, because waking an executor costs more than they do. They also get no more slots than there are cores: more executors
would only take turns, and memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from jobyard.engine.wire.capacity import SLOT_UNITS
from jobyard.engine.worker.duration_estimates import DurationEstimates
from jobyard.engine.worker.slot import Slot

PARTS = 8
CORES = len(os.sched_getaffinity(0))


@dataclass(slots=True)
class SlotShare:
    """A slot, how many attempts it has, and how many it may have. `slot`: None if no executor has been forked for it yet.

    `is_held`: by a job that is or may be long.
    """

    slot: Slot | None
    count: int
    depth: int
    is_held: bool = False


class SlotAllocator:
    """A snapshot of all slots."""

    def __init__(
        self, slots: Iterable[Slot], durations: DurationEstimates, *, now: float, max_jobs_per_child: int = 0, spare: int = 0,
        cores: int = CORES,
    ) -> None:  # fmt: skip
        """`spare`: how many more executors may be forked for attempts that find no place in the existing ones.

        An executor that does not run yet gets one job, since it is not known when it will.
        """
        self._durations = durations
        self._spare = spare
        self._cores = cores
        self._last: SlotShare | None = None
        self._shares = [
            SlotShare(slot, len(slot.attempts), self._depth(slot, max_jobs_per_child), self._is_held(slot))
            for slot in slots
            if slot.takes_work and not slot.is_behind_long(now)
        ]
        self._few: list[SlotShare] | None = None
        """Those for the shortest jobs; None when they must be found anew."""
        self._without_room: set[str] = set()
        """The tasks of which no further attempt finds room: many may wait."""

    def take(self, task: str) -> SlotShare | None:
        """The share for one more attempt at this task: the last one, for a part of what it may have; else the one with the fewest
        attempts; else a new one, for which the caller forks the executor. None if there is no room."""
        if task in self._without_room:
            return None
        ahead = self._durations.ahead(task)
        last = self._last
        if last is not None and last.count < ahead // PARTS and last.count < last.depth:
            best: SlotShare | None = last
        else:
            best = None
            for share in self._shares_for(ahead):
                if share.count < ahead and share.count < share.depth and (best is None or share.count < best.count):
                    best = share
        if best is None:
            if not self._spare or self._has_all_cores(ahead):
                self._without_room.add(task)
                return None
            self._spare -= 1
            best = SlotShare(None, 0, 1)
            self._shares.append(best)
            self._few = None
        best.count += 1
        best.depth = min(best.depth, ahead)
        if ahead == 1 and not best.is_held:
            best.is_held, self._few = True, None
        self._last = best
        return best

    def _shares_for(self, ahead: int) -> list[SlotShare]:
        """The slots for jobs of which one slot may have so many."""
        if ahead < SLOT_UNITS:
            return self._shares
        if self._few is None:
            self._few = [share for share in self._shares if not share.is_held][: self._cores]
        return self._few

    def _has_all_cores(self, ahead: int) -> bool:
        return ahead >= SLOT_UNITS and len(self._shares_for(ahead)) >= self._cores

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

    def _is_held(self, slot: Slot) -> bool:
        return any(self._durations.ahead(attempt.job.task) == 1 for attempt in slot.attempts)

    def _depth(self, slot: Slot, max_jobs_per_child: int) -> int:
        if not slot.handle.has_lived:
            return 1
        depth = min((self._durations.ahead(attempt.job.task) for attempt in slot.attempts), default=SLOT_UNITS)
        return min(depth, max_jobs_per_child - slot.runs) if max_jobs_per_child else depth
