"""Which jobs have expired: those whose time was up before they began, wherever they wait."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import CancelledBecause, ExecutionStatus, Job, Outcome, Status, Unique, without_payload
from jobyard.engine.store.port import Store
from tests.support.builders import a_job
from tests.support.claims import AllAt
from tests.support.world import START

WATCHER, WORKER = "box:b00t:watcher-9001:1", "box:b00t:worker-7001:1"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def expiring(seconds: float, **fields: object) -> Job:
    expires_at = at(seconds)
    return a_job(expires_s=seconds, expires_at=expires_at, lapses_at=expires_at, **fields)


def found(store: Store, job: Job) -> Job:
    (stored,) = store.find([job.job_id])
    assert stored is not None
    return stored


def test_jobs_expire_at_their_time_earliest_first(store: Store) -> None:
    late, early, plain = expiring(20), expiring(10, payload=b"[1]"), a_job()
    store.insert([[late, early, plain]])

    assert store.next_expiry() == at(10)
    assert store.expired(now=at(9.999), limit=10) == []
    assert store.expired(now=at(10), limit=10) == [without_payload(early)]
    assert store.expired(now=at(20), limit=10) == [without_payload(early), without_payload(late)]
    assert store.expired(now=at(20), limit=1) == [without_payload(early)]


@pytest.mark.parametrize("status", [Status.BLOCKED, Status.PENDING, Status.QUEUED])
def test_what_has_expired_is_cancelled_wherever_it_waits(store: Store, status: Status) -> None:
    job = expiring(1, status=status)
    store.insert([[job]])
    (expired,) = store.expired(now=at(2), limit=10)

    assert store.apply([lifecycle.expire(expired, now=at(2))]) == [True]

    after = found(store, job)
    assert (after.status, after.cancelled_because) == (Status.CANCELLED, CancelledBecause(reason="expired"))
    assert (after.finished_at, after.expires_at, after.attempt) == (at(2), at(1), 0)
    assert store.expired(now=at(99), limit=10) == [] and store.next_expiry() is None


def test_what_expires_gives_up_its_unique_key(store: Store) -> None:
    job = expiring(1, unique_key="echo/k", held_key="echo/k", unique=Unique())
    store.insert([[job]])
    store.apply([lifecycle.expire(found(store, job), now=at(2))])

    assert found(store, job).held_key is None and found(store, job).unique_key == "echo/k"


def test_a_replacement_counts_anew(store: Store) -> None:
    job, new = expiring(5), expiring(60, scheduled_at=at(30))
    store.insert([[job]])
    store.apply([lifecycle.replace(found(store, job), new, now=at(1), due=at(10))])

    assert (found(store, job).expires_at, store.next_expiry()) == (at(70), at(70))


def test_what_has_begun_never_expires(store: Store) -> None:
    job = expiring(1)
    store.insert([[job]])
    store.claim_due(owner=WATCHER, now=at(0.5), lease_s=30, allocation=AllAt(WORKER))
    running = store.expired(now=at(9), limit=10)
    failed = Outcome(status=ExecutionStatus.FAILED, error="no")
    store.apply([lifecycle.settle(found(store, job), failed, now=at(0.6), retry_base_s=10)])

    after = found(store, job)
    assert (after.status, after.expires_at) == (Status.PENDING, at(1))
    assert running == store.expired(now=at(99), limit=10) == [] and store.next_expiry() is None


def test_what_has_expired_does_not_begin(store: Store) -> None:
    late, plain, in_time = expiring(1), a_job(), expiring(9)
    store.insert([[late, plain, in_time]])

    jobs = store.claim_due(owner=WATCHER, now=at(1), lease_s=30, allocation=AllAt(WORKER)).jobs

    assert {job.job_id for job in jobs} == {plain.job_id, in_time.job_id}
    assert [job.lapses_at for job in jobs] == [None, None] and store.expired(now=at(99), limit=9) == [without_payload(late)]


def test_a_begin_that_is_undone_may_expire(store: Store) -> None:
    job = expiring(5)
    store.insert([[job]])
    store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=AllAt(WORKER))
    store.apply([lifecycle.return_unstarted(found(store, job), now=at(1))])

    assert store.next_expiry() == at(5)


def test_what_was_cancelled_does_not_expire_and_a_retry_counts_anew(store: Store) -> None:
    job = expiring(5)
    store.insert([[job]])
    store.apply([lifecycle.cancel(found(store, job), now=at(1))])
    cancelled = store.expired(now=at(99), limit=10)
    store.apply([lifecycle.retry(found(store, job), now=at(50))])

    assert cancelled == []
    assert (found(store, job).expires_at, store.next_expiry()) == (at(55), at(55))
