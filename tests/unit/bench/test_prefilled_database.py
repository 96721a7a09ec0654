"""Databases with many jobs that were created by SQL are what the store itself would have written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobyard.engine.databases.open import DATABASE_FILE
from jobyard.engine.jobs.job import Status
from jobyard.engine.store.port import JobFilter
from jobyard.engine.store.sqlite.engine import sqlite3
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from tests.bench.growth import OPERATIONS, costs_us
from tests.bench.prefilled_database import create_database

JOBS = 200
SCHEMA = "SELECT type, name, sql FROM sqlite_master ORDER BY name"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_database(tmp_path / DATABASE_FILE, JOBS)
    return tmp_path / DATABASE_FILE


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path, durable=False, waiting=lambda waits: None)
    yield store
    store.close()


def test_one_of_ten_is_pending_and_the_others_are_completed(store: SqliteStore) -> None:
    counts = store.counts()

    assert (counts[Status.PENDING], counts[Status.COMPLETED], sum(counts.values())) == (20, 180, JOBS)
    assert [len(store.list_jobs(JobFilter(status=status), limit=1000).jobs) for status in counts] == list(counts.values())


def test_every_job_is_found_by_id_and_every_finished_one_has_its_execution(store: SqliteStore) -> None:
    listed = store.list_jobs(JobFilter(), limit=1000).jobs

    assert [job.job_id for job in listed] == [f"{number:024x}" for number in range(JOBS, 0, -1)]
    assert store.find([job.job_id for job in listed]) == listed
    assert [len(store.executions(job.job_id)) for job in listed] == [int(job.status is Status.COMPLETED) for job in listed]


def test_no_job_is_due_or_old_enough_to_be_purged(store: SqliteStore) -> None:
    now = datetime.now(UTC)

    due = store.next_due()
    assert due is not None and (due - now).days > 300
    assert store.purge(before=now - timedelta(days=3), limit=10) == 0


def test_tables_and_indexes_are_those_of_the_store(path: Path, tmp_path: Path) -> None:
    prepare_file(tmp_path / "fresh")

    stocked, fresh = (sqlite3.connect(str(file)).execute(SCHEMA).fetchall() for file in (path, tmp_path / "fresh"))

    assert stocked == fresh


def test_every_cost_is_measured_for_every_size_and_no_job_is_left_waiting(path: Path, store: SqliteStore) -> None:
    costs = costs_us({JOBS: path.parent}, rounds=1)

    assert list(costs) == [operation.name for operation in OPERATIONS]
    assert all(by_size[JOBS] > 0 for by_size in costs.values())
    assert not {status for status, jobs in store.counts().items() if jobs} - {Status.PENDING, Status.COMPLETED}
