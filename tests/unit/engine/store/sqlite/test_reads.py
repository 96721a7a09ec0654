"""What only SQLite's adapter promises: how much of the file it reads for an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobyard.engine.jobs.job import JobFilter, Status
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from tests.support.builders import a_job
from tests.support.claims import WORKER, claim
from tests.support.world import START

MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """With forty jobs whose payloads have a mebibyte each; what is in the cache of its connection is none of them."""
    path = tmp_path / "jobs.sqlite"
    prepare_file(path)
    payload = b'"' + b"x" * (MIB - 2) + b'"'
    filling = SqliteStore(path, durable=False, waiting=lambda waits: None)
    filling.insert([[a_job(payload=payload, max_retries=0) for _ in range(40)]])
    filling.close()
    store = SqliteStore(path, durable=False, waiting=lambda waits: None)
    yield store
    store.close()


def bytes_read(act: Callable[[], object]) -> int:
    """How much this process read from files meanwhile."""
    before = _read_so_far()
    act()
    return _read_so_far() - before


def _read_so_far() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


@pytest.mark.parametrize(
    "wanted",
    [
        JobFilter(status=Status.PENDING, queue="nothing"), JobFilter(status=Status.PENDING, task="nothing"),
        JobFilter(task="echo", queue="nothing"),
    ],
)  # fmt: skip
def test_a_list_passes_over_jobs_without_their_payloads(store: SqliteStore, wanted: JobFilter) -> None:
    assert bytes_read(lambda: store.list_jobs(wanted, limit=100)) < MIB


def test_due_jobs_are_listed_and_counted_without_their_payloads(store: SqliteStore) -> None:
    def look() -> None:
        assert len(store.due(now=START, limit=100)) == sum(store.count_due(now=START).counts) == 40

    assert bytes_read(look) < MIB


def test_jobs_to_take_back_are_read_without_their_payloads(store: SqliteStore) -> None:
    ids = [job.job_id for job in claim(store)]

    def look() -> None:
        assert len(store.held_by(WORKER, limit=100)) == len(store.find(ids, whole=False)) == 40

    assert bytes_read(look) < MIB
