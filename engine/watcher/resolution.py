"""Lets a watcher bring forward the jobs that wait for others: see `workflows.resolver`, which does it.

It looks when it is told that there is something to do, and at each poll. Where several hosts share a database it also judges old
blocked jobs page by page, whatever their marks say.
"""

from __future__ import annotations

from datetime import timedelta

from jobyard.engine.logs import Log
from jobyard.engine.store.port import Store
from jobyard.engine.workflows.resolver import Resolved, Resolver
from jobyard.engine.world import World

SLICES = 20
"""In one turn; after that, this watcher sees to other things first."""
OLD = timedelta(seconds=60)
OLD_PAGE = 100


class Resolution:
    """One watcher's."""

    def __init__(self, *, world: World, store: Store, log: Log, looks_over: bool) -> None:
        """`looks_over`: old blocked jobs are judged now and then."""
        self._world = world
        self._store = store
        self._log = log
        self._looks_over = looks_over
        self._looked_over: str | None = None
        self._resolver = Resolver(store, world.now)
        self.is_due = True
        self.counts = dict.fromkeys(("jobs_unblocked", "jobs_not_run", "jobs_restored"), 0)

    def ask(self) -> None:
        """There may be something to do."""
        self.is_due = True

    def advance(self) -> bool:
        """Do a portion of what there is to do; whether jobs have become pending."""
        if not self.is_due:
            return False
        unblocked = 0
        for _ in range(SLICES):
            told = self._resolver.resolve()
            self._note(told)
            unblocked += told.unblocked
            self.is_due = told.looked_at > 0
            if not self.is_due:
                break
        return unblocked > 0

    def look_over(self) -> None:
        """Judge the next page of old blocked jobs."""
        if not self._looks_over:
            return
        page = self._store.workflows.blocked(before=self._world.now() - OLD, after=self._looked_over, limit=OLD_PAGE)
        self._looked_over = page[-1].job_id if len(page) == OLD_PAGE else None
        if page:
            self._note(self._resolver.look_over(page))

    def _note(self, told: Resolved) -> None:
        changed = {"jobs_unblocked": told.unblocked, "jobs_not_run": told.cancelled, "jobs_restored": told.restored}
        for name, count in changed.items():
            self.counts[name] += count
        if any(changed.values()):
            self._log.debug("dependencies_resolved", looked_at=told.looked_at, **changed)
