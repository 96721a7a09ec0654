"""Ends the leases of HTTP workers that were not extended in time. No process of ours runs them, so nothing else proves a death.

    seen first, or extended ──▶ known since (monotonic) ──lasts_s + MARGIN_S──▶ still the same? ──▶ recovered: attempt `lost`
                                        └────────────── the attempt's timeout_s ─────────────────▶ settled: attempt `timeout`

Every watcher keeps all leases, and measures each with its own monotonic clock from the moment at which it saw its end for the first
time, so that a step of the wall clock ends none. A new keeper, and one that could not look for long (it was stopped, or the
database was unreachable, when workers could not extend either), begins anew. A change that ends a lease is refused if the worker
extends it at that moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jobyard.engine.config import Settings
from jobyard.engine.jobs.job import ExecutionStatus, HttpLease, Job, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.leases.rules import ended, lease_ends_in
from jobyard.engine.logs import Log
from jobyard.engine.metrics import count_attempt
from jobyard.engine.store.port import Store
from jobyard.engine.world import World

LOOK_S = 0.8
"""While there are leases, at least so often, whatever POLL_S is; with the margin, a lease ends less than 1.5 s late."""

MARGIN_S = 0.25
"""A lease may be seen here a moment before its worker is told of it."""

PAUSE_S = 5.0
A_COMMIT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A lease and its ends, by the monotonic clock."""

    lease: HttpLease
    ends_at: float
    times_out_at: float


class LeaseKeeper:
    """The keeper in one watcher."""

    def __init__(self, *, settings: Settings, world: World, store: Store, log: Log) -> None:
        self._settings = settings
        self._world = world
        self._store = store
        self._log = log
        self._kept: dict[str, Kept] = {}
        self._looked_at = world.monotonic()
        self._look_at = float("inf")
        self.leases_ended = 0
        self.attempts: dict[str, dict[str, int]] = {}

    def forget(self) -> None:
        """The database was unreachable: every lease begins anew."""
        self._kept.clear()
        self.wake()

    def wake(self) -> None:
        """Something may have been leased. While there is no lease, only this, or a poll, is a reason to look."""
        if not self._kept:
            self._look_at = self._world.monotonic()

    def next_s(self) -> float:
        """The time until the next look."""
        return max(0.0, self._look_at - self._world.monotonic())

    def look(self) -> list[datetime]:
        """Learn of new leases and end old ones, if it is time; returns when the jobs are due that became pending."""
        now = self._world.monotonic()
        if now < self._look_at:
            return []
        if self._kept and now - self._looked_at > PAUSE_S:
            self._kept.clear()
        self._learn()
        dues = self._end([one for one in self._kept.values() if min(one.ends_at, one.times_out_at) <= now])
        self._looked_at = self._world.monotonic()
        ends = (min(one.ends_at, one.times_out_at) for one in self._kept.values())
        self._look_at = min(self._looked_at + LOOK_S, *ends) if self._kept else float("inf")
        return dues

    def _learn(self) -> None:
        at, now = self._world.monotonic(), self._world.now()
        before, self._kept = self._kept, {}
        for lease in self._store.http_leases():
            known = before.get(lease.job_id)
            self._kept[lease.job_id] = known if known is not None and known.lease == lease else self._seen(lease, known, at, now)

    def _seen(self, lease: HttpLease, known: Kept | None, at: float, now: datetime) -> Kept:
        """A lease that is new, or has been extended; an extension does not lengthen the attempt's own time."""
        ends_in_s, times_out_in_s = lease_ends_in(lease, now)
        is_extended = known is not None and known.lease.epoch == lease.epoch
        if known is not None and is_extended and known.lease.until == lease.until:  # a cancellation was requested
            return Kept(lease=lease, ends_at=known.ends_at, times_out_at=known.times_out_at)
        times_out_at = known.times_out_at if known is not None and is_extended else at + times_out_in_s
        return Kept(lease=lease, ends_at=at + ends_in_s + MARGIN_S, times_out_at=times_out_at)

    def _end(self, over: list[Kept]) -> list[datetime]:
        dues: list[datetime] = []
        for start in range(0, len(over), A_COMMIT):
            some = over[start : start + A_COMMIT]
            jobs = self._store.find([one.lease.job_id for one in some], whole=False)
            changes = [(job, change) for one, job in zip(some, jobs, strict=True) if job and (change := self._change(one, job))]
            for (job, change), done in zip(changes, self._store.apply([change for _, change in changes]), strict=True):
                if done:
                    self._note(job, change, dues)
            for one in some:
                del self._kept[one.lease.job_id]  # one that was extended meanwhile is learned of anew
        return dues

    def _change(self, one: Kept, job: Job) -> Change | None:
        return ended(
            one.lease, job, now=self._world.now(), is_timeout=one.times_out_at <= one.ends_at, max_lost=self._settings.max_lost,
            retry_base_s=self._settings.retry_base_s,
        )  # fmt: skip

    def _note(self, job: Job, change: Change, dues: list[datetime]) -> None:
        self.leases_ended += 1
        status = change.execution.status if change.execution is not None else ExecutionStatus.LOST
        count_attempt(self.attempts, job.task, status, 1)
        self._log.warning("lease_ended", job_id=job.job_id, attempt=job.attempt, worker=job.locked_by, status=status)
        due_at = change.fields.get("scheduled_at")
        if change.fields["status"] is Status.PENDING and isinstance(due_at, datetime):
            dues.append(due_at)
        elif job.lane is not None:  # what it leaves free is somebody's at once
            dues.append(self._world.now())
