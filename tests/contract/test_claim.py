"""T2 to T4: due jobs go to one claimer each, the most urgent first, and begin at the worker that the allocation names."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Status
from jobyard.engine.store.port import Served, Store
from tests.contract.conftest import Open
from tests.support.builders import a_job
from tests.support.claims import WATCHER, WORKER, AllAt, InTurn, claim
from tests.support.world import START

OTHER_WORKER = "box:b00t:worker-7002:1"


def claim_ids(store: Store, *, most: int = 1000, owner: str = WATCHER) -> list[str]:
    return [job.job_id for job in claim(store, most=most, owner=owner)]


def put(store: Store, *jobs: Job) -> list[str]:
    store.insert([list(jobs)])
    return [job.job_id for job in jobs]


def stored(store: Store, job_id: str) -> Job:
    (job,) = store.find([job_id])
    assert job is not None
    return job


def test_the_highest_priority_goes_first_then_the_earliest_due_then_the_first_come(store: Store) -> None:
    earlier = START - timedelta(seconds=1)
    low, middle, high, older, second = put(
        store, a_job(priority=1), a_job(priority=5), a_job(priority=9), a_job(priority=5, scheduled_at=earlier), a_job(priority=5)
    )

    assert claim_ids(store) == [high, older, middle, second, low]


def test_nothing_is_claimed_before_its_time(store: Store) -> None:
    put(store, a_job(scheduled_at=START + timedelta(milliseconds=1)))

    assert claim_ids(store) == []


def test_what_there_is_no_room_for_is_left_where_it_is(store: Store) -> None:
    low, high, higher = put(store, a_job(priority=0), a_job(priority=8), a_job(priority=9))

    assert claim_ids(store, most=2) == [higher, high]

    assert stored(store, low).status is Status.PENDING


def test_without_any_room_nothing_is_claimed(store: Store) -> None:
    (job_id,) = put(store, a_job())

    assert claim_ids(store, most=0) == []

    assert stored(store, job_id).epoch == 0


def test_a_claimed_job_runs_at_its_worker_with_a_new_attempt_and_epoch(store: Store) -> None:
    job = a_job(task="echo", queue="mail", payload=b'{"a":1}')
    put(store, job)

    (begun,) = store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=AllAt(WORKER)).jobs

    assert begun == stored(store, job.job_id)
    assert (begun.status, begun.epoch, begun.attempt) == (Status.RUNNING, job.epoch + 2, 1)
    assert (begun.claimed_by, begun.locked_by, begun.locked_until) == (WATCHER, WORKER, START + timedelta(seconds=30))
    assert begun.claimed_at == begun.queued_at == begun.last_run_at == begun.updated_at == START
    assert (begun.payload, begun.queue, begun.next_run_at) == (b'{"a":1}', "mail", None)


def test_a_claim_is_what_the_verbs_say(store: Store) -> None:
    job = a_job()
    put(store, job)

    (begun,) = claim(store)

    claimed = lifecycle.claim(job, owner=WATCHER, now=START).after(job)
    queued = lifecycle.enqueue(claimed, now=START).after(claimed)
    assert begun == lifecycle.begin(queued, owner=WORKER, now=START, lease_s=30).after(queued)


def test_an_attempt_that_was_claimed_is_shown_as_running(store: Store) -> None:
    (job_id,) = put(store, a_job())

    claim(store)

    (row,) = store.executions(job_id)
    assert (row.status, row.attempt, row.worker_id, row.started_at) == (ExecutionStatus.RUNNING, 1, WORKER, START)
    assert row.finished_at is None


def test_the_second_attempt_is_shown_beside_the_first(store: Store) -> None:
    (job_id,) = put(store, a_job())
    (first,) = claim(store)
    failed = Outcome(status=ExecutionStatus.FAILED, error="no", retry_delay_s=0)
    assert store.apply([lifecycle.settle(first, failed, now=START, retry_base_s=1)]) == [True]

    (second,) = claim(store)

    assert [row.status for row in store.executions(job_id)] == [ExecutionStatus.FAILED, ExecutionStatus.RUNNING]
    done = Outcome(status=ExecutionStatus.SUCCESS, result=b"1")
    assert store.apply([lifecycle.settle(second, done, now=START, retry_base_s=1)]) == [True]
    assert [row.status for row in store.executions(job_id)] == [ExecutionStatus.FAILED, ExecutionStatus.SUCCESS]


def test_one_claim_serves_several_workers(store: Store) -> None:
    put(store, *(a_job() for _ in range(5)))

    jobs = store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=InTurn(WORKER, OTHER_WORKER)).jobs

    assert [job.job_id for job in jobs] == sorted(job.job_id for job in jobs)
    assert {job.locked_by for job in jobs} == {WORKER, OTHER_WORKER}
    assert len(store.held_by(WORKER, limit=10)) + len(store.held_by(OTHER_WORKER, limit=10)) == 5
    assert store.counts()[Status.RUNNING] == 5


def test_a_job_that_may_begin_nowhere_keeps_no_other_from_beginning(store: Store) -> None:
    skipped, taken = put(store, a_job(task="no"), a_job(task="yes"))

    jobs = store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=AllAt(skipped=("no",), most=1)).jobs

    assert [job.job_id for job in jobs] == [taken]
    assert stored(store, skipped).status is Status.PENDING


def test_a_job_that_may_begin_nowhere_is_no_conflict(store: Store) -> None:
    put(store, a_job(task="no"))

    claimed = store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=AllAt(skipped=("no",)))

    assert (claimed.jobs, claimed.conflicts) == ([], 0)


@pytest.mark.parametrize("count", [70, 600])
def test_hundreds_of_jobs_on_their_last_chance_hide_no_other(store: Store, count: int) -> None:
    risky = [a_job(task="no", lost_count=4 + number % 2) for number in range(count)]
    store.insert([[job] for job in risky])
    (taken,) = put(store, a_job(task="yes"))

    jobs = store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=AllAt(skipped=("no",), most=1)).jobs

    assert [job.job_id for job in jobs] == [taken]


def test_the_allocation_sees_what_it_decides_by(store: Store) -> None:
    put(store, a_job(task="resize", lost_count=2, payload=b'"' + b"x" * 100 + b'"'))
    allocation = AllAt()

    store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=allocation)

    (candidate,) = allocation.seen
    assert (candidate.task, candidate.lost_count) == ("resize", 2)
    assert candidate.size in (0, 102)


def test_a_worker_is_known_to_hold_a_job_that_was_lost(store: Store) -> None:
    put(store, a_job(lost_count=3))
    claim(store)

    assert store.runs_lost_job(WORKER, at_least=3)
    assert not store.runs_lost_job(WORKER, at_least=4)
    assert not store.runs_lost_job(OTHER_WORKER, at_least=1)


def test_who_comes_second_finds_nothing(store: Store, open_another: Open) -> None:
    put(store, a_job())
    other = open_another()

    assert len(claim_ids(store)) == 1

    assert claim_ids(other, owner="box:b00t:watcher-9002:1") == []


@pytest.mark.parametrize(("open_another", "jobs"), [("sqlite", 2000), ("mongo", 200)], indirect=["open_another"])
def test_four_processes_claim_every_job_once(store: Store, open_another: Open, jobs: int) -> None:
    for _ in range(4):
        put(store, *(a_job(priority=number % 10) for number in range(jobs // 4)))

    claimed = [job_id for pipe in [claim_in_a_child(open_another, number) for number in range(4)] for job_id in drain(pipe)]

    assert (len(claimed), len(set(claimed))) == (jobs, jobs)
    assert store.counts()[Status.RUNNING] == jobs


def claim_in_a_child(open_another: Open, number: int) -> tuple[int, int]:
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        store = open_another()
        with open(write_fd, "w") as pipe:
            while claimed := claim_ids(store, most=70, owner=f"box:b00t:watcher-900{number}:1"):
                pipe.write("\n".join(claimed) + "\n")
        os._exit(0)
    os.close(write_fd)
    return pid, read_fd


def drain(child: tuple[int, int]) -> list[str]:
    with open(child[1]) as pipe:
        claimed = pipe.read().split()
    os.waitpid(child[0], 0)
    return claimed


# ---- a begin that is undone


def test_an_attempt_that_never_started_leaves_nothing(store: Store) -> None:
    job = a_job(priority=7)
    put(store, job)
    (begun,) = claim(store)

    assert store.apply([lifecycle.return_unstarted(begun, now=START)]) == [True]

    returned = stored(store, job.job_id)
    assert (returned.status, returned.attempt, returned.epoch) == (Status.PENDING, 0, 3)
    assert (returned.claimed_by, returned.locked_by, returned.last_run_at) == (None, None, None)
    assert (returned.scheduled_at, returned.lost_count, returned.retry_count) == (job.scheduled_at, 0, 0)
    assert store.executions(job.job_id) == []
    assert store.counts()[Status.PENDING] == 1


def test_its_number_goes_to_the_next_attempt(store: Store) -> None:
    (job_id,) = put(store, a_job())
    (begun,) = claim(store)
    store.apply([lifecycle.return_unstarted(begun, now=START)])

    (again,) = claim(store, worker=OTHER_WORKER)

    assert (again.attempt, again.epoch, again.locked_by) == (1, 5, OTHER_WORKER)
    assert [row.worker_id for row in store.executions(job_id)] == [OTHER_WORKER]


def test_the_attempts_before_it_stay(store: Store) -> None:
    (job_id,) = put(store, a_job())
    (first,) = claim(store)
    failed = Outcome(status=ExecutionStatus.FAILED, error="no", retry_delay_s=0)
    store.apply([lifecycle.settle(first, failed, now=START, retry_base_s=1)])
    (second,) = claim(store)

    store.apply([lifecycle.return_unstarted(second, now=START)])

    assert [(row.attempt, row.status) for row in store.executions(job_id)] == [(1, ExecutionStatus.FAILED)]
    returned = stored(store, job_id)
    assert (returned.attempt, returned.retry_count, returned.next_run_at) == (1, 1, returned.scheduled_at)


def test_a_job_that_was_to_be_cancelled_meanwhile_is_cancelled_and_leaves_no_attempt(store: Store) -> None:
    (job_id,) = put(store, a_job())
    (begun,) = claim(store)
    store.apply([lifecycle.cancel(begun, now=START)])

    assert store.apply([lifecycle.return_unstarted(begun, now=START)]) == [False]

    assert store.apply([lifecycle.return_unstarted(stored(store, job_id), now=START)]) == [True]
    cancelled = stored(store, job_id)
    assert (cancelled.status, cancelled.attempt, cancelled.finished_at) == (Status.CANCELLED, 0, START)
    assert store.executions(job_id) == []


def test_a_begin_that_somebody_else_has_ended_is_not_undone(store: Store) -> None:
    (job_id,) = put(store, a_job())
    (begun,) = claim(store)
    store.apply([lifecycle.recover(begun, now=START, max_lost=5)])

    assert store.apply([lifecycle.return_unstarted(begun, now=START)]) == [False]

    assert stored(store, job_id).attempt == 1


# ---- what is due


def test_next_due_is_the_earliest_of_all_priorities(store: Store) -> None:
    soon, later = START + timedelta(seconds=1), START + timedelta(seconds=2)
    put(store, a_job(priority=0, scheduled_at=soon), a_job(priority=9, scheduled_at=later))

    assert store.next_due() == soon


def test_next_due_forgets_what_is_claimed(store: Store) -> None:
    put(store, a_job())
    claim(store)

    assert store.next_due() is None


def test_due_jobs_are_listed_in_claiming_order_without_payloads(store: Store) -> None:
    low, high, second = put(store, a_job(priority=1, payload=b"1"), a_job(priority=9), a_job(priority=9))
    put(store, a_job(scheduled_at=START + timedelta(seconds=1)))

    due = store.due(now=START, limit=10)

    assert [job.job_id for job in due] == [high, second, low]
    assert due[-1].payload == b"null"
    assert [job.job_id for job in store.due(now=START, limit=2)] == [high, second]


def test_due_jobs_are_counted_by_priority_up_to_a_limit(store: Store) -> None:
    put(store, *(a_job(priority=3) for _ in range(5)), a_job(priority=9))
    put(store, a_job(priority=9, scheduled_at=START + timedelta(seconds=1)))

    exact, bounded = store.count_due(now=START), store.count_due(now=START, look=4)

    assert (exact.counts[3], exact.counts[9], sum(exact.counts), exact.is_exact) == (5, 1, 6, True)
    assert (bounded.counts[3], bounded.is_exact) == (4, False)


def test_only_served_jobs_are_due(store: Store) -> None:
    put(store, a_job(task="mail"), a_job(task="echo"))
    served = Served(tasks=("mail",))

    assert [job.task for job in store.due(now=START, limit=10, served=served)] == ["mail"]
    assert sum(store.count_due(now=START, served=served).counts) == 1


# ---- what is served


def test_only_served_tasks_and_queues_are_claimed(store: Store) -> None:
    mail, _, _ = put(
        store, a_job(task="mail", queue="eu"), a_job(task="mail", queue="us"), a_job(task="echo", queue="eu")
    )  # fmt: skip
    served = Served(tasks=("mail", "resize"), queues=("eu",))

    (job,) = claim(store, served=served)

    assert job.job_id == mail
    assert claim(store, served=served) == []
    assert len(claim_ids(store)) == 2


def test_who_serves_no_task_claims_nothing(store: Store) -> None:
    put(store, a_job())

    assert claim(store, served=Served(tasks=())) == []
    assert store.next_due(served=Served(tasks=())) is None


def test_next_due_passes_over_what_is_not_served(store: Store) -> None:
    soon, later = START + timedelta(seconds=1), START + timedelta(seconds=2)
    put(store, a_job(task="mail", scheduled_at=soon), a_job(queue="eu", scheduled_at=later))

    assert store.next_due(served=Served(tasks=("echo",))) == later
    assert store.next_due(served=Served(queues=("default",))) == soon


def test_who_serves_many_tasks_and_queues_still_claims_in_order(store: Store) -> None:
    tasks, queues = tuple(f"task-{number}" for number in range(60)), tuple(f"queue-{number}" for number in range(5))
    jobs = [
        a_job(
            task=tasks[number * 7 % 60], queue=queues[number % 5], priority=number % 10,
            scheduled_at=START - timedelta(seconds=number % 7),
        )
        for number in range(120)
    ]  # fmt: skip
    put(store, *jobs, a_job(task="other"), a_job(task=tasks[0], queue="other", priority=9))
    in_order = sorted(jobs, key=lambda job: (-job.priority, job.scheduled_at))
    served = Served(tasks=tasks, queues=queues)

    first = store.next_due(served=served)
    claimed = claim(store, served=served)

    assert first == min(job.scheduled_at for job in jobs)
    assert [(job.priority, job.scheduled_at) for job in claimed] == [(job.priority, job.scheduled_at) for job in in_order]
