"""Inserts the jobs of one request, all or none, within the caller's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from jobyard.engine.jobs.idempotency import is_same_request
from jobyard.engine.jobs.job import Job
from jobyard.engine.store.port import Abandoned, Inserted, Insertion, KeyTaken
from jobyard.engine.store.sqlite import rows, statements

Known = tuple[str, bytes | None]
"""The job with an idempotency key: its id and its request's digest."""


def insert_jobs(
    connection: sqlite3.Connection, jobs: Sequence[Job], is_abandoned: Callable[[], bool]
) -> tuple[Insertion, int]:  # fmt: skip
    """The result of the request and the number of new rows; see `Store.insert`."""
    job_ids: list[str] = []
    fresh: list[Job] = []
    own: dict[str, Known] = {}
    repeated = 0
    for index, job in enumerate(jobs):
        known = _find_by_key(connection, job.idempotency_key, own)
        if known is None:
            fresh.append(job)
            job_ids.append(job.job_id)
            if job.idempotency_key is not None:
                own[job.idempotency_key] = (job.job_id, job.request_digest)
            continue
        first_id, digest = known
        if not is_same_request(digest, job.request_digest):
            return KeyTaken(index=index, job_id=first_id), 0
        job_ids.append(first_id)
        repeated += first_id != job.job_id
    if fresh and is_abandoned():
        return Abandoned(), 0
    inserted = connection.executemany(statements.INSERT_JOB, map(rows.job_to_row, fresh)).rowcount if fresh else 0
    return Inserted(job_ids=job_ids, repeated=repeated), inserted


def _find_by_key(connection: sqlite3.Connection, key: str | None, own: dict[str, Known]) -> Known | None:
    if key is None:
        return None
    if key in own:
        return own[key]
    found = connection.execute(statements.FIND_BY_KEY, (key,)).fetchone()
    return None if found is None else (found[0].hex(), found[1])
