"""Recovers the jobs that dead owners held; what HTTP workers hold is left to `watcher.lease_keeper`.

This is the most dangerous code in such a system, so it exists once and acts only on proof (`Proof`). Each job is changed by the
same guarded write as everywhere else, so three watchers that recover at the same time recover each job once. Recovery pages past
jobs that it cannot change, and asks for the proof again after reading each page, because a silent host may have come back.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Protocol

from jobyard.engine.config import Settings
from jobyard.engine.hosts.failure_detector import FailureDetector
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Status
from jobyard.engine.jobs.owners import http_worker, parse_owner
from jobyard.engine.logs import Log
from jobyard.engine.metrics import count_attempt
from jobyard.engine.store.port import Store
from jobyard.engine.world import World

PAGE = 500
FORGET_HOSTS_EVERY_S = 60.0


class Proof(Protocol):
    """Proves which owners are dead; see `supervisor.deaths`."""

    def proven(self, owners: Iterable[str]) -> list[str]:
        """The owners that are certainly dead."""


class Proofs:
    """Combines several proofs, any of which suffices."""

    def __init__(self, *kinds: Proof) -> None:
        self._kinds = kinds

    def proven(self, owners: Iterable[str]) -> list[str]:
        """See `Proof`."""
        asked = list(owners)
        return sorted({owner for kind in self._kinds for owner in kind.proven(asked)})


class Recovery:
    """One watcher's recovery."""

    def __init__(
        self, *, settings: Settings, world: World, store: Store, log: Log, deaths: Proof,
        failure_detector: FailureDetector | None = None
    ) -> None:  # fmt: skip
        """`failure_detector`: watches the other hosts, if the database is shared."""
        self._settings = settings
        self._world = world
        self._store = store
        self._log = log
        self._proof = Proofs(deaths, failure_detector) if failure_detector is not None else deaths
        self._failure_detector = failure_detector
        self._somebody_died = False
        self._forget_hosts_at = world.monotonic() + FORGET_HOSTS_EVERY_S
        self.jobs_recovered = 0
        self.stale_writes = 0
        self.attempts_lost: dict[str, dict[str, int]] = {}

    def somebody_died(self) -> None:
        """A process died; it may have held no job and still left unfinished writes."""
        self._somebody_died = True

    def recover(self) -> int:
        """Recover the jobs of every owner that is proven dead; returns how many."""
        holders = [owner for owner in self._store.holders() if http_worker(owner) is None]
        recovered = sum(self._recover_from(owner) for owner in self._proof.proven(holders))
        self._store.mend(now=self._world.now(), thorough=recovered > 0 or self._somebody_died)
        self._somebody_died = False
        self._forget_hosts(holders)
        return recovered

    def _forget_hosts(self, holders: list[str]) -> None:
        if self._failure_detector is not None and self._world.monotonic() >= self._forget_hosts_at:
            self._forget_hosts_at = self._world.monotonic() + FORGET_HOSTS_EVERY_S
            self._failure_detector.forget_hosts(holders)

    def _recover_from(self, owner: str) -> int:
        recovered = 0
        after = None
        while page := self._store.held_by(owner, limit=PAGE, after=after):
            if not self._proof.proven([owner]):
                break
            now = self._world.now()
            done = self._store.apply([lifecycle.recover(job, now=now, max_lost=self._settings.max_lost) for job in page])
            recovered += sum(done)
            self.stale_writes += done.count(False)
            for job in itertools.compress(page, done):
                if job.status is Status.RUNNING:
                    count_attempt(self.attempts_lost, job.task, ExecutionStatus.LOST, 1)
            after = page[-1].job_id
        if recovered:
            self._log.warning("jobs_recovered", jobs=recovered, owner=owner, process=parse_owner(owner).process)
        self.jobs_recovered += recovered
        return recovered
