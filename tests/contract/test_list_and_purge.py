"""Pages that stand still while jobs come, and the removal of what is old."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, JobFilter, Outcome, Status
from jobyard.engine.store.port import Store
from tests.contract.test_apply import running
from tests.support.builders import a_job
from tests.support.world import START

ALL = JobFilter()
LATER = START + timedelta(days=8)


def ids(store: Store, wanted: JobFilter = ALL, limit: int = 100, cursor: str | None = None) -> list[str]:
    return [job.job_id for job in store.list_jobs(wanted, limit=limit, cursor=cursor).jobs]


def test_the_newest_comes_first(store: Store) -> None:
    jobs = [a_job() for _ in range(3)]
    for job in jobs:
        store.insert([[job]])

    assert ids(store) == [job.job_id for job in reversed(jobs)]


def test_pages_neither_shift_nor_repeat_while_jobs_are_inserted(store: Store) -> None:
    jobs = [a_job() for _ in range(10)]
    store.insert([jobs])
    first = store.list_jobs(ALL, limit=4)

    store.insert([[a_job() for _ in range(5)]])
    second = store.list_jobs(ALL, limit=6, cursor=first.cursor)

    assert [job.job_id for job in first.jobs + second.jobs] == [job.job_id for job in reversed(jobs)]
    assert second.cursor is None


def test_a_full_last_page_says_that_it_is_the_last(store: Store) -> None:
    store.insert([[a_job(), a_job()]])

    assert store.list_jobs(ALL, limit=2).cursor is None
    assert store.list_jobs(ALL, limit=1).cursor is not None


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (JobFilter(task="mail"), 2), (JobFilter(queue="slow"), 1), (JobFilter(status=Status.PENDING), 4),
        (JobFilter(task="mail", queue="slow"), 1), (JobFilter(status=Status.FAILED), 0),
        (JobFilter(status=Status.PENDING, task="echo", queue="default"), 2), (JobFilter(task="' OR 1=1 --"), 0),
    ],
)  # fmt: skip
def test_filters_narrow_the_list(store: Store, wanted: JobFilter, count: int) -> None:
    store.insert([[a_job(task="mail"), a_job(task="mail", queue="slow"), a_job(), a_job()]])

    assert len(ids(store, wanted)) == count


@pytest.mark.parametrize("large", [{"payload": b'"' + b"x" * 1000 + b'"'}, {"result": b"1" * 1000}, {"error": "é" * 500}])
def test_a_page_ends_before_the_job_that_would_make_it_too_large(store: Store, large: dict[str, object]) -> None:
    store.insert([[a_job(**large) for _ in range(10)]])

    page = store.list_jobs(ALL, limit=10, max_bytes=2500)

    assert len(page.jobs) == 2
    assert len(ids(store, cursor=page.cursor)) == 8


def test_a_page_has_one_job_however_large_it_is(store: Store) -> None:
    store.insert([[a_job(payload=b'"' + b"x" * 1000 + b'"') for _ in range(2)]])

    page = store.list_jobs(ALL, limit=10, max_bytes=10)

    assert len(page.jobs) == 1
    assert len(store.list_jobs(ALL, limit=10, max_bytes=10, cursor=page.cursor).jobs) == 1


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1e3", "9" * 30, "１"])
def test_a_cursor_that_is_none_of_ours_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        store.list_jobs(ALL, limit=1, cursor=cursor)

    assert (told.value.code, told.value.field) == ("invalid_cursor", "cursor")


def test_old_ended_jobs_are_purged_with_their_executions_oldest_first(store: Store) -> None:
    older, younger = running(store), running(store)
    for number, job in enumerate((older, younger)):
        ended_at = START + timedelta(seconds=number)
        done = Outcome(status=ExecutionStatus.SUCCESS, result=b"1")
        store.apply([lifecycle.settle(job, done, now=ended_at, retry_base_s=10)])

    assert store.purge(before=LATER, limit=1) == 1

    assert store.find([older.job_id]) == [None]
    assert store.executions(older.job_id) == []
    assert store.counts()[Status.COMPLETED] == 1


def test_what_has_not_ended_or_is_young_is_never_purged(store: Store) -> None:
    running(store)
    store.insert([[a_job(scheduled_at=START - timedelta(days=400))]])

    assert store.purge(before=LATER, limit=10) == 0
    assert store.purge(before=START, limit=10) == 0


def test_a_job_that_was_given_another_try_is_no_longer_old(store: Store) -> None:
    job = a_job()
    store.insert([[job]])
    store.apply([lifecycle.cancel(job, now=START)])
    (cancelled,) = store.find([job.job_id])
    assert cancelled is not None
    store.apply([lifecycle.retry(cancelled, now=START)])

    assert store.purge(before=LATER, limit=10) == 0


def test_a_ping_says_which_database_answers(store: Store) -> None:
    assert store.ping()
