"""Claims without a watcher: allocations that are as simple as a test needs, and a claim with good defaults."""

from __future__ import annotations

from datetime import datetime

from jobyard.engine.jobs.job import Job
from jobyard.engine.store.port import ANYTHING, Candidate, Served, Store
from tests.support.world import START

WATCHER, WORKER = "box:b00t:watcher-9001:1", "box:b00t:worker-7001:1"


class AllAt:
    """Everything begins at one worker, up to a number of jobs; jobs of the tasks `skipped` begin nowhere."""

    def __init__(self, worker: str = WORKER, *, most: int = 1000, skipped: tuple[str, ...] = ()) -> None:
        self.most = most
        self.seen: list[Candidate] = []
        self._worker = worker
        self._skipped = skipped

    def place(self, candidate: Candidate) -> str | None:
        """See `Allocation`."""
        self.seen.append(candidate)
        if candidate.task in self._skipped:
            return None
        self.most -= 1
        return self._worker


class InTurn:
    """One job at each worker, then the next at the first again."""

    def __init__(self, *workers: str, most: int = 1000) -> None:
        self.most = most
        self._workers = workers

    def place(self, candidate: Candidate) -> str | None:
        """See `Allocation`."""
        self.most -= 1
        return self._workers[-1 - self.most % len(self._workers)]


def claim(
    store: Store, *, owner: str = WATCHER, worker: str = WORKER, now: datetime = START, most: int = 1000, served: Served = ANYTHING
) -> list[Job]:
    """The due jobs, claimed by the watcher and begun at the worker."""
    return store.claim_due(owner=owner, now=now, lease_s=30, allocation=AllAt(worker, most=most), served=served).jobs
