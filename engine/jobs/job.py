"""The values of the domain: job, execution, output, ticket, outcome, filter. They are immutable; `lifecycle` derives new ones.

They are structs rather than dataclasses because each job builds them four times and msgspec encodes them in C. Times are aware
UTC datetimes truncated to milliseconds. `payload` and `result` are JSON text, carried as bytes from the request to the task and
back; only the task's process decodes them, so they are returned exactly as they were sent.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from jobyard.engine.timestamps import rfc3339

PRIORITIES = range(10)


class Status(StrEnum):
    """A job's state; `lifecycle` defines the transitions."""

    BLOCKED = "blocked"
    PENDING = "pending"
    CLAIMED = "claimed"
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    __hash__ = str.__hash__  # `Enum.__hash__` is written in Python, and every change looks statuses up as keys


class ExecutionStatus(StrEnum):
    """The state of one attempt, or how it ended."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    LOST = "lost"
    RELEASED = "released"
    CANCELLED = "cancelled"

    __hash__ = str.__hash__


class Unique(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What a submission asked of its unique key, besides the key itself; see `jobs.unique`."""

    until: str = "ended"
    for_s: float = 0
    on_conflict: str = "return"
    at_latest_s: float | None = None


class Dependency(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What a job waits for: a job, by its id and, in a batch, the name that it was given there; or a group."""

    job_id: str | None = None
    ref: str | None = None
    group: str | None = None


class CancelledBecause(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """Why Jobyard cancelled a job: the reason, and what caused it."""

    reason: str
    job_id: str | None = None
    group: str | None = None
    limit: str | None = None
    schedule: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """One job as stored. Between processes it travels as an array.

    Few jobs have any of the fields from `unique_key` on: `held_key` is the unique key while the job may hold it, `held_until` the
    end of its window; `lane` names the parts of limits that the job is under (see `limits.rules`); `lapses_at` is `expires_at`
    while the job may still expire, which one that has begun no longer does. `is_awaited`: other jobs may wait for this one or its
    group, so its end must be looked at; false once that was done. `to_resolve`: it must be looked at now, see `workflows.resolver`.
    Never shown: `request_digest`, `cancel_requested_at`, `held_key`, `held_until`, `unique`, `lane`, `lapses_at`, `is_awaited`,
    `to_resolve`.
    """

    job_id: str
    task: str
    payload: bytes = b"null"
    queue: str = "default"
    priority: int = 5
    status: Status = Status.PENDING
    scheduled_at: datetime
    created_at: datetime
    updated_at: datetime
    claimed_by: str | None = None
    claimed_at: datetime | None = None
    queued_at: datetime | None = None
    locked_by: str | None = None
    locked_until: datetime | None = None
    last_run_at: datetime | None = None
    next_run_at: datetime | None = None
    finished_at: datetime | None = None
    attempt: int = 0
    epoch: int = 0
    lost_count: int = 0
    retry_count: int = 0
    max_retries: int = 5
    timeout_s: float = 3600
    idempotency_key: str | None = None
    result: bytes | None = None
    error: str | None = None
    request_digest: bytes | None = None
    cancel_requested_at: datetime | None = None
    unique_key: str | None = None
    held_key: str | None = None
    held_until: datetime | None = None
    unique: Unique | None = None
    limit: tuple[str, ...] | None = None
    after: tuple[Dependency, ...] | None = None
    run_if: str | None = None
    ref: str | None = None
    group: str | None = None
    is_awaited: bool | None = None
    to_resolve: bool | None = None
    schedule: str | None = None
    fire_at: datetime | None = None
    lane: str | None = None
    expires_s: float | None = None
    expires_at: datetime | None = None
    lapses_at: datetime | None = None
    cancelled_because: CancelledBecause | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def holder(self) -> str | None:
        """The owner that must be dead before the job is recovered: the worker that runs it or the watcher that claimed it."""
        return self.locked_by or self.claimed_by


class Execution(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One attempt at a job, as stored; (`job_id`, `attempt`) is unique."""

    execution_id: str
    job_id: str
    attempt: int
    worker_id: str
    status: ExecutionStatus
    started_at: datetime
    finished_at: datetime | None = None
    duration_ms: int | None = None
    error_message: str | None = None
    traceback: str | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The progress that a task reported last: a fraction from 0 to 1, and a note."""

    fraction: float
    note: str
    at: datetime


class Output(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The tail of what one attempt printed and logged, and its last progress. Stored only for attempts that have either."""

    job_id: str
    attempt: int
    text: str = ""
    is_cut: bool = False
    progress: Progress | None = None


class Ticket(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A job as the queue sees it: enough to list it and to name its lease."""

    job_id: str
    epoch: int
    task: str
    queue: str
    priority: int
    scheduled_at: datetime
    attempt: int


class HttpLease(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An HTTP worker's hold on a running job. (`job_id`, `epoch`) is its token.

    `until`: the end by the clock of whoever granted or extended it last, then `lasts_s` away; `began_at` and `timeout_s`: the
    attempt's own limit.
    """

    job_id: str
    epoch: int
    owner: str
    until: datetime
    lasts_s: float
    began_at: datetime
    timeout_s: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an execution ended, before `lifecycle.settle` decides what that means for the job.

    `retry_delay_s` is the delay that the task asked for (`Retry`); `unrecoverable` means that a retry is pointless.
    """

    status: ExecutionStatus
    result: bytes | None = None
    error: str | None = None
    traceback: str | None = None
    retry_delay_s: float | None = None
    unrecoverable: bool = False


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs to select; None matches any. `text` is searched for, ignoring case, in the payload's JSON text and in the error.

    `created_after` is inclusive, `created_before` exclusive. A job must have each `tag`; `error_kind`: see `jobs.error_kind`.
    """

    status: Status | None = None
    task: str | None = None
    queue: str | None = None
    unique_key: str | None = None
    schedule: str | None = None
    group: str | None = None
    tag: tuple[str, ...] | None = None
    error_kind: str | None = None
    text: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def without_payload(job: Job) -> Job:
    """The job without payload and result, which keeps it small, for code that only decides its next state."""
    return msgspec.structs.replace(job, payload=b"null", result=None)


def ticket_for(job: Job) -> Ticket:
    """The job's ticket."""
    return Ticket(
        job_id=job.job_id, epoch=job.epoch, task=job.task, queue=job.queue,
        priority=job.priority, scheduled_at=job.scheduled_at, attempt=job.attempt,
    )  # fmt: skip


def at_least(seconds: float) -> timedelta:
    """The duration rounded up to a millisecond, so that no wait ends early; fractions below a nanosecond are rounding errors."""
    return timedelta(milliseconds=math.ceil(round(seconds * 1000, 6)))


def to_json(job: Job) -> bytes:
    """The job as clients see it, with payload and result byte for byte."""
    return _encode(
        {
            "job_id": job.job_id, "task": job.task, "payload": msgspec.Raw(job.payload), "queue": job.queue,
            "priority": job.priority, "status": job.status, "scheduled_at": rfc3339(job.scheduled_at),
            "created_at": rfc3339(job.created_at), "updated_at": rfc3339(job.updated_at),
            "claimed_by": job.claimed_by, "claimed_at": rfc3339(job.claimed_at), "queued_at": rfc3339(job.queued_at),
            "locked_by": job.locked_by, "locked_until": rfc3339(job.locked_until),
            "last_run_at": rfc3339(job.last_run_at), "next_run_at": rfc3339(job.next_run_at),
            "finished_at": rfc3339(job.finished_at), "attempt": job.attempt, "epoch": job.epoch,
            "lost_count": job.lost_count, "retry_count": job.retry_count, "max_retries": job.max_retries,
            "timeout_s": _number(job.timeout_s), "idempotency_key": job.idempotency_key,
            "result": None if job.result is None else msgspec.Raw(job.result), "error": job.error,
            "unique_key": job.unique_key, "limit": job.limit, "after": _shown_dependencies(job.after), "run_if": job.run_if,
            "ref": job.ref, "group": job.group, "schedule": job.schedule, "fire_at": rfc3339(job.fire_at),
            "expires_s": None if job.expires_s is None else _number(job.expires_s), "expires_at": rfc3339(job.expires_at),
            "cancelled_because": job.cancelled_because if job.status is Status.CANCELLED else None,
            "traceparent": job.traceparent, "tracestate": job.tracestate, "tags": job.tags,
        }
    )  # fmt: skip


def _shown_dependencies(after: tuple[Dependency, ...] | None) -> list[dict[str, str | None]] | None:
    if after is None:
        return None
    return [{"job_id": one.job_id, "ref": one.ref} if one.group is None else {"group": one.group} for one in after]


def _number(seconds: float) -> float:
    """Integral seconds without a fraction: 3600 rather than 3600.0, as most clients send it."""
    return int(seconds) if seconds == int(seconds) else seconds


def execution_to_json(execution: Execution) -> bytes:
    """The execution as clients see it."""
    shown = msgspec.structs.asdict(execution)
    shown["started_at"] = rfc3339(execution.started_at)
    shown["finished_at"] = rfc3339(execution.finished_at)
    return _encode(shown)


_encode = msgspec.json.Encoder().encode
