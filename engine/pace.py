"""How long jobs take, seen so far, and what follows from it: how many a worker may have at hand.

A long or unknown task gets one job a free slot. Short ones are handed to an executor several at a time, so that their cost is not
the way there and back. The estimate follows slow jobs at once and fast ones slowly.
"""

from __future__ import annotations

SHORT_S = 0.005
WORK_AHEAD_S = 0.010
MOST_AHEAD = 32
FORGET = 0.1


class Pace:
    """Durations by task."""

    def __init__(self) -> None:
        self._estimates: dict[str, float] = {}
        self._last: str | None = None

    def note(self, task: str, elapsed_s: float) -> None:
        """An execution of the task took so long."""
        before = self._estimates.get(task, elapsed_s)
        self._estimates[task] = max(elapsed_s, before + FORGET * (elapsed_s - before)) if elapsed_s > SHORT_S else (
            before + FORGET * (elapsed_s - before)
        )
        self._last = task

    def ahead(self, task: str) -> int:
        """How many jobs of the task one executor may have, the running one included."""
        estimate_s = self._estimates.get(task)
        if estimate_s is None or estimate_s > SHORT_S:
            return 1
        return max(1, min(MOST_AHEAD, int(WORK_AHEAD_S / max(estimate_s, 1e-6))))

    def expected(self) -> int:
        """The same for the next job to come, judged by the last that ended."""
        return 1 if self._last is None else self.ahead(self._last)
