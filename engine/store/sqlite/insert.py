"""Inserts the jobs of one request, all or none, within the caller's transaction."""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.unique import Verdict, is_held
from jobyard.engine.store.port import Abandoned, Inserted, Insertion
from jobyard.engine.store.request_plan import Known, RequestPlan, plan_request
from jobyard.engine.store.sqlite import rows, statements


def insert_jobs(
    connection: sqlite3.Connection, jobs: Sequence[Job], is_abandoned: Callable[[], bool], deltas: Counter[str]
) -> Insertion:  # fmt: skip
    """The result of the request; see `Store.insert`. The numbers of new rows by status are added to `deltas`."""
    if not any(job.idempotency_key or job.held_key for job in jobs):
        if jobs and is_abandoned():
            return Abandoned()
        insert_new(connection, jobs, deltas)
        return Inserted(job_ids=[job.job_id for job in jobs])
    plan = plan_request(jobs, StoredKeys(connection))
    if not isinstance(plan, RequestPlan):
        return plan
    if plan.writes and is_abandoned():
        return Abandoned()
    _write(connection, plan, deltas)
    return plan.answer()


class StoredKeys:
    """See `Lookups`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run = connection.execute

    def known(self, key: str) -> Known | None:
        """See `Lookups`."""
        found = self._run(statements.FIND_BY_KEY, (key,)).fetchone()
        if found is None:
            return None
        job_id, digest, is_replaced = found
        return Known(job_id.hex(), digest, None if is_replaced is None else Verdict.REPLACE if is_replaced else Verdict.RETURN)

    def holder(self, key: str) -> Job | None:
        """See `Lookups`."""
        row = self._run(statements.FIND_HOLDER, (key,)).fetchone()
        return None if row is None else rows.row_to_job(row)

    def is_stored(self, job_id: str) -> bool:
        """See `Lookups`."""
        return self._run(statements.IS_STORED, (rows.to_blob(job_id),)).fetchone() is not None


def free_key(connection: sqlite3.Connection, key: str, now: datetime) -> Job | None:
    """See `Store.free_key`."""
    holder = StoredKeys(connection).holder(key)
    if holder is None or is_held(holder, now):
        return holder
    connection.execute(statements.DROP_KEY, (rows.to_blob(holder.job_id),))
    return None


def _write(connection: sqlite3.Connection, plan: RequestPlan, deltas: Counter[str]) -> None:
    for holder in plan.unique.dropped:
        connection.execute(statements.DROP_KEY, (rows.to_blob(holder.job_id),))
    insert_new(connection, plan.unique.fresh, deltas)
    for change in [replacing.change() for replacing in plan.unique.replacing.values()]:
        connection.execute(statements.change_job(tuple(change.fields), change.unless_cancelled), rows.change_to_row(change))
    for key, known in plan.remembered:
        values = (key, rows.to_blob(known.job_id), known.digest, known.verdict is Verdict.REPLACE)
        connection.execute(statements.REMEMBER_KEY, values)


def insert_new(connection: sqlite3.Connection, jobs: Sequence[Job], deltas: Counter[str]) -> None:
    """Insert the jobs that are not stored yet. Those that have any of the rare fields need a longer statement."""
    if not jobs:
        return
    if all(map(rows.is_plain, jobs)):
        deltas[Status.PENDING] += connection.executemany(statements.INSERT_PLAIN_JOB, map(rows.plain_job_to_row, jobs)).rowcount
        return
    for status, alike in itertools.groupby(jobs, key=lambda job: job.status):
        deltas[status] += connection.executemany(statements.INSERT_JOB, map(rows.job_to_row, alike)).rowcount
    connection.executemany(statements.STORE_TAGS, [(rows.to_blob(job.job_id),) for job in jobs if job.tags])
