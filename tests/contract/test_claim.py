"""T2 and T3: due jobs go to one claimer each, the most urgent first, never more than there is room for."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.store.port import Served, Store
from tests.contract.conftest import Open
from tests.support.builders import a_job
from tests.support.world import START

OWNER = "box:b00t:watcher-9001:1"
PLENTY = [1000] * 10


def claim(store: Store, limits: list[int] = PLENTY, owner: str = OWNER) -> list[str]:
    return [ticket.job_id for ticket in store.claim_due(owner=owner, now=START, limits=limits).tickets]


def put(store: Store, *jobs: Job) -> list[str]:
    store.insert([list(jobs)])
    return [job.job_id for job in jobs]


def test_the_highest_priority_goes_first_then_the_earliest_due_then_the_first_come(store: Store) -> None:
    earlier = START - timedelta(seconds=1)
    low, middle, high, older, second = put(
        store, a_job(priority=1), a_job(priority=5), a_job(priority=9), a_job(priority=5, scheduled_at=earlier), a_job(priority=5)
    )

    assert claim(store) == [high, older, middle, second, low]


def test_nothing_is_claimed_before_its_time(store: Store) -> None:
    put(store, a_job(scheduled_at=START + timedelta(milliseconds=1)))

    assert claim(store) == []


def test_a_priority_without_room_is_left_where_it_is(store: Store) -> None:
    low, high, higher = put(store, a_job(priority=0), a_job(priority=9), a_job(priority=9))
    limits = [5, 0, 0, 0, 0, 0, 0, 0, 0, 1]

    assert claim(store, limits) == [high, low]

    assert store.find([higher])[0].status is Status.PENDING  # type: ignore[union-attr]


def test_a_claimed_job_is_queued_in_the_claimers_name_with_a_new_epoch(store: Store) -> None:
    job = a_job(task="echo", queue="mail")
    put(store, job)

    (ticket,) = store.claim_due(owner=OWNER, now=START, limits=PLENTY).tickets

    (stored,) = store.find([job.job_id])
    assert stored is not None
    assert (stored.status, stored.claimed_by, stored.claimed_at, stored.queued_at) == (Status.QUEUED, OWNER, START, START)
    assert (ticket.epoch, ticket.queue, ticket.attempt, ticket.scheduled_at) == (stored.epoch, "mail", 0, job.scheduled_at)
    assert stored.epoch == job.epoch + 1


def test_who_comes_second_finds_nothing(store: Store, open_another: Open) -> None:
    put(store, a_job())
    other = open_another()

    assert len(claim(store)) == 1

    assert claim(other, owner="box:b00t:watcher-9002:1") == []


@pytest.mark.parametrize(("open_another", "jobs"), [("sqlite", 2000), ("mongo", 200)], indirect=["open_another"])
def test_four_processes_claim_every_job_once(store: Store, open_another: Open, jobs: int) -> None:
    for _ in range(4):
        put(store, *(a_job(priority=number % 10) for number in range(jobs // 4)))

    claimed = [job_id for pipe in [claim_in_a_child(open_another, number) for number in range(4)] for job_id in drain(pipe)]

    assert (len(claimed), len(set(claimed))) == (jobs, jobs)
    assert store.counts()[Status.QUEUED] == jobs


def claim_in_a_child(open_another: Open, number: int) -> tuple[int, int]:
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        store = open_another()
        with open(write_fd, "w") as pipe:
            while claimed := claim(store, [7] * 10, f"box:b00t:watcher-900{number}:1"):
                pipe.write("\n".join(claimed) + "\n")
        os._exit(0)
    os.close(write_fd)
    return pid, read_fd


def drain(child: tuple[int, int]) -> list[str]:
    with open(child[1]) as pipe:
        claimed = pipe.read().split()
    os.waitpid(child[0], 0)
    return claimed


def test_next_due_is_the_earliest_of_the_priorities_with_room(store: Store) -> None:
    soon, later = START + timedelta(seconds=1), START + timedelta(seconds=2)
    put(store, a_job(priority=0, scheduled_at=soon), a_job(priority=9, scheduled_at=later))

    assert store.next_due(limits=PLENTY) == soon
    assert store.next_due(limits=[0] * 9 + [1]) == later
    assert store.next_due(limits=[0] * 10) is None


def test_next_due_forgets_what_is_claimed(store: Store) -> None:
    put(store, a_job())
    claim(store)

    assert store.next_due(limits=PLENTY) is None


def test_only_served_tasks_and_queues_are_claimed(store: Store) -> None:
    mail, _, _ = put(
        store, a_job(task="mail", queue="eu"), a_job(task="mail", queue="us"), a_job(task="echo", queue="eu")
    )  # fmt: skip
    served = Served(tasks=("mail", "resize"), queues=("eu",))

    (ticket,) = store.claim_due(owner=OWNER, now=START, limits=PLENTY, served=served).tickets

    assert ticket.job_id == mail
    assert store.claim_due(owner=OWNER, now=START, limits=PLENTY, served=served).tickets == []
    assert len(claim(store)) == 2


def test_who_serves_no_task_claims_nothing(store: Store) -> None:
    put(store, a_job())

    assert store.claim_due(owner=OWNER, now=START, limits=PLENTY, served=Served(tasks=())).tickets == []
    assert store.next_due(limits=PLENTY, served=Served(tasks=())) is None


def test_next_due_passes_over_what_is_not_served(store: Store) -> None:
    soon, later = START + timedelta(seconds=1), START + timedelta(seconds=2)
    put(store, a_job(task="mail", scheduled_at=soon), a_job(queue="eu", scheduled_at=later))

    assert store.next_due(limits=PLENTY, served=Served(tasks=("echo",))) == later
    assert store.next_due(limits=PLENTY, served=Served(queues=("default",))) == soon


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
    wanted = sorted((job for job in jobs if job.priority not in (3, 7)), key=lambda job: (-job.priority, job.scheduled_at))
    served, limits = Served(tasks=tasks, queues=queues), [0 if priority in (3, 7) else 100 for priority in range(10)]

    first = store.next_due(limits=limits, served=served)
    tickets = store.claim_due(owner=OWNER, now=START, limits=limits, served=served).tickets

    assert first == min(job.scheduled_at for job in wanted)
    assert [(ticket.priority, ticket.scheduled_at) for ticket in tickets] == [(job.priority, job.scheduled_at) for job in wanted]
