"""What a worker measures of attempts: how late they begin, how long they run, how they end."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from jobyard.engine.jobs.job import Job
from jobyard.engine.metrics import BOUNDS_S, Histogram, count_attempt


class AttemptMetrics:
    """The measurements of one worker."""

    def __init__(self) -> None:
        self.lag = Histogram()
        self.run = Histogram()
        self.attempts: dict[str, dict[str, int]] = {}

    def note_begun(self, jobs: Iterable[Job]) -> None:
        """An attempt at each of these jobs began. Inlined, because it runs for every job."""
        lags = self.lag.counts
        lag_s = 0.0
        for job in jobs:
            if job.last_run_at is None:
                continue
            late_s = (job.last_run_at - job.scheduled_at).total_seconds()
            if late_s > 0:
                lag_s += late_s
            lags[bisect_left(BOUNDS_S, late_s)] += 1
        self.lag.sum_s += lag_s

    def note_ended(self, task: str, outcome: str, duration_ms: int) -> None:
        """An attempt at a job of this task ended with this outcome."""
        seconds = duration_ms / 1000
        self.run.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.run.sum_s += seconds
        try:
            self.attempts[task][outcome] += 1
        except KeyError:
            count_attempt(self.attempts, task, outcome, 1)
