"""The only module that converts values to and from SQLite rows: times are integer milliseconds since 1970, ids are 12 bytes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from jobyard.engine.jobs.job import Execution, ExecutionStatus, Job, Output, Progress, Status
from jobyard.engine.jobs.lifecycle import Change, execution_id

Row = Sequence[Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
JOB_COLUMNS = Job.__struct_fields__
STATUSES = {str(status): status for status in Status}
TEXTS: dict[str, str] = {status: status.value for status in (*Status, *ExecutionStatus)}
"""Statuses as plain `str`, since subclasses of `str` are slow to bind."""


def to_ms(at: datetime | None) -> int | None:
    """A time as stored."""
    return None if at is None else _ms(at)


def from_ms(ms: int | None) -> datetime | None:
    """A stored time."""
    return None if ms is None else _at(ms)


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


def job_to_row(job: Job) -> Row:
    """A row in the order of `JOB_COLUMNS`."""
    created_at = to_ms(job.created_at)
    return (
        bytearray.fromhex(job.job_id), job.task, job.payload, job.queue, job.priority, TEXTS[job.status], to_ms(job.scheduled_at),
        created_at, to_ms(job.updated_at), job.claimed_by, to_ms(job.claimed_at), to_ms(job.queued_at), job.locked_by,
        to_ms(job.locked_until), to_ms(job.last_run_at), to_ms(job.next_run_at), to_ms(job.finished_at), job.attempt, job.epoch,
        job.lost_count, job.retry_count, job.max_retries, job.timeout_s, job.idempotency_key, job.result, job.error,
        job.request_digest, to_ms(job.cancel_requested_at),
    )  # fmt: skip


def row_to_job(row: Row) -> Job:
    """The job from columns in the order of `JOB_COLUMNS`."""
    (
        job_id, task, payload, queue, priority, status, scheduled_at, created_at, updated_at, claimed_by, claimed_at, queued_at,
        locked_by, locked_until, last_run_at, next_run_at, finished_at, attempt, epoch, lost_count, retry_count, max_retries,
        timeout_s, idempotency_key, result, error, request_digest, cancel_requested_at,
    ) = row  # fmt: skip
    return Job(
        job_id=job_id.hex(), task=task, payload=payload, queue=queue, priority=priority, status=STATUSES[status],
        scheduled_at=_at(scheduled_at), created_at=_at(created_at),
        updated_at=_at(updated_at), claimed_by=claimed_by, claimed_at=from_ms(claimed_at),
        queued_at=from_ms(queued_at), locked_by=locked_by, locked_until=from_ms(locked_until), last_run_at=from_ms(last_run_at),
        next_run_at=from_ms(next_run_at), finished_at=from_ms(finished_at), attempt=attempt, epoch=epoch, lost_count=lost_count,
        retry_count=retry_count, max_retries=max_retries, timeout_s=timeout_s, idempotency_key=idempotency_key, result=result,
        error=error, request_digest=request_digest, cancel_requested_at=from_ms(cancel_requested_at),
    )  # fmt: skip


def change_to_row(change: Change) -> Row:
    """The change's new values, followed by its guard."""
    values = [_column(value) for value in change.fields.values()]
    return (*values, bytearray.fromhex(change.job_id), TEXTS[change.status], change.epoch)


def _column(value: Any) -> Any:
    kind = type(value)
    return _ms(value) if kind is datetime else TEXTS[value] if kind is Status else value


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
