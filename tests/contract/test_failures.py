"""Failed jobs by task and kind of error, and jobs by the kind of their error."""

from __future__ import annotations

from datetime import datetime, timedelta

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Status
from jobyard.engine.store.port import Store
from jobyard.engine.store.report_port import Failures
from tests.contract.test_apply import running
from tests.support.builders import a_job
from tests.support.world import START


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def failed(error: str, seconds: float = 0, **fields: object) -> Job:
    return a_job(status=Status.FAILED, error=error, finished_at=at(seconds), **fields)


def add(store: Store, *jobs: Job) -> None:
    """Each by itself: of a batch, all are new jobs."""
    store.insert([[job] for job in jobs])


def told(failures: list[Failures]) -> list[tuple[str, str, int, bool]]:
    return [(one.task, one.error_kind, one.count, one.is_exact) for one in failures]


def by_kind(store: Store, kind: str, **more: object) -> list[str]:
    return [job.job_id for job in store.list_jobs(JobFilter(error_kind=kind, **more), limit=9).jobs]  # type: ignore[arg-type]


def test_failures_are_grouped_by_task_and_kind_the_most_frequent_first(store: Store) -> None:
    add(
        store, failed("ValueError: no 7", 1), failed("KeyError: 'a'", 2), failed("ValueError: no 8", 3),
        failed("ValueError: no 9", 2), failed("ValueError: no 7", 5, task="mail"), a_job(error="ValueError: no 7"),
        a_job(status=Status.CANCELLED, error="ValueError: no 7", finished_at=START),
    )  # fmt: skip

    failures = store.reports.failures()

    assert told(failures) == [
        ("echo", "ValueError: no", 3, True), ("echo", "KeyError: 'a'", 1, True), ("mail", "ValueError: no", 1, True),
    ]  # fmt: skip
    assert (failures[0].first_at, failures[0].last_at) == (at(1), at(3))


def test_a_group_names_a_job_of_it(store: Store) -> None:
    jobs = [failed("no 1"), failed("no 2"), failed("yes 1")]
    add(store, *jobs)

    groups = {one.error_kind: one.example_job_id for one in store.reports.failures()}

    assert groups["no"] in {jobs[0].job_id, jobs[1].job_id} and groups["yes"] == jobs[2].job_id


def test_only_failures_at_that_time_or_later_count(store: Store) -> None:
    add(store, *(failed("a", seconds) for seconds in (1, 2, 3)))

    assert [sum(one.count for one in store.reports.failures(since=at(since))) for since in (0, 2, 3.5)] == [3, 2, 0]


def test_the_newest_are_counted_and_it_is_said_when_there_are_more(store: Store) -> None:
    add(store, *(failed("old", seconds) for seconds in range(3)), *(failed("new", 10 + seconds) for seconds in range(2)))

    assert told(store.reports.failures(look=4)) == [("echo", "new", 2, False), ("echo", "old", 2, False)]
    assert told(store.reports.failures(look=5)) == [("echo", "old", 3, True), ("echo", "new", 2, True)]
    assert told(store.reports.failures(since=at(10), look=2)) == [("echo", "new", 2, True)]


def test_no_more_groups_are_listed_than_asked_for(store: Store) -> None:
    add(store, *(failed(letter * (number + 1)) for number, letter in enumerate("xyz") for _ in range(number + 1)))

    assert [one.count for one in store.reports.failures(limit=2)] == [3, 2]


def test_there_are_no_failures_in_an_empty_database(store: Store) -> None:
    assert store.reports.failures() == []


def test_a_failure_appears_when_its_job_fails_and_leaves_with_a_retry(store: Store) -> None:
    job = running(store, max_retries=0)
    failure = lifecycle.settle(
        job, Outcome(status=ExecutionStatus.FAILED, error="IndexError: 12\nmore"), now=at(1), retry_base_s=1
    )  # fmt: skip
    assert store.apply([failure]) == [True]

    assert told(store.reports.failures()) == [("echo", "IndexError:", 1, True)]
    assert by_kind(store, "IndexError:") == [job.job_id]

    store.apply([lifecycle.retry(failure.after(job), now=at(2))])
    assert (store.reports.failures(), by_kind(store, "IndexError:")) == ([], [])


def test_jobs_are_found_by_the_kind_of_their_error(store: Store) -> None:
    waiting, other, ended = a_job(error="no 7"), a_job(error="yes"), failed("no 8", tags=("a",))
    add(store, waiting, other, ended, a_job())

    assert by_kind(store, "no") == [ended.job_id, waiting.job_id]
    assert by_kind(store, "no", status=Status.FAILED) == by_kind(store, "no", tag=("a",)) == [ended.job_id]
    assert store.count_jobs(JobFilter(error_kind="no", task="echo")).count == 2


def test_an_attempt_that_succeeds_ends_the_kind_of_an_earlier_error(store: Store) -> None:
    job = running(store, error="no 7")

    store.apply([lifecycle.settle(job, Outcome(status=ExecutionStatus.SUCCESS, result=b"1"), now=at(1), retry_base_s=1)])

    assert by_kind(store, "no") == []
