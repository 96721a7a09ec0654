"""Removes jobs with all that is stored about them, within the caller's transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.store.sqlite import rows, statements

Run = Callable[..., Any]


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
    rest = (statements.PURGE_EXECUTIONS, statements.PURGE_OUTPUTS, statements.PURGE_REMEMBERED_KEYS, statements.PURGE_EDGES)
    for statement in rest:
        run(statement, (job_id,))
