"""Every statement of the SQLite store, complete and named. `schema.sql` defines the index that each one needs."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

from jobyard.engine.jobs.owners import AFTER_HTTP, HTTP
from jobyard.engine.store.sqlite.engine import sqlite3
from jobyard.engine.store.sqlite.rows import BEGUN_COLUMNS, JOB_COLUMNS, NEW_COLUMNS, NEW_NUMBERS, READ_COLUMNS, settings_of

_ALL = ", ".join(READ_COLUMNS)
_SMALL = ", ".join({"payload": "x'6E756C6C'", "result": "NULL"}.get(name, name) for name in READ_COLUMNS)
SMALL = _SMALL
_HELD = "status IN ('claimed', 'queued', 'running')"
_HOLDER = "COALESCE(locked_by, claimed_by)"

_INSERT = "INSERT INTO jobs ({columns}) VALUES ({values}) ON CONFLICT (job_id) DO NOTHING"
INSERT_JOB = _INSERT.format(columns=", ".join(JOB_COLUMNS), values=", ".join("?" for _ in JOB_COLUMNS))
INSERT_NEW_JOB = _INSERT.format(
    columns=", ".join((*NEW_COLUMNS, *NEW_NUMBERS)), values=", ".join([*("?" for _ in NEW_COLUMNS), *("0" for _ in NEW_NUMBERS)])
)
FIND_BY_KEY = """
    SELECT job_id, request_digest, NULL FROM jobs WHERE idempotency_key = ?1
    UNION ALL SELECT job_id, request_digest, is_replaced FROM remembered_keys WHERE idempotency_key = ?1
"""
REMEMBER_KEY = "INSERT OR IGNORE INTO remembered_keys VALUES (?, ?, ?, ?)"
FIND_HOLDER = f"SELECT {_SMALL} FROM jobs WHERE held_key = ?"
FIND_HOLDERS = f"SELECT {_SMALL} FROM jobs WHERE held_key IN (SELECT value FROM json_each(?))"
IS_STORED = "SELECT 1 FROM jobs WHERE job_id = ?"
DROP_KEY = "UPDATE jobs SET held_key = NULL WHERE job_id = ?"
NEXT_RECORDS = f"SELECT seq, {_ALL} FROM jobs WHERE seq > ? ORDER BY seq LIMIT ?"

COUNTS = "SELECT status, jobs FROM counts"
COUNT_ON = "UPDATE counts SET jobs = jobs + ? WHERE status = ?"

_IN_LINE = "status = 'pending' AND lane IS NULL"
HAS_QUEUE_INDEX = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'jobs_due_in_queues'"
MAKE_QUEUE_INDEX = f"""
    CREATE INDEX IF NOT EXISTS jobs_due_in_queues ON jobs (queue, task, priority, scheduled_at, seq) WHERE {_IN_LINE}
"""
DROP_QUEUE_INDEX = "DROP INDEX IF EXISTS jobs_due_in_queues"
"""Only a host with `QUEUES` needs it; without, it would cost each job a little."""

GIVE_UP_KEY = "UPDATE jobs SET held_key = NULL WHERE seq = ?"
"""At a job's first begin, see `lifecycle.given_up_by_begin`."""
LIVING_FIRES = f"""
    SELECT {_SMALL} FROM jobs INDEXED BY jobs_living_fires WHERE schedule = ? AND fire_at IS NOT NULL AND finished_at IS NULL
"""

_BY_HOLDER = f"FROM jobs INDEXED BY jobs_by_status WHERE {_HELD} AND {_HOLDER} = ?"
HELD_BY = f"SELECT {_SMALL} {_BY_HOLDER} AND job_id > ? ORDER BY job_id LIMIT ?"
HOLDS_LOST = f"SELECT 1 {_BY_HOLDER} AND lost_count >= ? LIMIT 1"
HOLDERS = f"SELECT DISTINCT {_HOLDER} FROM jobs INDEXED BY jobs_by_status WHERE {_HELD}"
CANCEL_REQUESTS = f"SELECT job_id {_BY_HOLDER} AND cancel_requested_at IS NOT NULL"

HTTP_LEASES = f"""
    SELECT job_id, epoch, locked_by, locked_until, updated_at, last_run_at, timeout_s FROM jobs INDEXED BY jobs_by_status
    WHERE status = 'running' AND locked_by > '{HTTP}' AND locked_by < '{AFTER_HTTP}'
"""
LIVING = """
    SELECT 1 FROM jobs INDEXED BY jobs_by_status
    WHERE status IN ('blocked', 'pending', 'claimed', 'queued', 'running') AND task = ? LIMIT 1
"""

EXPIRED = f"SELECT {_SMALL} FROM jobs INDEXED BY jobs_lapsing WHERE lapses_at <= ? ORDER BY lapses_at LIMIT ?"
NEXT_EXPIRY = "SELECT MIN(lapses_at) FROM jobs INDEXED BY jobs_lapsing WHERE lapses_at IS NOT NULL"

STORE_EXECUTION = "INSERT OR REPLACE INTO job_executions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
EXECUTIONS = """
    SELECT job_id, attempt, locked_by AS worker_id, 'running' AS status, last_run_at AS started_at, NULL, NULL, NULL, NULL
    FROM jobs WHERE job_id = ?1 AND status = 'running'
    UNION ALL SELECT * FROM job_executions WHERE job_id = ?1
    ORDER BY attempt DESC
"""

STORE_OUTPUT = "INSERT OR REPLACE INTO job_outputs VALUES (?, ?, ?, ?, ?, ?, ?)"
OUTPUTS = "SELECT * FROM job_outputs WHERE job_id = ? ORDER BY attempt DESC"

_IS_READ = """
    is_awaited IS NOT NULL AND EXISTS (
        SELECT 1 FROM edges JOIN jobs AS waiter ON waiter.job_id = edges.job_id
        WHERE edges.dependency IN (lower(hex(jobs.job_id)), 'group:' || jobs.group_name) AND waiter.finished_at IS NULL
    )
"""
"""A living job waits for the job, or may read its result."""
_IS_KEPT = f"""
    {_IS_READ} OR EXISTS (
        SELECT 1 FROM jobs AS member INDEXED BY jobs_living_members
        WHERE member.group_name = jobs.group_name AND member.group_name IS NOT NULL AND member.finished_at IS NULL
    )
"""
"""Or its group lives."""
PURGEABLE = f"""
    SELECT * FROM (
        SELECT seq, job_id, status FROM jobs INDEXED BY jobs_finished
        WHERE status = ?3 AND finished_at < ?1 AND held_key IS NULL AND NOT ({_IS_KEPT}) ORDER BY finished_at LIMIT ?2
    )
    UNION ALL SELECT seq, job_id, status FROM jobs INDEXED BY jobs_finished_with_key
    WHERE held_until < ?1 AND finished_at < ?1 AND held_key IS NOT NULL AND status = ?3 AND NOT ({_IS_KEPT})
    LIMIT ?2
"""
PURGE_JOB = "DELETE FROM jobs WHERE seq = ? AND finished_at < ?"
DELETE_JOB = f"DELETE FROM jobs WHERE job_id = ? AND status = ? AND epoch = ? AND finished_at IS NOT NULL AND NOT ({_IS_READ})"
PURGE_EXECUTIONS = "DELETE FROM job_executions WHERE job_id = ?"
PURGE_REMEMBERED_KEYS = "DELETE FROM remembered_keys WHERE job_id = ?"
PURGE_OUTPUTS = "DELETE FROM job_outputs WHERE job_id = ?"
PURGE_EDGES = "DELETE FROM edges WHERE job_id = ?"

STORE_TAGS = "INSERT OR IGNORE INTO job_tags SELECT value, created_at, seq FROM jobs, json_each(tags) WHERE job_id = ?"
"""For a new job; the triggers of the schema follow what becomes of it."""

COUNT_TAG = "SELECT COUNT(*) FROM (SELECT 1 FROM job_tags WHERE tag = ? LIMIT ?)"
_LIST_INDEXES = {
    "unique_key": "jobs_by_unique_key", "schedule": "jobs_by_schedule", "group": "jobs_by_group",
    "error_kind": "jobs_by_error_kind", "status": "jobs_by_status", "task": "jobs_by_task", "queue": "jobs_by_queue",
}  # fmt: skip
TAG = "tag_"
"""The filters by tags are `tag_0`, `tag_1` and so on."""
_HAS_TAG = "EXISTS (SELECT 1 FROM job_tags AS of WHERE of.tag = :{} AND of.made_at = created_at AND of.job_seq = seq)"


class Due(NamedTuple):
    """Queries on the pending jobs of one group, the jobs of one priority that the index has side by side.

    `next_group`: the group after a key, and when its first job is due. The others take the group's key and, if the index does not
    begin with the queue, the served queues: what a claim must know of the due jobs; these jobs, to be listed; the number of those
    examined and of those that match, due by a time, or due before a job.
    """

    next_group: str
    claimable: str
    listed: str
    counted: str
    counted_before: str


@functools.cache
def due(by_queue: bool, among_queues: bool, except_queues: bool = False) -> Due:
    """`by_queue`: with the index that begins with the queue; `among_queues`: of the queues in a JSON array only; `except_queues`:
    of none of the queues in a further one."""
    index, key = ("jobs_due_in_queues", ("queue", "task", "priority")) if by_queue else ("jobs_due", ("task", "priority"))
    of_group = f"FROM jobs INDEXED BY {index} WHERE {_IN_LINE} AND " + " AND ".join(f"{name} = ?" for name in key)
    among = ["queue IN (SELECT value FROM json_each(?))"] if among_queues else []
    among += ["queue NOT IN (SELECT value FROM json_each(?))"] if except_queues else []
    fits = " AND ".join(among) or "TRUE"
    of_fitting = f"{of_group} AND {fits} AND scheduled_at <= ?"
    looked = f"SELECT COUNT(*), COALESCE(SUM(fits), 0) FROM (SELECT {fits} AS fits {{}} LIMIT ?)"
    return Due(
        next_group=_next_group(index, key),
        claimable=f"""
            SELECT scheduled_at, seq, task, lost_count, length(payload) {of_fitting} AND lost_count < COALESCE(?, 1 << 32)
                AND (lapses_at IS NULL OR lapses_at > ?)
            ORDER BY scheduled_at, seq LIMIT ?
        """,
        listed=f"SELECT scheduled_at, seq, {_SMALL} {of_fitting} ORDER BY scheduled_at, seq LIMIT ?",
        counted=looked.format(f"{of_group} AND scheduled_at <= ?"),
        counted_before=looked.format(f"{of_group} AND (scheduled_at, seq) < (?, (SELECT seq FROM jobs WHERE job_id = ?))"),
    )


@functools.cache
def claim(count: int) -> str:
    """T2 to T4 for `count` pending jobs by their `seq`, under the commit lock: nobody has changed them since they were chosen."""
    return f"""
        UPDATE jobs SET status = 'running', epoch = epoch + 2, attempt = attempt + 1, claimed_by = ?1, claimed_at = ?2,
            queued_at = ?2, updated_at = ?2, locked_by = ?3, locked_until = ?4, last_run_at = ?2, next_run_at = NULL,
            lapses_at = NULL
        WHERE seq IN ({", ".join(f"?{number}" for number in range(5, 5 + count))}) RETURNING seq, {", ".join(BEGUN_COLUMNS)}
    """


def _next_group(index: str, key: tuple[str, ...]) -> str:
    """The next priority of the task, or else the first of the next task.

    SQLite would begin `(task, priority) > (?, ?)` at the first row that is equal, and so read the whole group.
    """
    *queue, task, priority = (f"{name} = ?{number}" for number, name in enumerate(key, 1))
    selected = f"SELECT {', '.join(key)}, scheduled_at FROM jobs INDEXED BY {index} WHERE {' AND '.join([_IN_LINE, *queue])}"
    of_task = f"{selected} AND {task} AND {priority.replace('=', '>')} ORDER BY priority, scheduled_at LIMIT 1"
    of_next_task = f"{selected} AND {task.replace('=', '>')} ORDER BY task, priority, scheduled_at LIMIT 1"
    return f"SELECT * FROM ({of_task}) UNION ALL SELECT * FROM ({of_next_task}) LIMIT 1"


@functools.cache
def find(count: int, whole: bool) -> str:
    """Select `count` jobs by id; the rows of one commit are mostly adjacent."""
    return f"SELECT {_ALL if whole else _SMALL} FROM jobs WHERE job_id IN ({', '.join('?' * count)})"


@functools.cache
def change_job(fields: tuple[str, ...], unless_cancelled: bool, unless_extended: bool = False) -> str:
    """The guarded update of one verb; the field names come from the lifecycle, never from a client."""
    also = "AND cancel_requested_at IS NULL" if unless_cancelled else ""
    also += " AND locked_until = ?" if unless_extended else ""
    return f"UPDATE jobs SET {settings_of(fields)} WHERE job_id = ? AND status = ? AND epoch = ? {also}"


@functools.cache
def find_unended(count: int) -> str:
    """Of `count` ids, those whose jobs exist and have not ended."""
    ids = ", ".join("?" * count)
    return f"SELECT job_id FROM jobs WHERE job_id IN ({ids}) AND status IN ('blocked', 'pending', 'claimed', 'queued', 'running')"


@functools.cache
def list_jobs(named: tuple[str, ...], *, whole: bool) -> str:
    """Candidates for a page, newest first, after a position: whether each matches all filters and, if so, its large columns."""
    fits = _fits(named)
    large = {"payload": "x'6E756C6C'", "result": "NULL"}
    columns = ", ".join(
        f"CASE WHEN {fits} THEN {name if whole else large[name]} END" if name in large else name for name in READ_COLUMNS
    )
    at, seq = _place(named)
    return f"SELECT seq, {fits}, {columns} {_newest_first(named)} ORDER BY {at} DESC, {seq} DESC"


@functools.cache
def count_jobs(named: tuple[str, ...]) -> str:
    """The number of candidates examined and how many of them match."""
    return f"SELECT COUNT(*), COALESCE(SUM(fits), 0) FROM (SELECT {_fits(named)} AS fits {_newest_first(named)} LIMIT :look)"


def _newest_first(named: tuple[str, ...]) -> str:
    """The first filter selects the index, so a rare status is found at once among millions."""
    at, seq = _place(named)
    since = f"({at}, {seq}) < (:at, :seq) AND {at} >= :after"
    if named and named[0].startswith(TAG):
        return f"FROM job_tags CROSS JOIN jobs ON seq = job_seq WHERE tag = :{named[0]} AND {since}"
    index, first = (_LIST_INDEXES[named[0]], f"{_column(named[0])} = :{named[0]} AND") if named else ("jobs_newest", "")
    return f"FROM jobs INDEXED BY {index} WHERE {first} {since}"


def _place(named: tuple[str, ...]) -> tuple[str, str]:
    """The columns of the order of a list, in the table whose index yields the candidates."""
    return ("made_at", "job_seq") if named and named[0].startswith(TAG) else ("created_at", "seq")


def _fits(named: tuple[str, ...]) -> str:
    return " AND ".join(map(_fit, named[1:])) or "TRUE"


def _fit(name: str) -> str:
    return _HAS_TAG.format(name) if name.startswith(TAG) else f"{_column(name)} = :{name}"


def _column(name: str) -> str:
    return "group_name" if name == "group" else name


def split_script(script: str) -> Iterable[str]:
    """The statements of a schema or upgrade script, without comments."""
    lines = (line for line in script.split("\n") if not line.startswith("--"))
    statement = ""
    for part in "\n".join(lines).split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):  # a trigger's has further semicolons
            if part.strip():
                yield statement
            statement = ""
