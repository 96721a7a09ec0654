"""What is due, by task and queue, and since when."""

from __future__ import annotations

from datetime import datetime, timedelta

from jobyard.engine.jobs.job import Status
from jobyard.engine.store.port import Store
from jobyard.engine.store.report_port import DueJobs
from tests.contract.test_limits import put
from tests.support.builders import a_job
from tests.support.world import START


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def told(due: list[DueJobs]) -> list[tuple[str, str, int, float, bool]]:
    return [(one.task, one.queue, one.count, (one.oldest_at - START).total_seconds(), one.is_exact) for one in due]


def test_due_jobs_are_counted_by_task_and_queue_with_the_oldest_of_each(store: Store) -> None:
    store.insert([[
        a_job(task="mail", scheduled_at=at(3)), a_job(task="mail", scheduled_at=at(1), priority=9),
        a_job(task="mail", queue="slow", scheduled_at=at(2)), a_job(scheduled_at=at(4)), a_job(scheduled_at=at(60)),
    ]])  # fmt: skip

    due = store.reports.due_by_task(now=at(10))

    assert told(due) == [("echo", "default", 1, 4, True), ("mail", "default", 2, 1, True), ("mail", "slow", 1, 2, True)]
    assert told(store.reports.due_by_task(now=at(3))) == [("mail", "default", 2, 1, True), ("mail", "slow", 1, 2, True)]


def test_only_pending_jobs_are_due(store: Store) -> None:
    store.insert([[a_job(status=status)] for status in Status])

    assert [one.count for one in store.reports.due_by_task(now=START)] == [1]


def test_jobs_that_a_limit_holds_are_due_too(store: Store) -> None:
    put(store, "stripe", max_running=1)
    limited = {"limit": ("stripe",)}
    in_lanes = [a_job(scheduled_at=at(-5), **limited), a_job(queue="q", **limited), a_job(scheduled_at=at(9), **limited)]
    store.insert([[a_job(), *in_lanes]])

    assert told(store.reports.due_by_task(now=START)) == [("echo", "default", 2, -5, True), ("echo", "q", 1, 0, True)]


def test_it_is_said_when_there_may_be_more(store: Store) -> None:
    store.insert([[a_job(task=task, scheduled_at=at(-number)) for number, task in enumerate("aaaaabbc")]])

    due = store.reports.due_by_task(now=START, look=3)

    assert [(one.task, one.is_exact) for one in due] == [("a", False), ("b", True), ("c", True)]
    assert [one.count for one in due] == [3, 2, 1]


def test_nothing_is_due_in_an_empty_database(store: Store) -> None:
    assert store.reports.due_by_task(now=START) == []
