"""Removes ended jobs that are older than the retention time of their status.

Nothing is removed while the wall clock looks wrong: a step of years must not empty the database.
"""

from __future__ import annotations

from datetime import timedelta

from jobyard.engine.config import Settings
from jobyard.engine.jobs.job import Status
from jobyard.engine.logs import Log
from jobyard.engine.store.port import Store
from jobyard.engine.world import World

PURGE_EVERY_S = 60.0
PURGE_BATCH = 200
PURGE_BATCHES = 10
CLOCK_STEP_S = 300.0
CLOCK_TRUSTED_AFTER_S = 3600.0


class Retention:
    """One watcher's retention."""

    def __init__(self, *, settings: Settings, world: World, store: Store, log: Log) -> None:
        self._settings = settings
        self._world = world
        self._store = store
        self._log = log
        kept = ((settings.retention_s, (Status.COMPLETED, Status.CANCELLED)), (settings.retention_failed_s, (Status.FAILED,)))
        self._kept = [(seconds, statuses) for seconds, statuses in kept if seconds]
        """How long jobs of which statuses are kept, of those that are not kept forever."""
        self._purge_every_s = min([PURGE_EVERY_S, *(seconds / 10 for seconds, _ in self._kept)])
        self._purge_at = world.monotonic() + world.jitter(self._purge_every_s)
        self._clock = WallClock(world)

    def purge(self) -> int:
        """Remove ended jobs older than their retention time, in a few small batches; returns how many."""
        if not self._kept or self._world.monotonic() < self._purge_at:
            return 0
        if not self._clock.is_trusted():
            self._log.warning("purge_postponed", reason="the wall clock was changed by more than five minutes within the last hour")
            self._purge_at = self._world.monotonic() + self._purge_every_s
            return 0
        purged, is_more = 0, False
        for seconds, statuses in self._kept:
            before = self._world.now() - timedelta(seconds=seconds)
            batches = [self._store.purge(before=before, limit=PURGE_BATCH, statuses=statuses)]
            while batches[-1] == PURGE_BATCH and len(batches) < PURGE_BATCHES:
                batches.append(self._store.purge(before=before, limit=PURGE_BATCH, statuses=statuses))
            purged += sum(batches)
            is_more = is_more or batches[-1] == PURGE_BATCH
        if not is_more:
            self._purge_at = self._world.monotonic() + self._purge_every_s + self._world.jitter(self._purge_every_s)
        return purged


class WallClock:
    """Checks that the wall clock has advanced like the monotonic clock for the last hour."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._offset_s = self._now_offset()
        self._stepped_at: float | None = None

    def is_trusted(self) -> bool:
        """False for an hour after a step of more than five minutes."""
        offset_s = self._now_offset()
        if abs(offset_s - self._offset_s) > CLOCK_STEP_S:
            self._stepped_at = self._world.monotonic()
            self._offset_s = offset_s
        return self._stepped_at is None or self._world.monotonic() - self._stepped_at > CLOCK_TRUSTED_AFTER_S

    def _now_offset(self) -> float:
        return self._world.now().timestamp() - self._world.monotonic()
