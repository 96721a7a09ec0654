"""How long jobs of each task take, and what follows from it: how many an executor may have at hand.

A long or unknown task gets one job a free slot. Short ones are handed to an executor several at a time, so that their cost is not
the way there and back. The estimate follows slow jobs at once and fast ones slowly; what follows from it changes in powers of two,
so that it changes seldom.
"""

from __future__ import annotations

from jobyard.engine.wire.capacity import SLOT_UNITS

SHORT_S = 0.005
WORK_AHEAD_S = 0.010
FORGET = 0.1


class DurationEstimates:
    """Estimated durations by task."""

    def __init__(self) -> None:
        self._estimates: dict[str, float] = {}
        self._ahead: dict[str, int] = {}
        self.costs: dict[str, int] = {}
        """Units by task, replaced by a new dictionary when one changes; a task that is not in it takes a whole slot."""

    def note(self, task: str, elapsed_s: float) -> None:
        """An execution of the task took this long."""
        before = self._estimates.get(task, elapsed_s)
        follows_at_once = elapsed_s > SHORT_S and elapsed_s > before
        estimate_s = elapsed_s if follows_at_once else before + FORGET * (elapsed_s - before)
        self._estimates[task] = estimate_s
        ahead = 1 if estimate_s > SHORT_S else max(1, min(SLOT_UNITS, int(WORK_AHEAD_S / max(estimate_s, 1e-6))))
        if self._ahead.get(task, 1) != (ahead := 1 << ahead.bit_length() - 1):
            self.costs = self.costs | {task: SLOT_UNITS // ahead}
        self._ahead[task] = ahead

    def ahead(self, task: str) -> int:
        """How many jobs of the task one executor may have, the running one included."""
        return self._ahead.get(task, 1)

    def is_known_long(self, task: str) -> bool:
        """Whether jobs of the task have ended before, and were not short."""
        return self._ahead.get(task, SLOT_UNITS) == 1

    def cost(self, task: str) -> int:
        """The units that one job of the task takes; see `wire.capacity`."""
        return self.costs.get(task, SLOT_UNITS)
