"""The only module that converts values to and from SQLite rows: times are integer milliseconds since 1970, ids are 12 bytes."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from jobyard.engine.jobs.error_kind import kind_of
from jobyard.engine.jobs.job import (
    CancelledBecause,
    Dependency,
    Execution,
    ExecutionStatus,
    HttpLease,
    Job,
    Output,
    Progress,
    Status,
    Unique,
)
from jobyard.engine.jobs.lifecycle import Change, execution_id

Row = Sequence[Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
FIRST_RARE = Job.__struct_fields__.index("unique_key")
PLAIN_COLUMNS, RARE_FIELDS = Job.__struct_fields__[:FIRST_RARE], Job.__struct_fields__[FIRST_RARE:]
NEW_COLUMNS = (
    "job_id", "task", "payload", "queue", "priority", "status", "scheduled_at", "created_at", "updated_at", "max_retries",
    "timeout_s", "idempotency_key", "request_digest",
)  # fmt: skip
"""All that distinguishes new jobs with ordinary fields from each other: a value that is not bound costs nothing."""
NEW_NUMBERS = ("attempt", "epoch", "lost_count", "retry_count")
"""Zero for such a job; all other columns are NULL."""
EXTRA_FIELDS = ("unique", "limit", "after", "run_if", "ref", "expires_s", "traceparent", "tracestate")
"""Fields that are stored together, as JSON, in the column `extra`. A change that sets one of them sets all.

The column is not NULL wherever any rare column has a value, so that reading a job looks at no other.
"""
RARE_COLUMNS = (*("group_name" if name == "group" else name for name in RARE_FIELDS if name not in EXTRA_FIELDS), "extra")
JOB_COLUMNS = (*PLAIN_COLUMNS, *RARE_COLUMNS, "error_kind")
"""`error_kind` follows from `error`, and is written with it for the statements that ask for it."""
READ_COLUMNS = (*PLAIN_COLUMNS, f"CASE WHEN extra IS NOT NULL THEN json_array({', '.join(RARE_COLUMNS)}) END")
_SET_BY_BEGIN = (
    "status", "updated_at", "claimed_by", "claimed_at", "queued_at", "locked_until", "last_run_at", "next_run_at", "finished_at",
    "result", "cancel_requested_at",
)  # fmt: skip
BEGUN_COLUMNS = tuple(name for name in READ_COLUMNS if name not in _SET_BY_BEGIN)
"""What must be read of a job that has just begun; the claim knows the others, since it has set them or they are NULL until then."""
STATUSES = {str(status): status for status in Status}
TEXTS: dict[str, str] = {status: status.value for status in (*Status, *ExecutionStatus)}
"""Statuses as plain `str`, since subclasses of `str` are slow to bind."""


def to_ms(at: datetime | None) -> int | None:
    """A time as stored."""
    return None if at is None else _ms(at)


def from_ms(ms: int | None) -> datetime | None:
    """A stored time."""
    return None if ms is None else _at(ms)


def as_stored(at: datetime) -> datetime:
    """The time to the millisecond."""
    return _at(_ms(at))


@functools.lru_cache(maxsize=256)
def _ms(at: datetime) -> int:
    """Cached: a batch has few distinct times, and jobs that were written together are mostly read together."""
    return (at - EPOCH) // MILLISECOND


@functools.lru_cache(maxsize=256)
def _at(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def to_blob(job_id: str) -> bytearray:
    """An id as stored."""
    return bytearray.fromhex(job_id)


class Extra(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What the column `extra` holds."""

    unique: Unique | None = None
    limit: tuple[str, ...] | None = None
    after: tuple[Dependency, ...] | None = None
    run_if: str | None = None
    ref: str | None = None
    expires_s: float | None = None
    traceparent: str | None = None
    tracestate: str | None = None


def is_new(job: Job) -> bool:
    """Whether the job is pending and has values only in `NEW_COLUMNS`."""
    return _other_values(job) == _OTHERS_OF_NEW


def new_job_to_row(job: Job) -> Row:
    """A row in the order of `NEW_COLUMNS`."""
    return (
        bytearray.fromhex(job.job_id), job.task, job.payload, job.queue, job.priority, "pending", _ms(job.scheduled_at),
        _ms(job.created_at), _ms(job.updated_at), job.max_retries, job.timeout_s, job.idempotency_key, job.request_digest,
    )  # fmt: skip


def job_to_row(job: Job) -> Row:
    """A row in the order of `JOB_COLUMNS`."""
    return (
        *_plain_values(job), job.unique_key, job.held_key, to_ms(job.held_until), job.group, job.is_awaited, job.to_resolve,
        job.schedule, to_ms(job.fire_at), job.lane, to_ms(job.expires_at), to_ms(job.lapses_at),
        _column(job.cancelled_because), _column(job.tags), _extra_of(_extra_values(job)), kind_of(job.error),
    )  # fmt: skip


def _plain_values(job: Job) -> Row:
    """In the order of `PLAIN_COLUMNS`."""
    created_at = to_ms(job.created_at)
    return (
        bytearray.fromhex(job.job_id), job.task, job.payload, job.queue, job.priority, TEXTS[job.status], to_ms(job.scheduled_at),
        created_at, to_ms(job.updated_at), job.claimed_by, to_ms(job.claimed_at), to_ms(job.queued_at), job.locked_by,
        to_ms(job.locked_until), to_ms(job.last_run_at), to_ms(job.next_run_at), to_ms(job.finished_at), job.attempt, job.epoch,
        job.lost_count, job.retry_count, job.max_retries, job.timeout_s, job.idempotency_key, job.result, job.error,
        job.request_digest, to_ms(job.cancel_requested_at),
    )  # fmt: skip


def row_to_job(row: Row) -> Job:
    """The job from `READ_COLUMNS`."""
    (
        job_id, task, payload, queue, priority, status, scheduled_at, created_at, updated_at, claimed_by, claimed_at, queued_at,
        locked_by, locked_until, last_run_at, next_run_at, finished_at, attempt, epoch, lost_count, retry_count, max_retries,
        timeout_s, idempotency_key, result, error, request_digest, cancel_requested_at, rare,
    ) = row  # fmt: skip
    return Job(
        job_id=job_id.hex(), task=task, payload=payload, queue=queue, priority=priority, status=STATUSES[status],
        scheduled_at=_at(scheduled_at), created_at=_at(created_at),
        updated_at=_at(updated_at), claimed_by=claimed_by, claimed_at=from_ms(claimed_at),
        queued_at=from_ms(queued_at), locked_by=locked_by, locked_until=from_ms(locked_until), last_run_at=from_ms(last_run_at),
        next_run_at=from_ms(next_run_at), finished_at=from_ms(finished_at), attempt=attempt, epoch=epoch, lost_count=lost_count,
        retry_count=retry_count, max_retries=max_retries, timeout_s=timeout_s, idempotency_key=idempotency_key, result=result,
        error=error, request_digest=request_digest, cancel_requested_at=from_ms(cancel_requested_at),
        **(_NOTHING if rare is None else _rare_fields(rare)),
    )  # fmt: skip


def begun_to_job(row: Row, owner: str, now: datetime, locked_until: datetime) -> Job:
    """The job that `owner` has claimed and begun now, from `BEGUN_COLUMNS`."""
    (
        job_id, task, payload, queue, priority, scheduled_at, created_at, locked_by, attempt, epoch, lost_count, retry_count,
        max_retries, timeout_s, idempotency_key, error, request_digest, rare,
    ) = row  # fmt: skip
    return Job(
        job_id=job_id.hex(), task=task, payload=payload, queue=queue, priority=priority, status=Status.RUNNING,
        scheduled_at=_at(scheduled_at), created_at=_at(created_at), updated_at=now, claimed_by=owner, claimed_at=now, queued_at=now,
        locked_by=locked_by, locked_until=locked_until, last_run_at=now, attempt=attempt, epoch=epoch, lost_count=lost_count,
        retry_count=retry_count, max_retries=max_retries, timeout_s=timeout_s, idempotency_key=idempotency_key, error=error,
        request_digest=request_digest, **(_NOTHING if rare is None else _rare_fields(rare)),
    )  # fmt: skip


def _rare_fields(rare: str) -> dict[str, Any]:
    (
        unique_key, held_key, held_until, group, is_awaited, to_resolve, schedule, fire_at, lane, expires_at, lapses_at,
        cancelled_because, tags, extra,
    ) = msgspec.json.decode(rare)  # fmt: skip
    fields = {
        "unique_key": unique_key, "held_key": held_key, "held_until": from_ms(held_until), "schedule": schedule,
        "fire_at": from_ms(fire_at), "lane": lane, "group": group, "is_awaited": flag(is_awaited),
        "to_resolve": flag(to_resolve), "expires_at": from_ms(expires_at),
        "lapses_at": from_ms(lapses_at),
        "cancelled_because": None if cancelled_because is None else _decode_cause(cancelled_because),
        "tags": None if tags is None else tuple(msgspec.json.decode(tags)), **msgspec.structs.asdict(_decode_extra(extra)),
    }  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def after_in(extra: str) -> tuple[Dependency, ...] | None:
    """What a job waits for, by its column `extra`."""
    return _decode_extra(extra).after


def flag(stored: int | None) -> bool | None:
    """A stored truth value."""
    return None if stored is None else bool(stored)


def change_to_row(change: Change) -> Row:
    """The change's new values in the order of `settings_of`, followed by its guard."""
    fields = change.fields
    if EXTRA_FIELDS[0] in fields:
        values = [_column(value) for name, value in fields.items() if name not in EXTRA_FIELDS]
        values.append(_extra_of([fields[name] for name in EXTRA_FIELDS]))
    else:
        values = [_column(value) for value in fields.values()]
    if "error" in fields:
        error = fields["error"]
        values.append(kind_of(error) if isinstance(error, str) else None)
    guard = (bytearray.fromhex(change.job_id), TEXTS[change.status], change.epoch)
    return (*values, *guard) if change.unless_extended is None else (*values, *guard, to_ms(change.unless_extended))


def _column(value: Any) -> Any:
    convert = _CONVERSIONS.get(type(value))
    return value if convert is None else convert(value)


def settings_of(fields: Sequence[str]) -> str:
    """The SET clause of a change of these fields, in the order of `change_to_row`."""
    columns = ["group_name" if name == "group" else name for name in fields if name not in EXTRA_FIELDS]
    clauses = [f"{column} = ?" for column in columns]
    if len(columns) < len(fields):
        clauses.append("extra = ?")
    elif not set(columns).isdisjoint(RARE_COLUMNS):
        clauses.append("extra = COALESCE(extra, '{}')")
    if "error" in columns:
        clauses.append("error_kind = ?")
    return ", ".join(clauses)


def _extra_of(values: Sequence[Any]) -> str:
    return _text(Extra(**dict(zip(EXTRA_FIELDS, values, strict=True))))


def _text(value: object) -> str:
    return _encode(value).decode()


_OTHER_FIELDS = [name for name in Job.__struct_fields__ if name == "status" or name not in NEW_COLUMNS]
_other_values = operator.attrgetter(*_OTHER_FIELDS)
_extra_values = operator.attrgetter(*EXTRA_FIELDS)
_DEFAULTS: dict[str, Any] = {"status": Status.PENDING, "tags": (), **dict.fromkeys(NEW_NUMBERS, 0)}
_OTHERS_OF_NEW = tuple(map(_DEFAULTS.get, _OTHER_FIELDS))
_CONVERSIONS: dict[type, Callable[[Any], Any]] = {
    datetime: lambda at: _ms(at), Status: TEXTS.__getitem__, CancelledBecause: lambda cause: _text(cause),
    tuple: lambda tags: _text(tags) if tags else None,
}  # fmt: skip
_NOTHING: Mapping[str, Any] = {}
_encode = msgspec.json.Encoder().encode
_decode_extra = msgspec.json.Decoder(Extra).decode
_decode_cause = msgspec.json.Decoder(CancelledBecause).decode


def row_to_lease(row: Row) -> HttpLease:
    """The lease from the columns of `statements.HTTP_LEASES`."""
    job_id, epoch, owner, until, since, began_at, timeout_s = row
    lasts_s = max(0, until - since) / 1000
    return HttpLease(
        job_id=job_id.hex(), epoch=epoch, owner=owner, until=_at(until), lasts_s=lasts_s, began_at=_at(began_at),
        timeout_s=timeout_s,
    )  # fmt: skip


def execution_to_row(execution: Execution) -> Row:
    """A row in the order of the table's columns."""
    return (
        bytearray.fromhex(execution.job_id), execution.attempt, execution.worker_id, TEXTS[execution.status],
        to_ms(execution.started_at), to_ms(execution.finished_at), execution.duration_ms, execution.error_message,
        execution.traceback,
    )  # fmt: skip


def row_to_execution(row: Row) -> Execution:
    """The execution from columns in the order of the table."""
    job_id, attempt, worker_id, status, started_at, finished_at, duration_ms, error_message, traceback = row
    return Execution(
        execution_id=execution_id(job_id.hex(), attempt), job_id=job_id.hex(), attempt=attempt, worker_id=worker_id,
        status=ExecutionStatus(status), started_at=_at(started_at),
        finished_at=from_ms(finished_at), duration_ms=duration_ms, error_message=error_message, traceback=traceback,
    )  # fmt: skip


def output_to_row(output: Output) -> Row:
    """A row in the order of the table's columns."""
    told = output.progress
    progress = (None, None, None) if told is None else (told.fraction, told.note, to_ms(told.at))
    return (bytearray.fromhex(output.job_id), output.attempt, output.is_cut, *progress, output.text.encode())


def row_to_output(row: Row) -> Output:
    """The output from columns in the order of the table."""
    job_id, attempt, is_cut, fraction, note, told_at, text = row
    progress = None if told_at is None else Progress(fraction=fraction, note=note, at=_at(told_at))
    return Output(job_id=job_id.hex(), attempt=attempt, text=text.decode(), is_cut=bool(is_cut), progress=progress)
