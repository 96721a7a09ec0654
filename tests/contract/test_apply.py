"""Every change is whole or not at all, and only where its guard holds."""

from __future__ import annotations

import random
from collections import Counter

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, JobFilter, Outcome, Status, without_payload
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.store.bounds import ROW_BYTES
from jobyard.engine.store.port import Store
from tests.contract.conftest import Open
from tests.support.builders import a_job
from tests.support.claims import claim
from tests.support.world import START

WATCHER, WORKER = "box:b00t:watcher-9001:1", "box:b00t:worker-7001:1"
DONE = Outcome(status=ExecutionStatus.SUCCESS, result=b'{"ok" :true}')
FAILED = Outcome(status=ExecutionStatus.FAILED, error="ValueError: no", traceback="Traceback …")


def queued(store: Store, **fields: object) -> Job:
    job = a_job(**fields)
    store.insert([[job]])
    claimed = lifecycle.claim(job, owner=WATCHER, now=START)
    queue = lifecycle.enqueue(claimed.after(job), now=START)
    assert store.apply([claimed, queue]) == [True, True]
    return found(store, job)


def begin(job: Job, worker: str = WORKER) -> Change:
    return lifecycle.begin(job, owner=worker, now=START, lease_s=30)


def running(store: Store, **fields: object) -> Job:
    job = queued(store, **fields)
    assert store.apply([begin(job)]) == [True]
    return found(store, job)


def found(store: Store, job: Job) -> Job:
    (stored,) = store.find([job.job_id])
    assert stored is not None
    return stored


def settle(job: Job, outcome: Outcome) -> Change:
    return lifecycle.settle(job, outcome, now=START, retry_base_s=10)


def test_a_change_leaves_the_job_as_it_said(store: Store) -> None:
    job = queued(store)
    change = begin(job)

    store.apply([change])

    assert found(store, job) == change.after(job)


def test_its_execution_is_stored_with_it_and_ended_in_place(store: Store) -> None:
    job = running(store)

    store.apply([settle(job, FAILED)])

    (execution,) = store.executions(job.job_id)
    assert (execution.attempt, execution.status, execution.error_message) == (1, ExecutionStatus.FAILED, "ValueError: no")
    assert execution.traceback == "Traceback …"


def test_an_attempt_is_told_of_while_it_runs(store: Store) -> None:
    job = running(store)

    (execution,) = store.executions(job.job_id)

    assert execution == begin(msgspec.structs.replace(job, status=Status.QUEUED, attempt=0)).execution


def test_of_many_attempts_the_latest_are_given_and_no_more_than_the_first_past_a_bound(store: Store) -> None:
    job = running(store, max_retries=9)
    for _ in range(5):
        store.apply([lifecycle.settle(job, Outcome(status=ExecutionStatus.FAILED, error="é" * 500), now=START, retry_base_s=0)])
        (job,) = claim(store, owner=WATCHER, worker=WORKER)

    of_two_rows = ROW_BYTES + (ROW_BYTES + 1000)  # the last one runs and has no words yet

    assert [execution.attempt for execution in store.executions(job.job_id)] == [1, 2, 3, 4, 5, 6]
    assert [execution.attempt for execution in store.executions(job.job_id, max_bytes=of_two_rows)] == [4, 5, 6]
    assert [execution.attempt for execution in store.executions(job.job_id, max_bytes=of_two_rows - 1)] == [5, 6]
    assert [execution.attempt for execution in store.executions(job.job_id, max_bytes=0)] == [6]


def test_of_two_workers_with_one_job_one_begins(store: Store, open_another: Open) -> None:
    job = queued(store)

    answers = store.apply([begin(job)]), open_another().apply([begin(job, "box:b00t:worker-7002:1")])

    assert answers == ([True], [False])
    assert [execution.worker_id for execution in store.executions(job.job_id)] == [WORKER]


def test_an_older_epoch_changes_nothing(store: Store) -> None:
    job = running(store)
    store.apply([lifecycle.recover(job, now=START, max_lost=5)])
    recovered = found(store, job)

    assert store.apply([settle(job, DONE)]) == [False]

    assert found(store, job) == recovered


def test_of_many_changes_the_late_ones_are_refused_and_all_others_happen(store: Store) -> None:
    jobs = [queued(store) for _ in range(5)]
    store.apply([begin(jobs[3], "box:b00t:worker-7002:1")])

    done = store.apply([begin(job) for job in jobs])

    assert done == [True, True, True, False, True]
    assert [found(store, job).locked_by == WORKER for job in jobs] == done
    assert store.counts()[Status.RUNNING] == 5
    assert [len(store.executions(job.job_id)) for job in jobs] == [1] * 5


def test_later_changes_of_a_call_see_the_earlier_ones(store: Store) -> None:
    job = queued(store)
    change = begin(job)

    answers = store.apply([change, change, settle(change.after(job), DONE)])

    assert answers == [True, False, True]
    assert found(store, job).result == b'{"ok" :true}'


def test_a_failure_is_refused_when_somebody_cancelled_meanwhile(store: Store) -> None:
    job = running(store, max_retries=3)
    store.apply([lifecycle.cancel(job, now=START)])

    assert store.apply([settle(job, FAILED)]) == [False]

    assert store.apply([settle(found(store, job), FAILED)]) == [True]
    assert found(store, job).status is Status.CANCELLED


def test_a_success_counts_although_somebody_asked_to_cancel(store: Store) -> None:
    job = running(store)
    store.apply([lifecycle.cancel(job, now=START)])

    assert store.apply([settle(job, DONE)]) == [True]


def test_a_change_of_an_unknown_job_is_refused(store: Store) -> None:
    assert store.apply([lifecycle.cancel(a_job(), now=START)]) == [False]


def test_nothing_to_apply_is_nothing_done(store: Store) -> None:
    assert store.apply([]) == []


def test_counts_equal_a_recount_after_many_changes(store: Store) -> None:
    dice = random.Random(7)
    store.insert([[a_job(max_retries=1) for _ in range(60)]])
    for _ in range(400):
        job = dice.choice(store.list_jobs(JobFilter(), limit=100).jobs)
        store.apply([change for change in [a_legal_change(job, dice)] if change is not None])

    recounted = Counter(job.status for job in store.list_jobs(JobFilter(), limit=100).jobs)

    assert store.counts() == {status: recounted[status] for status in Status}


def a_legal_change(job: Job, dice: random.Random) -> Change | None:
    if job.status is Status.PENDING:
        return dice.choice([lifecycle.cancel(job, now=START), lifecycle.claim(job, owner=WATCHER, now=START)])
    if job.status is Status.CLAIMED:
        return dice.choice([lifecycle.enqueue(job, now=START), lifecycle.recover(job, now=START, max_lost=2)])
    if job.status is Status.QUEUED:
        return dice.choice([begin(job), lifecycle.cancel(job, now=START)])
    if job.status is Status.RUNNING:
        return dice.choice([settle(job, DONE), settle(job, FAILED), lifecycle.recover(job, now=START, max_lost=2)])
    return lifecycle.retry(job, now=START) if lifecycle.may(job, lifecycle.Verb.RETRY) else None


def test_holders_are_those_of_held_jobs_only(store: Store) -> None:
    held, ended = running(store), running(store)
    waiting = queued(store)
    store.apply([settle(ended, DONE)])

    assert sorted(store.holders()) == [WATCHER, WORKER]
    assert [job.job_id for job in store.held_by(WORKER, limit=10)] == [held.job_id]
    assert [job.job_id for job in store.held_by(WATCHER, limit=10)] == [waiting.job_id]


def test_held_jobs_are_paged_by_id(store: Store) -> None:
    jobs = sorted(running(store).job_id for _ in range(5))

    first = [job.job_id for job in store.held_by(WORKER, limit=2)]
    rest = [job.job_id for job in store.held_by(WORKER, limit=10, after=first[-1])]

    assert first + rest == jobs


def test_held_jobs_come_without_what_may_be_large(store: Store) -> None:
    job = running(store, payload=b'"large"', idempotency_key="k", timeout_s=7)

    assert store.held_by(WORKER, limit=10) == [without_payload(job)]
    assert without_payload(job).payload == b"null"
    assert found(store, job).payload == b'"large"'


def test_many_jobs_are_found_in_the_order_in_which_they_were_asked_for(store: Store) -> None:
    jobs = [a_job() for _ in range(90)]
    store.insert([jobs])
    asked = [job.job_id for job in reversed(jobs)] + [a_job().job_id, jobs[5].job_id]

    found_jobs = store.find(asked)

    assert found_jobs == [*reversed(jobs), None, jobs[5]]


def test_found_jobs_come_without_what_may_be_large_when_that_is_asked_for(store: Store) -> None:
    job = running(store, payload=b'"large"')
    store.apply([settle(job, DONE)])
    done = found(store, job)

    assert (done.payload, done.result) == (b'"large"', b'{"ok" :true}')
    assert store.find(["f" * 24, job.job_id], whole=False) == [None, without_payload(done)]
    assert without_payload(done).result is None


def test_a_job_that_was_read_without_its_payload_can_be_taken_back_and_keeps_it(store: Store) -> None:
    job = running(store, payload=b'"large"')
    (read,) = store.held_by(WORKER, limit=10)

    assert store.apply([lifecycle.recover(read, now=START, max_lost=5)]) == [True]

    assert (found(store, job).payload, found(store, job).lost_count) == (b'"large"', 1)


def test_cancel_requests_are_those_of_jobs_that_the_owner_runs(store: Store) -> None:
    asked, _ = running(store), running(store)
    store.apply([lifecycle.cancel(asked, now=START)])

    assert store.cancel_requests(WORKER) == [asked.job_id]
    assert store.cancel_requests(WATCHER) == []
