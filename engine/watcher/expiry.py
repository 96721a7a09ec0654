"""Cancels jobs whose time was up before they began (`expires_s`), wherever they wait.

Nothing depends on it for safety: a job that has expired does not begin. This makes its end known in time.
"""

from __future__ import annotations

from datetime import datetime

from jobyard.engine.jobs import lifecycle
from jobyard.engine.logs import Log
from jobyard.engine.store.port import Store
from jobyard.engine.world import World

SLICE = 500
SLICES = 20


class Expiry:
    """One watcher's."""

    def __init__(self, *, world: World, store: Store, log: Log) -> None:
        self._world = world
        self._store = store
        self._log = log
        self.jobs_expired = 0

    def cancel_expired(self) -> int:
        """Cancel what has expired, in slices, so that nobody waits long for its commits; returns how many."""
        cancelled = 0
        for _ in range(SLICES):
            now = self._world.now()
            jobs = self._store.expired(now=now, limit=SLICE)
            done = self._store.apply([lifecycle.expire(job, now=now) for job in jobs if lifecycle.may(job, lifecycle.Verb.CANCEL)])
            cancelled += sum(done)
            if len(jobs) < SLICE or not any(done):
                break
        self.jobs_expired += cancelled
        if cancelled:
            self._log.info("jobs_expired", jobs=cancelled)
        return cancelled

    def wait_s(self) -> float | None:
        """Seconds until the next job expires; None when none will. One that has expired by now is a matter for the next poll."""
        next_at: datetime | None = self._store.next_expiry()
        until_s = None if next_at is None else (next_at - self._world.now()).total_seconds()
        return until_s if until_s is not None and until_s > 0 else None
