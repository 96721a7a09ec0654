"""Tags: found by, together with other filters, and followed through every change of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobyard.engine.jobs import edits, lifecycle
from jobyard.engine.jobs.job import Job, JobFilter, Status, Unique
from jobyard.engine.store.port import Store
from tests.support.builders import a_job
from tests.support.world import START


def found(store: Store, *tags: str, **more: object) -> list[str]:
    wanted = JobFilter(tag=tags, **more)  # type: ignore[arg-type]
    return [job.job_id for job in store.list_jobs(wanted, limit=100).jobs]


def test_tags_come_back_with_their_job(store: Store) -> None:
    tagged, plain = a_job(tags=("a", "b:1")), a_job()
    store.insert([[tagged, plain]])

    assert store.find([tagged.job_id, plain.job_id]) == [tagged, plain]


def test_jobs_are_found_by_a_tag_newest_first(store: Store) -> None:
    jobs = [a_job(tags=("a",) if number % 2 else ("b",), created_at=START + timedelta(seconds=number // 3)) for number in range(9)]
    store.insert([[*jobs, a_job()]])

    assert found(store, "a") == [job.job_id for job in reversed(jobs) if job.tags == ("a",)]
    assert found(store, "A") == found(store, "c") == []


def test_several_tags_select_the_jobs_that_have_all_of_them(store: Store) -> None:
    both = a_job(tags=("a", "b", "c"))
    store.insert([[a_job(tags=("a",)), both, a_job(tags=("b", "c"))]])

    assert found(store, "a", "b") == found(store, "c", "b", "a") == [both.job_id]
    assert store.count_jobs(JobFilter(tag=("b", "c"))).count == 2


@pytest.mark.parametrize(
    ("more", "count"),
    [
        ({"task": "mail"}, 2), ({"queue": "slow"}, 1), ({"status": Status.PENDING, "task": "mail", "queue": "slow"}, 1),
        ({"text": "needle"}, 1), ({"created_after": START + timedelta(seconds=1)}, 1), ({"created_before": START}, 0),
        ({"unique_key": "mail/1"}, 1), ({"unique_key": "mail/2"}, 0),
    ],
)  # fmt: skip
def test_tags_narrow_what_other_filters_select(store: Store, more: dict[str, object], count: int) -> None:
    store.insert([[
        a_job(tags=("a", "b"), task="mail", payload=b'"needle"'), a_job(tags=("a",), task="mail", payload=b'"needle"'),
        a_job(tags=("a", "b"), task="mail", queue="slow", created_at=START + timedelta(seconds=1)), a_job(tags=("b",)),
        a_job(tags=("a", "b"), unique_key="mail/1", unique=Unique()),
    ]])  # fmt: skip

    assert len(found(store, "a", "b", **more)) == count == store.count_jobs(JobFilter(tag=("b", "a"), **more)).count  # type: ignore[arg-type]


def test_pages_by_tag_lead_on(store: Store) -> None:
    jobs = [a_job(tags=("a",)) for _ in range(7)]
    store.insert([[job for one in jobs for job in (one, a_job(tags=("b",)))]])
    wanted = JobFilter(tag=("a",))

    first = store.list_jobs(wanted, limit=3)
    second = store.list_jobs(wanted, limit=5, cursor=first.cursor)

    assert [job.job_id for job in first.jobs + second.jobs] == [job.job_id for job in reversed(jobs)]
    assert (first.cursor is None, second.cursor) == (False, None)


def retagged(store: Store, job: Job, *tags: str) -> Job:
    change = edits.retag(job, tags, now=START + timedelta(seconds=1))
    assert store.apply([change]) == [True]
    return change.after(job)


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.COMPLETED])
def test_new_tags_take_the_place_of_the_old_ones(store: Store, status: Status) -> None:
    job = a_job(tags=("a", "b"), status=status)
    store.insert([[job]])

    after = retagged(store, job, "b", "c")

    assert store.find([job.job_id]) == [after]
    assert (found(store, "a"), found(store, "b"), found(store, "c")) == ([], [job.job_id], [job.job_id])
    assert after.epoch == job.epoch


def test_all_tags_can_be_taken_away_and_given_to_a_job_without_any(store: Store) -> None:
    tagged, plain = a_job(tags=("a",)), a_job()
    store.insert([[tagged, plain]])

    removed, given = retagged(store, tagged), retagged(store, plain, "a")

    assert store.find([tagged.job_id, plain.job_id]) == [removed, given]
    assert found(store, "a") == [plain.job_id]


def test_other_changes_keep_the_tags(store: Store) -> None:
    job = a_job(tags=("a",))
    store.insert([[job]])

    cancelled = lifecycle.cancel(job, now=START)
    store.apply([cancelled])
    store.apply([lifecycle.retry(cancelled.after(job), now=START)])

    assert found(store, "a") == [job.job_id]


def test_a_replaced_job_has_the_tags_of_the_newer_submission(store: Store) -> None:
    unique = Unique(until="begun", on_conflict="replace")
    held = {"unique_key": "mail/1", "held_key": "mail/1", "unique": unique}
    job = a_job(tags=("a",), **held)
    store.insert([[job]])

    store.insert([[a_job(tags=("b",), **held)]])

    assert (found(store, "a"), found(store, "b")) == ([], [job.job_id])


def test_removed_jobs_are_found_by_no_tag(store: Store) -> None:
    jobs = [a_job(tags=("a", "b"), status=Status.COMPLETED, finished_at=START) for _ in range(3)]
    store.insert([[job] for job in jobs])

    store.delete(jobs[:1])
    store.purge(before=START + timedelta(seconds=1), limit=1)

    assert len(found(store, "a")) == len(found(store, "b")) == 1
    assert store.count_jobs(JobFilter(tag=("a",))).count == 1
