"""A worker's entries in the store: one commit for all that ended and all that begins, and what to do when there is none.

    ended, tickets ── write ──▶ Written: attempts to run · tickets that are done with · tickets to give back, now or in a moment

An outcome that cannot be written is kept and written again; one that the store refuses is dropped, because somebody else has the
job. A commit whose reply was lost leaves doubts: whether a begin was written is read from the job before anything else is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from jobyard.engine.config import Settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.hosts.host_lease import HostLease
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Output, Status, Ticket, ticket_for
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.logs import Log
from jobyard.engine.metrics import Minutes, Totals
from jobyard.engine.store.port import Store
from jobyard.engine.tasks.catalog import Catalog
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.worker.attempt_metrics import AttemptMetrics
from jobyard.engine.worker.executor_pool import Ended
from jobyard.engine.worker.slot import Attempt
from jobyard.engine.world import World

PAUSE_S = 0.25
GHOSTS = 500
NO_OPTIONS = TaskOptions()
GIVEN_BACK = Outcome(status=ExecutionStatus.RELEASED, error="handed back: it was begun, but nobody heard so in time")

Begin = tuple[Ticket, Job, Change]


@dataclass(slots=True)
class Written:
    """What follows from a turn's commit. `wake_at`: the earliest time at which one of its jobs is due again.

    `put_off`: what must not run beside what runs here (`lifecycle.is_last_chance`)."""

    begun: list[Attempt] = field(default_factory=list)
    acked: list[Ticket] = field(default_factory=list)
    released: list[Ticket] = field(default_factory=list)
    put_off: list[Ticket] = field(default_factory=list)
    wake_at: datetime | None = None


class Ledger:
    """See the module."""

    def __init__(
        self, *, owner: str, settings: Settings, world: World, store: Store, log: Log, host_lease: HostLease,
        catalog: Catalog, running: Callable[[], Iterable[Job]],
    ) -> None:  # fmt: skip
        """`running`: what its worker has begun and not seen the end of."""
        self._owner = owner
        self._settings = settings
        self._world = world
        self._store = store
        self._log = log
        self._host_lease = host_lease
        self._catalog = catalog
        self._running = running
        self.fault: str | None = None
        self.last_execution: datetime | None = None
        self.counts = dict.fromkeys(("jobs_succeeded", "jobs_failed", "jobs_retried", "jobs_lost"), 0)
        self.attempt_metrics = AttemptMetrics()
        self._kept: list[Ended] = []
        self._doubts: list[Ticket] = []
        self._strange: set[tuple[str, int]] = set()
        self._retry_at = 0.0
        self.minutes = Minutes(world, self._totals)
        self.stale_writes = 0

    @property
    def is_clear(self) -> bool:
        """Whether nothing is left that only we know of."""
        return not self._kept and not self._doubts

    def held(self) -> list[Ticket]:
        """The leases of what waits to be written."""
        return [end.attempt.ticket for end in self._kept] + self._doubts

    def output_of(self, job_id: str, attempt: int) -> Output | None:
        """Of an attempt whose end waits to be written."""
        ended = (end.attempt for end in self._kept if (end.attempt.job.job_id, end.attempt.job.attempt) == (job_id, attempt))
        return next((one.output or Output(job_id=job_id, attempt=attempt) for one in ended), None)

    def _totals(self) -> Totals:
        return Totals(counts=self.counts, histograms={"lag": self.attempt_metrics.lag, "run": self.attempt_metrics.run})

    def next_try_at(self) -> float:
        """When there is something to write again, in monotonic seconds."""
        if self.fault is not None:
            return self._retry_at
        return float("inf") if self.is_clear else self._world.monotonic()

    def write(self, ended: Sequence[Ended], tickets: Sequence[Ticket]) -> Written:
        """A turn's one commit, or a later try of an earlier one."""
        self._kept += ended
        written = Written()
        if self.fault is not None and self._world.monotonic() < self._retry_at:
            written.released += tickets
            return written
        try:
            if self.fault is not None:
                self._store.ping()
            self._clear_doubts(written)
            if self._host_lease.is_lost:
                written.released += tickets
                tickets = []
            if self._kept or tickets:
                self._commit(tickets, written)
            self._note_answer()
        except StoreUnavailable as fault:
            self.note_fault(fault)
            written.released += [ticket for ticket in tickets if ticket not in self._doubts and ticket not in written.put_off]
        return written

    def look_for_ghosts(self, known: set[str]) -> None:
        """Give back what runs in our name and not in our hands, seen so twice: a begin that came to be after all was settled.

        Only over a network can a write do that. `known`: the jobs that we have. Raises `StoreUnavailable`.
        """
        running = [job for job in self._store.held_by(self._owner, limit=GHOSTS) if job.status is Status.RUNNING]
        known = known | {ticket.job_id for ticket in self.held()}
        strange = {(job.job_id, job.epoch): job for job in running if job.job_id not in known}
        ghosts = [job for key, job in strange.items() if key in self._strange]
        self._strange = set(strange)
        self._kept += [Ended(Attempt(job=job, ticket=ticket_for(job)), GIVEN_BACK) for job in ghosts]
        if ghosts:
            self._log.warning("ghosts_given_back", jobs=len(ghosts))

    def _clear_doubts(self, written: Written) -> None:
        """A begin that was written after all is run; one that was not is somebody's to begin again."""
        if not self._doubts:
            return
        for ticket, job in zip(self._doubts, self._store.find([ticket.job_id for ticket in self._doubts]), strict=True):
            if job is not None and job.epoch == ticket.epoch + 1 and job.locked_by == self._owner:
                attempt = Attempt(job=job, ticket=ticket)
                if self._host_lease.is_lost:
                    self._kept.append(Ended(attempt, GIVEN_BACK))
                else:
                    written.begun.append(attempt)
            else:
                written.released.append(ticket)
        self._doubts = []

    def _commit(self, tickets: Sequence[Ticket], written: Written) -> None:
        now = self._world.now()
        self.minutes.turn()
        begins = self._apart(self._begins(tickets, now), written)
        settles = [self._settle(end, now) for end in self._kept]
        self._doubts = [ticket for ticket, _, _ in begins]
        done = self._store.apply([*settles, *(change for _, _, change in begins)])
        self._doubts = []
        ended, self._kept = self._kept, []
        for end, change, was_done in zip(ended, settles, done[: len(settles)], strict=True):
            self._note_settled(end, change, written) if was_done else self._look_again(end, change, written)
        begun = [begin for begin, was_done in zip(begins, done[len(settles) :], strict=True) if was_done]
        self.stale_writes += done.count(False)
        attempts = [Attempt(job=change.after(job), ticket=ticket) for ticket, job, change in begun]
        self.attempt_metrics.note_begun([attempt.job for attempt in attempts])
        written.begun += attempts
        if self._log.is_debug:
            for attempt in attempts:
                self._log.debug("attempt_begun", job_id=attempt.job.job_id, attempt=attempt.job.attempt, task=attempt.job.task)
        still_wanted = {ticket.job_id for ticket, _, _ in begun} | {ticket.job_id for ticket in written.put_off}
        written.acked += [ticket for ticket in tickets if ticket.job_id not in still_wanted]

    def _settle(self, end: Ended, now: datetime) -> Change:
        job, outcome = end.attempt.job, end.outcome
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

    def _begins(self, tickets: Sequence[Ticket], now: datetime) -> list[Begin]:
        """For those whose job is still what the ticket says: of the others somebody else has taken care."""
        jobs = self._store.find([ticket.job_id for ticket in tickets]) if tickets else []
        return [
            (ticket, job, lifecycle.begin(job, owner=self._owner, now=now, lease_s=self._settings.lease_s))
            for ticket, job in zip(tickets, jobs, strict=True)
            if job is not None and job.epoch == ticket.epoch and lifecycle.may(job, lifecycle.Verb.BEGIN)
            and not lifecycle.has_expired(job, now)
        ]

    def _apart(self, begins: list[Begin], written: Written) -> list[Begin]:
        """All but those on their last chance where another one is already."""
        limit = self._settings.max_lost
        risky = [begin for begin in begins if lifecycle.is_last_chance(begin[1], max_lost=limit)]
        if not risky:
            return begins
        room = 0 if any(lifecycle.is_last_chance(job, max_lost=limit) for job in self._running()) else 1
        written.put_off += [ticket for ticket, _, _ in risky[room:]]
        return [begin for begin in begins if begin not in risky[room:]]

    def _note_settled(self, end: Ended, change: Change, written: Written) -> None:
        job, outcome, status = end.attempt.job, end.outcome, change.fields["status"]
        if change.execution is not None:
            self.attempt_metrics.note_ended(job.task, outcome.status, change.execution.duration_ms or 0)
        written.acked.append(end.attempt.ticket)
        self.last_execution = self._world.now()
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
        due_at = change.fields.get("next_run_at" if outcome.status is not ExecutionStatus.LOST else "scheduled_at")
        if status is Status.PENDING and isinstance(due_at, datetime):
            written.wake_at = min(due_at, written.wake_at or due_at)

    def _look_again(self, end: Ended, change: Change, written: Written) -> None:
        """Refused: it was written before and only the reply was lost, or somebody asked to cancel, or the job is no longer ours."""
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
        elif any((row.attempt, row.status) == (known.attempt, end.outcome.status) for row in executions):
            self._note_settled(end, change, written)
        else:
            written.acked.append(end.attempt.ticket)
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
