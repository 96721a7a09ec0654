"""Creates a database with any number of stored jobs in seconds: a few that the store itself wrote, multiplied by SQL.

Nine of ten are completed, with their execution; one of ten is pending and due in a year. The copies differ only in ids and times,
so this module knows no other columns: every row is what the store wrote for a template job.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from jobyard.engine.jobs.job import Execution, ExecutionStatus, Job, Status
from jobyard.engine.jobs.lifecycle import execution_id
from jobyard.engine.store.port import Record
from jobyard.engine.store.sqlite.engine import sqlite3
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore

PENDING_OF = 10
TABLES = ("jobs", "job_executions")
LATER = timedelta(days=365)
APART_MS = 7
SETTINGS = ("synchronous = OFF", "cache_size = -262144", "wal_autocheckpoint = 20000")
BYTES_A_JOB = 700
"""The most space per job while the indexes are built, rounded up."""

Run = Callable[..., Any]


def create_database(path: Path, jobs: int) -> None:
    """Create a database with this many jobs (a multiple of ten), the oldest first."""
    prepare_file(path)
    if not jobs:
        return
    _write_templates(path)
    with contextlib.closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        run = connection.execute
        for setting in SETTINGS:
            run(f"PRAGMA {setting}")
        with _without_indexes(run):
            run("BEGIN IMMEDIATE")
            for table in TABLES:
                _multiply(run, table, jobs // PENDING_OF - 1)
            run("UPDATE counts SET jobs = (SELECT COUNT(*) FROM jobs WHERE jobs.status = counts.status)")
            run("COMMIT")
        run("PRAGMA wal_checkpoint(TRUNCATE)")


def some_job(number: int, *, at: datetime, **fields: Any) -> Job:
    """A job as a client submits it, the smallest of the examples; ids rise with the number."""
    values: dict[str, Any] = {"task": "echo", "payload": b'"test job"', "scheduled_at": at, "created_at": at, "updated_at": at}
    return Job(job_id=f"{number:024x}", **(values | fields))


def _write_templates(path: Path) -> None:
    """Write ten template jobs: one pending, nine completed."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    watcher, worker = "box:0123456789abcdef:watcher-9001:1001", "box:0123456789abcdef:worker-7001:1002"
    records: list[Record] = []
    for number in range(1, PENDING_OF):
        job = some_job(
            number, at=at, status=Status.COMPLETED, claimed_by=watcher, claimed_at=at, queued_at=at, last_run_at=at,
            finished_at=at, attempt=1, epoch=3, result=b'"test job"',
        )  # fmt: skip
        execution = Execution(
            execution_id=execution_id(job.job_id, 1), job_id=job.job_id, attempt=1, worker_id=worker,
            status=ExecutionStatus.SUCCESS, started_at=at, finished_at=at, duration_ms=0,
        )  # fmt: skip
        records.append((job, [execution], []))
    pending = some_job(PENDING_OF, at=at)
    records.append((msgspec.structs.replace(pending, scheduled_at=at + LATER), [], []))
    store = SqliteStore(path, durable=False, waiting=lambda waits: None)
    store.write_records(records)
    store.close()


def _multiply(run: Run, table: str, times: int) -> None:
    """Copy the table's templates, each copy with an id of its own and later times than the one before.

    Template n has the id n, and those without an execution come last, so the copies in both tables have the same ids.
    """
    columns = run(f"PRAGMA table_info({table})").fetchall()
    keys = [(name, kind) for _, name, kind, _, _, key in columns if key]
    copied = [name for _, name, *_ in columns if keys != [(name, "INTEGER")]]  # such a key is the row number
    run(f"CREATE TEMP TABLE template AS SELECT *, ROW_NUMBER() OVER (ORDER BY job_id) AS place FROM {table}")
    values = ", ".join(_copied(name) for name in copied)
    run(
        f"""
        INSERT INTO {table} ({", ".join(copied)})
        WITH RECURSIVE copies (copy) AS (SELECT 1 WHERE ? > 0 UNION ALL SELECT copy + 1 FROM copies WHERE copy < ?)
        SELECT {values} FROM copies CROSS JOIN template ORDER BY copy, place
        """,
        (times, times),
    )
    run("DROP TABLE template")


def _copied(name: str) -> str:
    if name == "job_id":
        return f"unhex(printf('%024x', copy * {PENDING_OF} + place))"
    return f"{name} + copy * {APART_MS}" if name.endswith("_at") else name


@contextlib.contextmanager
def _without_indexes(run: Run) -> Iterator[None]:
    """Drop the indexes, and rebuild them afterwards from sorted keys, which is many times faster than row by row."""
    indexes = run("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").fetchall()
    for name, _ in indexes:
        run(f"DROP INDEX {name}")
    yield
    for _, statement in indexes:
        run(statement)
