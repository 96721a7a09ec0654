"""What must be done now and then whoever does it: take back what the dead held, remove what is old enough.

`recover` is the most dangerous code in a system of this kind, so there is one, and it acts on proof only (`Proof`): each job is
changed by the same guarded write as everywhere, so that three watchers that do it at once do it once. It pages past whatever it
cannot change, and asks for the proof again after each page was read, because a host that was silent may have come back. `purge`
does nothing while the wall clock looks wrong: a step of years must not empty the database.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol

from engine import lifecycle
from engine.config import Settings
from engine.job import ExecutionStatus, Status, Ticket
from engine.logs import Log
from engine.measures import count_attempt
from engine.owners import parse_owner
from engine.silence import Silence
from engine.store.port import Store
from engine.world import World

PAGE = 500
PURGE_EVERY_S = 60.0
FORGET_HOSTS_EVERY_S = 60.0
PURGE_BATCH = 200
PURGE_BATCHES = 10
CLOCK_STEP_S = 300.0
CLOCK_TRUSTED_AFTER_S = 3600.0


class Proof(Protocol):
    """Who is dead for certain; see `engine.processes.deaths`."""

    def proven(self, owners: Iterable[str]) -> list[str]:
        """Those of the owners that are."""


def hand_back(store: Store, tickets: Iterable[Ticket], *, now: datetime, max_lost: int) -> int:
    """T11 for tickets that no queue has: their jobs wait as pending again; how many.

    What was begun, cancelled or claimed anew meanwhile stays as it is.
    """
    epochs = {ticket.job_id: ticket.epoch for ticket in tickets}
    job_ids = list(epochs)
    handed_back = 0
    for start in range(0, len(job_ids), PAGE):
        jobs = [job for job in store.find(job_ids[start : start + PAGE], whole=False) if job is not None]
        waiting = [job for job in jobs if job.status is Status.QUEUED and job.epoch == epochs[job.job_id]]
        handed_back += sum(store.apply([lifecycle.recover(job, now=now, max_lost=max_lost) for job in waiting]))
    return handed_back


class Proofs:
    """Several kinds of proof; any will do."""

    def __init__(self, *kinds: Proof) -> None:
        self._kinds = kinds

    def proven(self, owners: Iterable[str]) -> list[str]:
        """See `Proof`."""
        asked = list(owners)
        return sorted({owner for kind in self._kinds for owner in kind.proven(asked)})


class Upkeep:
    """One watcher's share of it."""

    def __init__(
        self, *, settings: Settings, world: World, store: Store, log: Log, deaths: Proof, silence: Silence | None = None
    ) -> None:  # fmt: skip
        """`silence`: the watch over other hosts, where there can be some."""
        self._settings = settings
        self._world = world
        self._store = store
        self._log = log
        self._proof = Proofs(deaths, silence) if silence is not None else deaths
        self._silence = silence
        self._somebody_died = False
        self._forget_hosts_at = world.monotonic() + FORGET_HOSTS_EVERY_S
        self._purge_every_s = min(PURGE_EVERY_S, settings.retention_s / 10)
        self._purge_at = world.monotonic() + world.jitter(self._purge_every_s)
        self._clock = WallClock(world)
        self.jobs_recovered = 0
        self.stale_writes = 0
        self.attempts_lost: dict[str, dict[str, int]] = {}

    def somebody_died(self) -> None:
        """It may have held nothing and yet left something half done."""
        self._somebody_died = True

    def recover(self) -> int:
        """Take back the jobs of every owner that is proven dead; how many."""
        holders = self._store.holders()
        recovered = sum(self._recover_from(owner) for owner in self._proof.proven(holders))
        self._store.mend(now=self._world.now(), thorough=recovered > 0 or self._somebody_died)
        self._somebody_died = False
        self._forget_hosts(holders)
        return recovered

    def purge(self) -> int:
        """Remove finished jobs older than the retention time, some small batches at a time; how many."""
        if not self._settings.retention_s or self._world.monotonic() < self._purge_at:
            return 0
        if not self._clock.is_trusted():
            self._log.warning("purge_postponed", reason="the wall clock was set by more than five minutes less than an hour ago")
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

    def _forget_hosts(self, holders: list[str]) -> None:
        if self._silence is not None and self._world.monotonic() >= self._forget_hosts_at:
            self._forget_hosts_at = self._world.monotonic() + FORGET_HOSTS_EVERY_S
            self._silence.forget_hosts(holders)

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


class WallClock:
    """Whether the wall clock has gone on like the monotonic one for the last hour."""

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
