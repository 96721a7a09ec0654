"""What HTTP workers hold, and the tasks that they run."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import HttpLease, Job, Status
from jobyard.engine.leases.rules import give_back
from jobyard.engine.store.named_port import NamedRow
from jobyard.engine.store.port import Store
from tests.support.builders import a_job
from tests.support.claims import WATCHER, WORKER, AllAt
from tests.support.world import START

ANN = "http/ann: a:b:1"
LATER = START + timedelta(seconds=20)


def leased(store: Store, owner: str = ANN, **fields: object) -> Job:
    store.insert([[a_job(**fields)]])
    (job,) = store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=AllAt(owner)).jobs
    return job


def test_the_leases_are_those_of_http_workers_that_run(store: Store) -> None:
    job = leased(store, timeout_s=60)
    leased(store, WORKER)
    ended = leased(store)
    store.apply([lifecycle.recover(ended, now=START, max_lost=1)])

    assert store.http_leases() == [
        HttpLease(
            job_id=job.job_id, epoch=2, owner=ANN, until=START + timedelta(seconds=30), lasts_s=30, began_at=START, timeout_s=60
        )
    ]


def test_an_extended_lease_lasts_from_its_extension(store: Store) -> None:
    job = leased(store)

    assert store.apply([lifecycle.extend(job, now=LATER, until=LATER + timedelta(seconds=10))]) == [True]

    (lease,) = store.http_leases()
    assert (lease.until, lease.lasts_s, lease.epoch) == (LATER + timedelta(seconds=10), 10, job.epoch)


def test_the_end_of_a_lease_is_refused_if_it_was_extended_meanwhile(store: Store) -> None:
    job, other = leased(store), leased(store)
    ends = [
        msgspec.structs.replace(lifecycle.recover(one, now=LATER, max_lost=5), unless_extended=one.locked_until)
        for one in (job, other)
    ]
    store.apply([lifecycle.extend(job, now=LATER, until=LATER + timedelta(seconds=30))])

    assert store.apply(ends) == [False, True]

    assert [one.status for one in store.find([job.job_id, other.job_id]) if one] == [Status.RUNNING, Status.PENDING]


def test_extensions_of_many_and_their_ends_share_one_commit(store: Store) -> None:
    jobs = [leased(store) for _ in range(3)]
    until = LATER + timedelta(seconds=10)
    extended = [lifecycle.extend(job, now=LATER, until=until) for job in jobs]
    ends = [lifecycle.recover(change.after(job), now=LATER, max_lost=5) for job, change in zip(jobs, extended, strict=True)]

    assert store.apply([*extended, *ends]) == [True] * 6


def test_what_is_given_back_is_due_after_its_delay_and_has_no_attempt(store: Store) -> None:
    job = leased(store)

    store.apply([give_back(job, now=LATER, delay_s=10)])

    (after,) = store.find([job.job_id])
    assert after is not None
    assert (after.status, after.attempt, after.retry_count) == (Status.PENDING, 0, 0)
    assert (after.scheduled_at, after.locked_by) == (LATER + timedelta(seconds=10), None)
    assert store.executions(job.job_id) == []
    assert store.next_due() == after.scheduled_at


def test_a_named_row_is_stored_and_changed_by_its_version(store: Store) -> None:
    rows = store.http_tasks

    assert rows.save(NamedRow("b", 1, b"{}"), was=None)
    assert not rows.save(NamedRow("b", 1, b'{"x":1}'), was=None)
    assert rows.save(NamedRow("a", 1, b"[]"), was=None)
    assert not rows.save(NamedRow("b", 3, b'{"x":2}'), was=2)
    assert rows.save(NamedRow("b", 2, b'{"x":3}'), was=1)

    assert rows.all() == [NamedRow("a", 1, b"[]"), NamedRow("b", 2, b'{"x":3}')]
    assert (rows.find("a"), rows.find("c")) == (NamedRow("a", 1, b"[]"), None)


def test_a_task_is_deleted_once_none_of_its_jobs_lives(store: Store) -> None:
    store.http_tasks.save(NamedRow("resize", 1, b"{}"), was=None)
    job = leased(store, task="resize")

    assert not store.http_tasks.delete("resize")
    store.apply([lifecycle.recover(job, now=START, max_lost=1)])
    assert store.http_tasks.delete("resize")

    assert not store.http_tasks.delete("resize")
    assert store.http_tasks.all() == []
