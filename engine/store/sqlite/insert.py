"""Inserts the jobs of one request, all or none, within the caller's transaction."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence

from jobyard.engine.jobs.idempotency import is_same_request
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.store.port import Abandoned, Inserted, Insertion, KeyTaken
from jobyard.engine.store.sqlite import rows, statements

Known = tuple[str, bytes | None]
"""The job with an idempotency key: its id and its request's digest."""


def insert_jobs(
    connection: sqlite3.Connection, jobs: Sequence[Job], is_abandoned: Callable[[], bool], deltas: Counter[str]
) -> Insertion:  # fmt: skip
    """The result of the request; see `Store.insert`. The numbers of new rows by status are added to `deltas`."""
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
            return KeyTaken(index=index, job_id=first_id)
        job_ids.append(first_id)
        repeated += first_id != job.job_id
    if fresh and is_abandoned():
        return Abandoned()
    insert_new(connection, fresh, deltas)
    return Inserted(job_ids=job_ids, repeated=repeated)


def insert_new(connection: sqlite3.Connection, jobs: Sequence[Job], deltas: Counter[str]) -> None:
    """Insert the jobs that are not stored yet. Those that have any of the rare fields need a longer statement."""
    if not jobs:
        return
    if all(map(rows.is_plain, jobs)):
        deltas[Status.PENDING] += connection.executemany(statements.INSERT_PLAIN_JOB, map(rows.plain_job_to_row, jobs)).rowcount
        return
    for status, alike in itertools.groupby(jobs, key=lambda job: job.status):
        deltas[status] += connection.executemany(statements.INSERT_JOB, map(rows.job_to_row, alike)).rowcount


def _find_by_key(connection: sqlite3.Connection, key: str | None, own: dict[str, Known]) -> Known | None:
    if key is None:
        return None
    if key in own:
        return own[key]
    found = connection.execute(statements.FIND_BY_KEY, (key,)).fetchone()
    return None if found is None else (found[0].hex(), found[1])
