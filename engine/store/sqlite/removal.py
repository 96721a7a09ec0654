"""Removes jobs with all that is stored about them, within the caller's transaction, and groups the failed ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.store.port import Failures
from jobyard.engine.store.sqlite import rows, statements

Run = Callable[..., Any]
FIRST_MS = -(1 << 62)


def is_any_old(run: Run, before: datetime, statuses: Sequence[Status]) -> bool:
    """Whether a purge would remove anything."""
    return any(_purgeable(run, before, status, 1) for status in statuses)


def purge(run: Run, before: datetime, limit: int, statuses: Sequence[Status], deltas: Counter[str]) -> int:
    """See `Store.purge`."""
    purged = 0
    for status in statuses:
        for seq, job_id, _ in _purgeable(run, before, status, limit - purged):
            run(statements.PURGE_JOB, (seq, rows.to_ms(before)))
            _remove_rest(run, job_id)
            deltas[status] -= 1
            purged += 1
    return purged


def delete(run: Run, jobs: Sequence[Job], deltas: Counter[str]) -> list[bool]:
    """See `Store.delete`."""
    return [_delete(run, job, deltas) for job in jobs]


def _delete(run: Run, job: Job, deltas: Counter[str]) -> bool:
    job_id = rows.to_blob(job.job_id)
    if run(statements.DELETE_JOB, (job_id, rows.TEXTS[job.status], job.epoch)).rowcount != 1:
        return False
    _remove_rest(run, job_id)
    deltas[job.status] -= 1
    return True


def _purgeable(run: Run, before: datetime, status: Status, limit: int) -> list[rows.Row]:
    found: list[rows.Row] = run(statements.PURGEABLE, (rows.to_ms(before), limit, rows.TEXTS[status])).fetchall()
    return found


def _remove_rest(run: Run, job_id: bytes | bytearray) -> None:
    for statement in (statements.PURGE_EXECUTIONS, statements.PURGE_OUTPUTS, statements.PURGE_REMEMBERED_KEYS):
        run(statement, (job_id,))


def failures(run: Run, since: datetime | None, look: int, limit: int) -> list[Failures]:
    """See `Store.failures`."""
    since_ms = FIRST_MS if since is None else rows.to_ms(since)
    found = run(statements.FAILURES, (since_ms, look, limit)).fetchall()
    is_exact = run(statements.HAS_MORE_FAILURES, (since_ms, look)).fetchone() is None
    ids = {seq: job_id.hex() for seq, job_id in run(statements.JOB_IDS, (json.dumps([row[-1] for row in found]),))}
    return [
        Failures(
            task=task, error_kind=kind, count=count, first_at=_time(first), last_at=_time(last), example_job_id=ids[seq],
            is_exact=is_exact,
        )
        for task, kind, count, first, last, seq in found
    ]  # fmt: skip


def _time(ms: int) -> datetime:
    return rows.EPOCH + ms * rows.MILLISECOND
