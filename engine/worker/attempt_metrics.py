"""What a worker measures of attempts: how late they begin, how long they were queued, how long they run, how they end."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from jobyard.engine.jobs.job import Job
from jobyard.engine.metrics import BOUNDS_S, Histogram, count_attempt


class AttemptMetrics:
    """Of one worker."""

    def __init__(self) -> None:
        self.lag = Histogram()
        self.wait = Histogram()
        self.run = Histogram()
        self.attempts: dict[str, dict[str, int]] = {}

    def note_begun(self, jobs: Iterable[Job]) -> None:
        """An attempt at each of these began. Written out, because it is done for every job."""
        lags, waits = self.lag.counts, self.wait.counts
        lag_s = wait_s = 0.0
        for job in jobs:
            begun_at, queued_at = job.last_run_at, job.queued_at
            if begun_at is None or queued_at is None:
                continue
            late_s, waited_s = (begun_at - job.scheduled_at).total_seconds(), (begun_at - queued_at).total_seconds()
            if late_s > 0:
                lag_s += late_s
            if waited_s > 0:
                wait_s += waited_s
            lags[bisect_left(BOUNDS_S, late_s)] += 1
            waits[bisect_left(BOUNDS_S, waited_s)] += 1
        self.lag.sum_s += lag_s
        self.wait.sum_s += wait_s

    def note_ended(self, task: str, outcome: str, duration_ms: int) -> None:
        """An attempt at a job of this task ended so."""
        seconds = duration_ms / 1000
        self.run.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.run.sum_s += seconds
        try:
            self.attempts[task][outcome] += 1
        except KeyError:
            count_attempt(self.attempts, task, outcome, 1)
