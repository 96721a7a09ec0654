"""The removal of ended jobs on request, and of old ones by their status."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Output, Status, Unique
from jobyard.engine.store.port import Inserted, Store
from tests.contract.test_apply import running
from tests.support.builders import a_job
from tests.support.world import START

LATER = START + timedelta(days=40)


def ended(store: Store, **fields: object) -> Job:
    """A job that ran, printed something and completed."""
    job = running(store, **fields)
    change = lifecycle.settle(job, Outcome(status=ExecutionStatus.SUCCESS, result=b"1"), now=START, retry_base_s=10)
    output = Output(job_id=job.job_id, attempt=1, text="done")
    assert store.apply([msgspec.structs.replace(change, output=output)]) == [True]
    return change.after(job)


def test_a_deleted_job_leaves_nothing(store: Store) -> None:
    job, other = ended(store), ended(store)

    assert store.delete([job]) == [True]

    assert store.find([job.job_id, other.job_id]) == [None, other]
    assert (store.executions(job.job_id), store.outputs(job.job_id)) == ([], [])
    assert len(store.executions(other.job_id)) == len(store.outputs(other.job_id)) == 1
    assert store.counts()[Status.COMPLETED] == 1
    assert [job.job_id for job in store.list_jobs(JobFilter(), limit=9).jobs] == [other.job_id]
    assert store.ended([job.job_id]) == [job.job_id]


def test_a_job_is_deleted_once(store: Store) -> None:
    job = ended(store)

    assert [store.delete([job]), store.delete([job]), store.delete([])] == [[True], [False], []]
    assert store.counts()[Status.COMPLETED] == 0


@pytest.mark.parametrize("status", sorted(set(Status) - set(lifecycle.TERMINAL)))
def test_a_living_job_is_not_deleted(store: Store, status: Status) -> None:
    job = a_job(status=status)
    store.insert([[job]])

    assert store.delete([job]) == [False]
    assert store.find([job.job_id]) == [job]


def test_a_job_that_lives_again_is_not_deleted(store: Store) -> None:
    job = a_job(status=Status.FAILED, finished_at=START)
    store.insert([[job]])
    store.apply([lifecycle.retry(job, now=START)])

    assert store.delete([job]) == [False]
    assert store.counts()[Status.PENDING] == 1


def test_of_several_jobs_those_that_have_ended_are_deleted(store: Store) -> None:
    jobs = [a_job(status=status, finished_at=START) for status in lifecycle.TERMINAL]
    living = a_job()
    store.insert([[job] for job in (*jobs, living)])

    assert store.delete([jobs[0], living, *jobs[1:]]) == [True, False, True, True]
    assert sum(store.counts().values()) == 1


def test_deleting_a_job_ends_its_window_and_forgets_its_idempotency_key(store: Store) -> None:
    held = {"unique_key": "k", "held_key": "k", "unique": Unique(for_s=1000), "held_until": LATER}
    job = a_job(status=Status.COMPLETED, finished_at=START, idempotency_key="i", request_digest=b"d", **held)
    store.insert([[job]])

    assert store.delete([job]) == [True]

    new = a_job(idempotency_key="i", request_digest=b"e", **held)
    assert store.insert([[new]]) == [Inserted(job_ids=[new.job_id])]


def test_old_jobs_are_purged_by_their_status(store: Store) -> None:
    jobs = {status: a_job(status=status, finished_at=START) for status in lifecycle.TERMINAL}
    store.insert([[job] for job in jobs.values()])

    purged = store.purge(before=LATER, limit=9, statuses=(Status.COMPLETED, Status.CANCELLED))

    assert purged == 2
    assert store.find([jobs[Status.FAILED].job_id]) == [jobs[Status.FAILED]]
    assert store.counts()[Status.FAILED] == sum(store.counts().values()) == 1
    assert store.purge(before=LATER, limit=9, statuses=(Status.FAILED,)) == 1


def test_a_purge_of_several_statuses_keeps_to_its_limit(store: Store) -> None:
    store.insert([[a_job(status=status, finished_at=START)] for status in lifecycle.TERMINAL for _ in range(2)])

    assert [store.purge(before=LATER, limit=4) for _ in range(3)] == [4, 2, 0]
