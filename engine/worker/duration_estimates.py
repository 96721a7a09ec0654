"""How long jobs take, seen so far, and what follows from it: how many a worker may have at hand.

A long or unknown task gets one job a free slot. Short ones are handed to an executor several at a time, so that their cost is not
the way there and back. The estimate follows slow jobs at once and fast ones slowly.
"""

from __future__ import annotations

SHORT_S = 0.005
WORK_AHEAD_S = 0.010
MOST_AHEAD = 32
FORGET = 0.1


class DurationEstimates:
    """Durations by task."""

    def __init__(self) -> None:
        self._estimates: dict[str, float] = {}
        self._ahead: dict[str, int] = {}
        self._last = ""

    def note(self, task: str, elapsed_s: float) -> None:
        """An execution of the task took so long."""
        before = self._estimates.get(task, elapsed_s)
        follows_at_once = elapsed_s > SHORT_S and elapsed_s > before
        estimate_s = elapsed_s if follows_at_once else before + FORGET * (elapsed_s - before)
        self._estimates[task] = estimate_s
        self._ahead[task] = 1 if estimate_s > SHORT_S else max(1, min(MOST_AHEAD, int(WORK_AHEAD_S / max(estimate_s, 1e-6))))
        self._last = task

    def ahead(self, task: str) -> int:
        """How many jobs of the task one executor may have, the running one included."""
        return self._ahead.get(task, 1)

    def is_known_long(self, task: str) -> bool:
        """Whether jobs of the task were seen, and were not short."""
        return self._ahead.get(task, MOST_AHEAD) == 1

    def expected(self) -> int:
        """The same for the next job to come, judged by the last that ended."""
        return self.ahead(self._last)
