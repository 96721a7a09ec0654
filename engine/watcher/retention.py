"""Removes finished jobs that are older than the retention time.

Nothing is removed while the wall clock looks wrong: a step of years must not empty the database.
"""

from __future__ import annotations

from datetime import timedelta

from jobyard.engine.config import Settings
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
        self._purge_every_s = min(PURGE_EVERY_S, settings.retention_s / 10)
        self._purge_at = world.monotonic() + world.jitter(self._purge_every_s)
        self._clock = WallClock(world)

    def purge(self) -> int:
        """Remove finished jobs older than the retention time, in a few small batches; returns how many."""
        if not self._settings.retention_s or self._world.monotonic() < self._purge_at:
            return 0
        if not self._clock.is_trusted():
            self._log.warning("purge_postponed", reason="the wall clock was changed by more than five minutes within the last hour")
            self._purge_at = self._world.monotonic() + self._purge_every_s
            return 0
        before = self._world.now() - timedelta(seconds=self._settings.retention_s)
        purged = 0
        for _ in range(PURGE_BATCHES):
            batch = self._store.purge(before=before, limit=PURGE_BATCH)
            purged += batch
            if batch < PURGE_BATCH:
                self._purge_at = self._world.monotonic() + self._purge_every_s + self._world.jitter(self._purge_every_s)
                break
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
