"""Settles what ended at a worker: one commit for all outcomes, kept and written again while there is no database.

    ended ── write ──▶ Written: leases that are over

Commits are a moment apart. An outcome that cannot be written is kept; one that the store refuses is dropped, because the job is
somebody else's by now. An attempt that never started has no outcome: its begin is undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from jobyard.engine.config import Settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Output, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.logs import Log
from jobyard.engine.metrics import Minutes, Totals
from jobyard.engine.store.port import Store
from jobyard.engine.tasks.catalog import Catalog
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.worker.attempt_metrics import AttemptMetrics
from jobyard.engine.worker.executor_pool import Ended
from jobyard.engine.worker.slot import Key
from jobyard.engine.world import World

NO_OPTIONS = TaskOptions()
PAUSE_S = 0.25
COMMIT_EVERY_S = 0.002
"""Under load more ends share a commit this way. A commit costs more CPU than the job that it settles."""


@dataclass(slots=True)
class Written:
    """What follows from a commit. `acked`: leases of settled jobs; `released`: of jobs that were returned unstarted.

    `wake_at`: the earliest time at which one of them is due again. `has_ended`: at least one of them; `resolves`: others may wait
    for it.
    """

    acked: list[Key] = field(default_factory=list)
    released: list[Key] = field(default_factory=list)
    wake_at: datetime | None = None
    has_ended: bool = False
    resolves: bool = False


class Ledger:
    """The outcomes of one worker."""

    def __init__(self, *, settings: Settings, world: World, store: Store, log: Log, catalog: Catalog) -> None:
        self._settings = settings
        self._world = world
        self._store = store
        self._log = log
        self._catalog = catalog
        self.fault: str | None = None
        self.last_execution: datetime | None = None
        self.counts = dict.fromkeys(("jobs_succeeded", "jobs_failed", "jobs_retried", "jobs_lost"), 0)
        self.attempt_metrics = AttemptMetrics()
        self._kept: list[Ended] = []
        self._retry_at = self._commit_at = 0.0
        self.minutes = Minutes(world, self._totals)
        self.stale_writes = 0

    @property
    def is_clear(self) -> bool:
        """Whether every outcome is in the store."""
        return not self._kept

    def held(self) -> list[Key]:
        """The leases of the outcomes that wait to be written."""
        return [end.attempt.key for end in self._kept]

    def output_of(self, job_id: str, attempt: int) -> Output | None:
        """The output of an attempt whose outcome waits to be written."""
        ended = (end.attempt for end in self._kept if (end.attempt.job.job_id, end.attempt.job.attempt) == (job_id, attempt))
        return next((one.output or Output(job_id=job_id, attempt=attempt) for one in ended), None)

    def _totals(self) -> Totals:
        return Totals(counts=self.counts, histograms={"lag": self.attempt_metrics.lag, "run": self.attempt_metrics.run})

    def next_try_at(self) -> float:
        """When there is something to write, in monotonic seconds."""
        if self.fault is not None:
            return self._retry_at
        return float("inf") if self.is_clear else self._commit_at

    def write(self, ended: Sequence[Ended]) -> Written:
        """Settle these, and what an earlier call could not; a moment later if there was a commit just now."""
        self._kept += ended
        written = Written()
        if self.fault is not None and self._world.monotonic() < self._retry_at:
            return written
        try:
            if self.fault is not None:
                self._store.ping()
            if self._kept and self._world.monotonic() >= self._commit_at:
                self._commit(written)
                self._commit_at = self._world.monotonic() + (COMMIT_EVERY_S if self.is_clear else 0)
            self._note_answer()
        except StoreUnavailable as fault:
            self.note_fault(fault)
        return written

    def _commit(self, written: Written) -> None:
        now = self._world.now()
        self.minutes.turn()
        settles = [self._settle(end, now) for end in self._kept]
        done = self._store.apply(settles)
        ended, self._kept = self._kept, []
        if any(end.outcome is not None for end in ended):
            self.last_execution = now
        for end, change, was_done in zip(ended, settles, done, strict=True):
            self._note_settled(end, change, written) if was_done else self._look_again(end, change, written)
        self.stale_writes += done.count(False)
        written.resolves = written.has_ended and self._store.workflows.may_have_unresolved()

    def _settle(self, end: Ended, now: datetime) -> Change:
        job, outcome = end.attempt.job, end.outcome
        if outcome is None:
            return lifecycle.return_unstarted(job, now=now)
        if outcome.status is ExecutionStatus.LOST:
            change = lifecycle.recover(job, now=now, max_lost=self._settings.max_lost, died=outcome.error)
        else:
            change = self._settle_by_its_task(job, outcome, now)
        return change if end.attempt.output is None else msgspec.structs.replace(change, output=end.attempt.output)

    def _settle_by_its_task(self, job: Job, outcome: Outcome, now: datetime) -> Change:
        """A failed attempt is tried again as the task's own options say; where it has none, as the settings do."""
        if outcome.status is ExecutionStatus.SUCCESS:
            return lifecycle.settle(job, outcome, now=now, retry_base_s=0)
        options = self._catalog.options().get(job.task, NO_OPTIONS)
        if outcome.status is ExecutionStatus.TIMEOUT and not options.retries_timeouts:
            outcome = msgspec.structs.replace(outcome, unrecoverable=True)
        base_s = self._settings.retry_base_s if options.retry_base_s is None else options.retry_base_s
        return lifecycle.settle(job, outcome, now=now, retry_base_s=base_s, retry_max_s=options.retry_max_s)

    def _note_settled(self, end: Ended, change: Change, written: Written) -> None:
        status, outcome = change.fields["status"], end.outcome
        if outcome is None:
            written.released.append(end.attempt.key)
            due_at: object = end.attempt.job.scheduled_at
        else:
            written.acked.append(end.attempt.key)
            self._count(end.attempt.job, outcome, change)
            due_at = change.fields.get("next_run_at" if outcome.status is not ExecutionStatus.LOST else "scheduled_at")
        written.has_ended = written.has_ended or status in lifecycle.TERMINAL
        if status is Status.PENDING and isinstance(due_at, datetime):
            written.wake_at = min(due_at, written.wake_at or due_at)
        if end.attempt.job.lane is not None:  # what it leaves free is somebody's at once
            written.wake_at = min(self._world.now(), written.wake_at or self._world.now())

    def _count(self, job: Job, outcome: Outcome, change: Change) -> None:
        status = change.fields["status"]
        if change.execution is not None:
            self.attempt_metrics.note_ended(job.task, outcome.status, change.execution.duration_ms or 0)
        if status is Status.COMPLETED:
            self.counts["jobs_succeeded"] += 1
        elif status is Status.FAILED:
            self.counts["jobs_failed"] += 1
        elif status is Status.PENDING and outcome.status not in (ExecutionStatus.RELEASED, ExecutionStatus.LOST):
            self.counts["jobs_retried"] += 1
        if outcome.status is not ExecutionStatus.SUCCESS:
            error = _first_line(outcome.error)
            self._log.info("attempt_ended", job_id=job.job_id, attempt=job.attempt, status=outcome.status, error=error)
        elif self._log.is_debug:
            self._log.debug("attempt_ended", job_id=job.job_id, attempt=job.attempt, status=outcome.status)

    def _look_again(self, end: Ended, change: Change, written: Written) -> None:
        """Refused: it was written and only the reply was lost, or cancellation was requested, or the job is no longer ours."""
        known = end.attempt.job
        try:
            job = self._store.find([known.job_id])[0]
            executions = self._store.executions(known.job_id)
        except StoreUnavailable:
            self._kept.append(end)
            return
        if job is not None and job.epoch == known.epoch and job.cancel_requested_at != known.cancel_requested_at:
            end.attempt.job = job
            self._kept.append(end)
        elif end.outcome is None:
            written.released.append(end.attempt.key)
        elif any((row.attempt, row.status) == (known.attempt, end.outcome.status) for row in executions):
            self._note_settled(end, change, written)
        else:
            written.acked.append(end.attempt.key)
            self.counts["jobs_lost"] += 1
            self._log.debug("outcome_dropped", job_id=known.job_id, attempt=known.attempt)

    def _note_answer(self) -> None:
        if self.fault is not None:
            self._log.info("database_reachable")
        self.fault = None

    def note_fault(self, fault: StoreUnavailable) -> None:
        """The database did not answer; nothing is tried for a moment."""
        if self.fault is None:
            self._log.error("database_unreachable", reason=fault.message, outcomes_kept=len(self._kept))
        self.fault = fault.message
        self._retry_at = self._world.monotonic() + PAUSE_S


def _first_line(text: str | None) -> str:
    return (text or "").split("\n")[0][:200]
