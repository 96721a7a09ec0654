"""A page by tag, a purge and a report cost the same however many other jobs are stored: counted in steps of SQLite's machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from jobyard.engine.jobs.job import JobFilter, Status
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from tests.support.builders import a_job
from tests.support.world import START

FEW, MANY = 30, 6_000
LATER = START + timedelta(days=10)


def steps(store: SqliteStore, act: Callable[[], object]) -> int:
    """In tens."""
    seen: list[None] = []
    store._connection.set_progress_handler(lambda: seen.append(None), 10)
    act()
    store._connection.set_progress_handler(None, 0)
    return len(seen)


def a_store(folder: Path, others: int, **fields: object) -> SqliteStore:
    """With twenty jobs that have the tags `a` and `b` between so many others, of which all have `b`."""
    folder.mkdir()
    prepare_file(folder / "jobs.sqlite")
    store = SqliteStore(folder / "jobs.sqlite", durable=False, waiting=lambda waits: None)
    per_one = others // 20
    for number in range(20):
        at = START + timedelta(seconds=number)
        others_now = [a_job(tags=("b", "c"), created_at=at, **fields) for _ in range(per_one)]
        store.insert([[a_job(tags=("a", "b"), created_at=at), *others_now]])
    return store


@pytest.mark.parametrize(
    "wanted",
    [
        JobFilter(tag=("a",)), JobFilter(tag=("b",)), JobFilter(tag=("a", "b")), JobFilter(tag=("b", "a")),
        JobFilter(tag=("a",), task="echo"),
    ],
)  # fmt: skip
def test_a_page_by_tag_costs_the_same_among_many_jobs(tmp_path: Path, wanted: JobFilter) -> None:
    few, many = a_store(tmp_path / "few", FEW), a_store(tmp_path / "many", MANY)

    costs = [steps(store, lambda store=store: store.list_jobs(wanted, limit=10)) for store in (few, many)]

    assert len(many.list_jobs(wanted, limit=10).jobs) == 10
    assert costs[1] <= costs[0] + 2 * 100 * len(wanted.tag or ())  # beside the few hundred jobs of each tag that are counted


def test_failed_jobs_that_are_kept_longer_do_not_slow_down_the_purge(tmp_path: Path) -> None:
    kept = {"status": Status.FAILED, "error": "no", "finished_at": START - timedelta(days=1)}
    few, many = a_store(tmp_path / "few", FEW, **kept), a_store(tmp_path / "many", MANY, **kept)
    for store in (few, many):
        store.insert([[a_job(status=Status.COMPLETED, finished_at=START) for _ in range(5)]])

    costs = [
        steps(store, lambda store=store: store.purge(before=LATER, limit=10, statuses=(Status.COMPLETED, Status.CANCELLED)))
        for store in (few, many)
    ]

    assert many.counts()[Status.COMPLETED] == 0 and many.counts()[Status.FAILED] == MANY
    assert costs[1] <= 2 * costs[0]


def test_failures_are_grouped_without_looking_at_other_jobs(tmp_path: Path) -> None:
    few, many = a_store(tmp_path / "few", FEW), a_store(tmp_path / "many", MANY)
    for store in (few, many):
        store.insert([[a_job(status=Status.FAILED, error=f"no {number}", finished_at=START) for number in range(50)]])

    costs = [steps(store, lambda store=store: store.reports.failures()) for store in (few, many)]

    assert [one.count for one in many.reports.failures()] == [50]
    assert costs[1] <= costs[0] + 5
