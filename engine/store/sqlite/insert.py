"""Inserts the jobs of one request, all or none, within the caller's transaction."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.unique import Verdict, is_held
from jobyard.engine.store.port import Abandoned, Inserted, Insertion
from jobyard.engine.store.request_plan import Known, RequestPlan, plan_request, status_of
from jobyard.engine.store.sqlite import rows, statements
from jobyard.engine.store.sqlite.lanes import SqliteLanes
from jobyard.engine.store.sqlite.workflows import INSERT_EDGE, SqliteWorkflows, edges_of


def insert_jobs(
    connection: sqlite3.Connection, workflows: SqliteWorkflows, jobs: Sequence[Job], is_abandoned: Callable[[], bool], *,
    deltas: Counter[str], lanes: SqliteLanes,
) -> Insertion:  # fmt: skip
    """The result of the request; see `Store.insert`. The numbers of new rows by status are added to `deltas`."""
    if not any(job.idempotency_key or job.held_key or job.after or job.group for job in jobs):
        if jobs and is_abandoned():
            return Abandoned()
        accepted = lanes.accept(jobs)
        insert_new(connection, accepted, deltas)
        return Inserted(job_ids=[job.job_id for job in jobs], status=status_of(accepted))
    keys = [job.held_key for job in jobs if job.held_key is not None]
    plan = plan_request(jobs, StoredKeys(connection, keys), workflows)
    if not isinstance(plan, RequestPlan):
        return plan
    if plan.writes and is_abandoned():
        return Abandoned()
    status = _write(connection, plan, deltas, lanes)
    workflows.await_now(plan.waiting.awaited)
    return msgspec.structs.replace(plan.answer(), status=status)


class StoredKeys:
    """See `Lookups`."""

    def __init__(self, connection: sqlite3.Connection, keys: Sequence[str] = ()) -> None:
        """`keys`: the unique keys whose holders will be asked for, which are found in one query."""
        self._run = connection.execute
        self._asked = frozenset(keys)
        found = self._run(statements.FIND_HOLDERS, (json.dumps(keys),)) if keys else ()
        self._holders = {job.held_key: job for job in map(rows.row_to_job, found)}

    def known(self, key: str) -> Known | None:
        """See `Lookups`."""
        found = self._run(statements.FIND_BY_KEY, (key,)).fetchone()
        if found is None:
            return None
        job_id, digest, is_replaced = found
        return Known(job_id.hex(), digest, None if is_replaced is None else Verdict.REPLACE if is_replaced else Verdict.RETURN)

    def holder(self, key: str) -> Job | None:
        """See `Lookups`."""
        if key in self._asked:
            return self._holders.get(key)
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


def _write(connection: sqlite3.Connection, plan: RequestPlan, deltas: Counter[str], lanes: SqliteLanes) -> Status:
    """The status of the last new job."""
    for holder in plan.unique.dropped:
        connection.execute(statements.DROP_KEY, (rows.to_blob(holder.job_id),))
    accepted = lanes.accept(plan.unique.fresh)
    insert_new(connection, accepted, deltas)
    replacing = [replacing.change() for replacing in plan.unique.replacing.values()]
    for change in replacing:
        connection.execute(statements.change_job(tuple(change.fields), change.unless_cancelled), rows.change_to_row(change))
    lanes.follow(replacing)
    for key, known in plan.remembered:
        values = (key, rows.to_blob(known.job_id), known.digest, known.verdict is Verdict.REPLACE)
        connection.execute(statements.REMEMBER_KEY, values)
    return status_of(accepted)


def insert_new(connection: sqlite3.Connection, jobs: Sequence[Job], deltas: Counter[str]) -> None:
    """Insert the jobs that are not stored yet. Those that have any of the rare fields need a longer statement."""
    if not jobs:
        return
    if all(map(rows.is_new, jobs)):
        deltas[Status.PENDING] += connection.executemany(statements.INSERT_NEW_JOB, map(rows.new_job_to_row, jobs)).rowcount
        return
    for status, alike in itertools.groupby(jobs, key=lambda job: job.status):
        deltas[status] += connection.executemany(statements.INSERT_JOB, map(rows.job_to_row, alike)).rowcount
    connection.executemany(INSERT_EDGE, [edge for job in jobs if job.after is not None for edge in edges_of(job)])
    connection.executemany(statements.STORE_TAGS, [(rows.to_blob(job.job_id),) for job in jobs if job.tags])
