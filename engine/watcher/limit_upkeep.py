"""Keeps limits in order: stores those that task modules declare, gives pending jobs their lanes, and wakes forgotten lanes.

Nothing depends on it for safety: a job does not begin before it has its lane.
"""

from __future__ import annotations

from jobyard.engine.errors import Rejected, Unavailable
from jobyard.engine.limits.definition import check_name, parse
from jobyard.engine.limits.limit import CODE
from jobyard.engine.logs import Log
from jobyard.engine.store.declare_limit import declare_limit
from jobyard.engine.store.port import Store
from jobyard.engine.tasks.schedule_catalog import ScheduleCatalog
from jobyard.engine.world import World

LANES_AT_ONCE = 1_000
"""Jobs per commit; so many delay other processes' commits by some milliseconds."""
TIDIED_AT_ONCE = 500


class LimitUpkeep:
    """One watcher's."""

    def __init__(self, *, world: World, store: Store, log: Log, declared: ScheduleCatalog | None = None) -> None:
        """`declared`: what task modules declare."""
        self._world = world
        self._store = store
        self._log = log
        self._declared = declared
        self._is_more = True

    def look(self) -> None:
        """Somebody may have made or deleted a limit; now and then, wake what an event has missed."""
        self._is_more = True
        self._declare()

    def tidy(self) -> None:
        """At each poll."""
        self.look()
        self._store.limits.tidy(now=self._world.now(), limit=TIDIED_AT_ONCE)

    def keep_up(self) -> bool:
        """Give a slice of the pending jobs their lanes; whether there are more."""
        if self._is_more:
            self._is_more = self._store.limits.relane(now=self._world.now(), limit=LANES_AT_ONCE)
        return self._is_more

    def _declare(self) -> None:
        bodies = None if self._declared is None else self._declared.news()
        if self._declared is None or not bodies:
            return
        try:
            for name, body in bodies.items():
                try:
                    numbers = parse(body)
                    after, before = declare_limit(self._store.limits, check_name(name), numbers, origin=CODE)
                except Rejected as wrong:
                    self._log.warning("limit_not_declared", limit=name, reason=wrong.message)
                else:
                    if after is not before:
                        self._log.info("limit_declared", limit=name)
        except Unavailable:
            self._declared.again()
            raise
