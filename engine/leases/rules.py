"""What an HTTP worker's word, or the end of its lease, means for a job: pure functions that return a `Change`.

Only the holder of a running job at its epoch is heard; anybody else is told to stop (`lease_lost`). The same completion again is
answered as the first one was, because its answer may have been lost.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from jobyard.engine.errors import Conflict
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import (
    Execution,
    ExecutionStatus,
    HttpLease,
    Job,
    Outcome,
    Output,
    Progress,
    Status,
    at_least,
)
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.jobs.owners import http_worker
from jobyard.engine.leases.requests import Do, Told

MAX_ERROR_CHARS = 4_000
KEPT_BYTES = 64 << 10
CONTINUATIONS = bytes(range(0x80, 0xC0))
NO_ERROR = "the worker gave no reason"


def lease_lost(told: Told, job: Job) -> Conflict:
    """The answer to a worker that does not hold the job: it must stop."""
    words = f"job {told.job_id} is not leased at epoch {told.epoch}: it is {job.status} at epoch {job.epoch}; stop working on it"
    return Conflict("lease_lost", words, stop=True)


def is_held(job: Job, epoch: int) -> bool:
    """Whether this is the token of a lease of the job."""
    return job.status is Status.RUNNING and job.epoch == epoch and http_worker(job.locked_by) is not None


def deadline(job: Job) -> datetime:
    """When the attempt's time is up, whatever its lease says."""
    return (job.last_run_at or job.updated_at) + at_least(job.timeout_s)


def change_for(
    told: Told, job: Job, *, now: datetime, lease_s: float, retry_base_s: float, printed: Output | None
) -> Change:  # fmt: skip
    """The change that follows; raises `Conflict`. `lease_s`: the default of an extension; `printed`: its output so far."""
    if not is_held(job, told.epoch):
        raise lease_lost(told, job)
    match told.do:
        case Do.EXTEND:
            until = min(now + at_least(told.lease_s or lease_s), deadline(job))
            if until <= now:
                raise lease_lost(told, job)
            change = lifecycle.extend(job, now=now, until=until)
        case Do.RELEASE:
            return give_back(job, now=now, delay_s=told.delay_s)
        case Do.COMPLETE:
            change = lifecycle.settle(job, Outcome(status=ExecutionStatus.SUCCESS, result=told.result), now=now, retry_base_s=0)
        case Do.FAIL:
            change = lifecycle.settle(job, _failure(told, job), now=now, retry_base_s=retry_base_s)
    return msgspec.structs.replace(change, output=_output(told, job, printed, now))


def _failure(told: Told, job: Job) -> Outcome:
    is_cancelled = told.cancelled and job.cancel_requested_at is not None
    return Outcome(
        status=ExecutionStatus.CANCELLED if is_cancelled else ExecutionStatus.FAILED, error=_bounded(told.error or NO_ERROR),
        traceback=None if told.traceback is None else _bounded(told.traceback), retry_delay_s=told.retry_delay_s,
        unrecoverable=told.unrecoverable,
    )  # fmt: skip


def give_back(job: Job, *, now: datetime, delay_s: float = 0) -> Change:
    """T4 undone: no attempt, no retry used; the job is due again after the delay."""
    change = lifecycle.return_unstarted(job, now=now)
    if change.fields["status"] is not Status.PENDING:
        return change
    due = now + at_least(delay_s) if delay_s else job.scheduled_at
    next_run_at = due if job.retry_count else None
    return msgspec.structs.replace(change, fields=change.fields | {"scheduled_at": due, "next_run_at": next_run_at})


def is_repeated(told: Told, job: Job, last: Execution | None) -> bool:
    """Whether the job was completed by exactly this before. `last`: its last attempt."""
    was_completed = told.do is Do.COMPLETE and job.status is Status.COMPLETED and job.epoch == told.epoch + 1
    return was_completed and job.result == told.result and last is not None and http_worker(last.worker_id) is not None


def ended(lease: HttpLease, job: Job, *, now: datetime, is_timeout: bool, max_lost: int, retry_base_s: float) -> Change | None:
    """What the end of a lease, or of the attempt's time, means; None if the job is no longer what the lease says.

    The change is refused if the worker extends the lease meanwhile.
    """
    if not is_held(job, lease.epoch) or job.locked_until != lease.until:
        return None
    worker = http_worker(lease.owner)
    if is_timeout:
        words = f"timed out after {lease.timeout_s:g} s"
        outcome = Outcome(status=ExecutionStatus.TIMEOUT, error=words)
        change = lifecycle.settle(job, outcome, now=now, retry_base_s=retry_base_s)
    else:
        change = lifecycle.recover(job, now=now, max_lost=max_lost, died=f"the lease of HTTP worker {worker} ended")
    return msgspec.structs.replace(change, unless_extended=lease.until)


def lease_ends_in(lease: HttpLease, now: datetime) -> tuple[float, float]:
    """Seconds until the lease and the attempt's time end, for a keeper who has just learned of the lease.

    A lease has its full length from then on. How much of its time an attempt has used, only the wall clock tells.
    """
    used_s = max(0.0, (now - lease.began_at) / timedelta(seconds=1))
    return lease.lasts_s, max(0.0, lease.timeout_s - used_s)


def _output(told: Told, job: Job, printed: Output | None, now: datetime) -> Output | None:
    """What the attempt has printed, with what the worker adds; None if there is nothing new."""
    if told.output is None and told.progress is None:
        return None
    before = printed or Output(job_id=job.job_id, attempt=job.attempt)
    text, is_cut = _tail(before.text + (told.output or ""))
    progress = before.progress
    if told.progress is not None:
        fraction, note = told.progress
        known = (progress.fraction, progress.note) if progress is not None else (0.0, "")
        progress = Progress(fraction=known[0] if fraction is None else fraction, note=known[1] if note is None else note, at=now)
    return Output(job_id=job.job_id, attempt=job.attempt, text=text, is_cut=before.is_cut or is_cut, progress=progress)


def _tail(text: str) -> tuple[str, bool]:
    data = text.encode()
    if len(data) <= KEPT_BYTES:
        return text, False
    return data[-KEPT_BYTES:].lstrip(CONTINUATIONS).decode(), True


def _bounded(text: str) -> str:
    """At most `MAX_ERROR_CHARS`, with NUL, which cannot be stored everywhere, replaced."""
    text = text[: MAX_ERROR_CHARS + 1].replace("\0", "\\0")
    return text if len(text) <= MAX_ERROR_CHARS else text[: MAX_ERROR_CHARS - 1] + "…"
