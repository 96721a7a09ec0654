"""What every store guarantees about limits: nothing begins that one stands against, and what may begin does, in turn."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import msgspec
import pytest

from jobyard.engine.jobs import edits, lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Status
from jobyard.engine.limits.limit import Limit, Numbers, Paused
from jobyard.engine.store.port import ANYTHING, Served, Store
from tests.contract.conftest import Open
from tests.support.builders import a_job
from tests.support.claims import AllAt, claim
from tests.support.world import START

SECOND = timedelta(seconds=1)
LATER = START + 10 * SECOND
SUCCESS, FAILURE = Outcome(status=ExecutionStatus.SUCCESS, result=b"1"), Outcome(status=ExecutionStatus.FAILED, error="no")


def put(store: Store, name: str, *, burst: int = 1, **numbers: object) -> Limit:
    """Make or change a limit."""
    stored = store.limits.find(name)
    asked = Numbers(burst=burst, **numbers)  # type: ignore[arg-type]
    limit = Limit(name=name, version=1) if stored is None else stored
    after = msgspec.structs.replace(limit, numbers=asked, version=limit.version + (stored is not None))
    assert store.limits.save(after, was=None if stored is None else stored.version)
    return after


def pause(store: Store, name: str, until: object = None) -> None:
    stored = store.limits.find(name)
    assert stored is not None
    paused = Paused(by="api", since=START, until=until)  # type: ignore[arg-type]
    assert store.limits.save(msgspec.structs.replace(stored, paused=paused, version=stored.version + 1), was=stored.version)


def resume(store: Store, name: str) -> None:
    stored = store.limits.find(name)
    assert stored is not None
    assert store.limits.save(msgspec.structs.replace(stored, paused=None, version=stored.version + 1), was=stored.version)


def submit(store: Store, count: int = 1, **fields: object) -> list[Job]:
    jobs = [a_job(**fields) for _ in range(count)]
    store.insert([jobs])
    return jobs


def end(store: Store, *jobs: Job, outcome: Outcome = SUCCESS, now: object = START) -> None:
    done = store.apply([lifecycle.settle(job, outcome, now=now, retry_base_s=5) for job in jobs])  # type: ignore[arg-type]
    assert all(done)


def running(store: Store, name: str) -> int:
    limit = store.limits.find(name)
    assert limit is not None
    return store.limits.usage(limit, now=LATER, is_whole=False).running


def begin_all(store: Store, *, now: object = START, most: int = 1000, served: Served = ANYTHING) -> list[Job]:
    """What begins at this time, until nothing more does."""
    begun: list[Job] = []
    while some := claim(store, now=now, most=most - len(begun), served=served):  # type: ignore[arg-type]
        begun += some
    return begun


def finish_lanes(store: Store) -> None:
    for _ in range(100):
        if not store.limits.relane(now=START, limit=10):
            return
    raise AssertionError("the lanes are never finished")


@pytest.fixture
def store(open_another: Open) -> Store:
    return open_another()


# ---- how many run


def test_no_more_than_max_running_jobs_run_at_once(store: Store) -> None:
    put(store, "stripe", max_running=3)
    submit(store, 10, limit=("stripe",))

    assert len(begin_all(store)) == 3
    assert running(store, "stripe") == 3


def test_the_end_of_one_lets_the_next_begin(store: Store) -> None:
    put(store, "stripe", max_running=2)
    jobs = submit(store, 4, limit=("stripe",))
    first = begin_all(store)

    end(store, first[0])

    assert [job.job_id for job in begin_all(store)] == [jobs[2].job_id]
    assert running(store, "stripe") == 2


@pytest.mark.parametrize("how", ["fail", "recover", "return"])
def test_whatever_stops_an_attempt_frees_its_slot(store: Store, how: str) -> None:
    put(store, "stripe", max_running=1)
    submit(store, 2, limit=("stripe",))
    [first] = begin_all(store)
    changes = {
        "fail": lambda: lifecycle.settle(first, FAILURE, now=START, retry_base_s=5),
        "recover": lambda: lifecycle.recover(first, now=START, max_lost=5),
        "return": lambda: lifecycle.return_unstarted(first, now=START),
    }

    assert store.apply([changes[how]()]) == [True]

    assert running(store, "stripe") == 0
    assert len(begin_all(store)) == 1


def test_a_retry_waits_without_a_slot_and_takes_one_again(store: Store) -> None:
    put(store, "stripe", max_running=1)
    submit(store, 1, limit=("stripe",))
    [job] = begin_all(store)
    end(store, job, outcome=FAILURE)

    assert (running(store, "stripe"), begin_all(store)) == (0, [])

    assert [again.job_id for again in begin_all(store, now=LATER)] == [job.job_id]
    assert running(store, "stripe") == 1


def test_a_job_that_was_cancelled_while_it_waited_leaves_nothing_behind(store: Store) -> None:
    put(store, "stripe", max_running=1)
    jobs = submit(store, 3, limit=("stripe",))
    [first] = begin_all(store)
    store.apply([lifecycle.cancel(jobs[1], now=START)])

    end(store, first)

    assert [job.job_id for job in begin_all(store)] == [jobs[2].job_id]


def test_each_partition_has_the_numbers_for_itself(store: Store) -> None:
    put(store, "customer", max_running=1)
    for customer in (1, 2, 3):
        submit(store, 2, limit=(f"customer/{customer}",))

    assert Counter(job.limit for job in begin_all(store)) == {(f"customer/{number}",): 1 for number in (1, 2, 3)}


def test_a_job_never_holds_one_limit_while_it_waits_for_the_other(store: Store) -> None:
    put(store, "stripe", max_running=2)
    put(store, "customer", max_running=1)
    submit(store, 3, limit=("stripe", "customer/1"))
    submit(store, 1, limit=("stripe", "customer/2"))

    begun = begin_all(store)

    assert sorted(job.limit or () for job in begun) == [("stripe", "customer/1"), ("stripe", "customer/2")]


def test_a_slot_that_a_woken_lane_cannot_use_goes_to_the_next(store: Store) -> None:
    put(store, "stripe", max_running=1)
    put(store, "customer", max_running=1)
    submit(store, 1, limit=("customer/1",))
    submit(store, 1, limit=("stripe",), scheduled_at=START)
    first = begin_all(store)
    submit(store, 1, limit=("stripe", "customer/1"))
    submit(store, 1, limit=("stripe", "customer/2"))
    assert begin_all(store) == []

    end(store, next(job for job in first if job.limit == ("stripe",)))

    assert [job.limit for job in begin_all(store)] == [("stripe", "customer/2")]


def test_a_higher_number_holds_at_once_and_a_lower_one_stops_nobody(store: Store) -> None:
    put(store, "stripe", max_running=1)
    submit(store, 6, limit=("stripe",))
    begun = begin_all(store)
    put(store, "stripe", max_running=3)
    begun += begin_all(store)
    assert len(begun) == 3

    put(store, "stripe", max_running=1)

    end(store, begun[0])
    assert (begin_all(store), running(store, "stripe")) == ([], 2)


def test_deleting_a_limit_frees_all_that_waited(store: Store) -> None:
    put(store, "stripe", max_running=1)
    submit(store, 4, limit=("stripe",))
    assert len(begin_all(store)) == 1

    assert store.limits.delete("stripe")

    assert len(begin_all(store)) == 3
    assert store.limits.delete("stripe") is False


def test_a_name_binds_again_when_its_limit_is_made_again(store: Store) -> None:
    put(store, "stripe", max_running=1)
    submit(store, 3, limit=("stripe",), scheduled_at=LATER)
    store.limits.delete("stripe")
    put(store, "stripe", max_running=2)

    assert len(begin_all(store, now=LATER)) == 2


# ---- limits that apply by themselves


@pytest.mark.parametrize("name", ["queue:mail", "task:send", "*"])
def test_a_limit_for_a_queue_a_task_or_everything_applies_by_itself(store: Store, name: str) -> None:
    put(store, name, max_running=1)
    submit(store, 3, task="send", queue="mail")

    assert len(begin_all(store)) == 1


@pytest.mark.parametrize("name", ["queue:mail", "task:send", "*"])
def test_a_limit_that_is_made_later_holds_for_what_waits_and_counts_what_runs(store: Store, name: str) -> None:
    submit(store, 30, task="send", queue="mail")
    assert len(begin_all(store, most=2)) == 2

    put(store, name, max_running=3)

    assert running(store, name) == 2
    assert len(begin_all(store)) <= 1
    finish_lanes(store)
    begin_all(store)
    assert running(store, name) == 3


@pytest.mark.parametrize("name", ["queue:mail", "task:send", "*"])
def test_what_waited_for_a_deleted_limit_is_under_none(store: Store, name: str) -> None:
    put(store, name, max_running=1)
    submit(store, 30, task="send", queue="mail")
    begin_all(store)
    store.limits.delete(name)

    finish_lanes(store)

    assert len(begin_all(store)) == 29


def test_other_queues_and_tasks_are_not_concerned(store: Store) -> None:
    submit(store, 3, task="other", queue="default")
    put(store, "queue:mail", max_running=1)
    put(store, "task:send", max_running=1)

    assert len(begin_all(store)) == 3


def test_a_job_that_ran_when_the_limit_was_made_frees_its_slot(store: Store) -> None:
    submit(store, 3, queue="mail")
    [job] = begin_all(store, most=1)
    put(store, "queue:mail", max_running=1)
    finish_lanes(store)
    assert begin_all(store) == []

    end(store, job)

    assert len(begin_all(store)) == 1


# ---- in turn


def test_lanes_of_one_priority_take_turns(store: Store) -> None:
    put(store, "tenant", max_running=100)
    submit(store, 20, limit=("tenant/a",))
    submit(store, 5, limit=("tenant/b",), scheduled_at=START + SECOND)

    begun = claim(store, now=LATER, most=10)

    assert Counter(job.limit for job in begun) == {("tenant/a",): 5, ("tenant/b",): 5}


def test_turns_go_on_from_claim_to_claim(store: Store) -> None:
    put(store, "tenant", max_running=100)
    submit(store, 20, limit=("tenant/a",))
    submit(store, 20, limit=("tenant/b",))
    begun: list[Job] = []
    for second in range(6):
        begun += claim(store, now=LATER + second * SECOND, most=1)

    assert Counter(job.limit for job in begun) == {("tenant/a",): 3, ("tenant/b",): 3}


def test_the_highest_priority_among_what_can_run_is_first(store: Store) -> None:
    put(store, "tenant", max_running=1)
    submit(store, 2, limit=("tenant/a",), priority=9)
    submit(store, 1, limit=("tenant/b",), priority=5)
    submit(store, 1, priority=7)
    begun = [job.priority for _ in range(4) for job in claim(store, most=1)]

    assert begun == [9, 7, 5]


def test_jobs_without_a_limit_and_with_one_both_get_on(store: Store) -> None:
    put(store, "tenant", max_running=100)
    submit(store, 20, limit=("tenant/a",))
    submit(store, 20)
    begun = [job.limit for second in range(8) for job in claim(store, now=LATER + second * SECOND, most=1)]

    assert begun.count(None) == 4


def test_what_nobody_here_serves_keeps_nobody_else_waiting(store: Store) -> None:
    put(store, "stripe", max_running=1)
    submit(store, 1, limit=("stripe",), task="elsewhere")
    submit(store, 1, limit=("stripe",), task="echo", scheduled_at=START + SECOND)

    assert [job.task for job in begin_all(store, now=LATER, served=Served(tasks=("echo",)))] == ["echo"]


# ---- rates


def test_a_rate_lets_jobs_begin_one_by_one(store: Store) -> None:
    put(store, "mail", count=10, per_s=1.0)
    submit(store, 25, limit=("mail",))
    begun = [len(begin_all(store, now=START + timedelta(milliseconds=100 * tenth))) for tenth in range(26)]

    assert begun == [1] * 25 + [0]


def test_no_token_is_due_before_its_time(store: Store) -> None:
    put(store, "mail", count=10, per_s=1.0)
    submit(store, 3, limit=("mail",))
    begin_all(store)

    assert begin_all(store, now=START + timedelta(milliseconds=99)) == []
    assert store.next_due() == START + timedelta(milliseconds=100)


def test_a_burst_may_begin_at_once_but_no_window_has_more(store: Store) -> None:
    put(store, "mail", count=10, per_s=1.0, burst=4)
    submit(store, 50, limit=("mail",))
    begun = []
    for tenth in range(30):
        begun += [tenth] * len(begin_all(store, now=START + timedelta(milliseconds=100 * tenth)))

    assert begun.count(0) == 4
    assert max(sum(since <= at < since + 10 for at in begun) for since in range(20)) <= 13


def test_a_clock_that_was_set_back_holds_nobody_up(store: Store) -> None:
    put(store, "mail", count=1, per_s=1.0)
    submit(store, 2, limit=("mail",), scheduled_at=START - timedelta(days=1))
    begin_all(store)

    back = START - timedelta(hours=1)
    store.limits.tidy(now=START, limit=100)
    store.limits.tidy(now=back, limit=100)
    begun = [job for second in range(4) for job in begin_all(store, now=back + second * SECOND)]

    assert len(begun) == 1


# ---- pauses and holds


@pytest.mark.parametrize("name", ["stripe", "queue:mail", "*"])
def test_after_a_pause_nothing_begins_until_it_is_resumed(store: Store, name: str) -> None:
    put(store, name)
    submit(store, 5, limit=("stripe",), queue="mail")
    begin_all(store, most=1)

    pause(store, name)

    assert begin_all(store, now=LATER) == []
    assert store.next_due() is None
    resume(store, name)
    assert len(begin_all(store, now=LATER)) == 4


def test_a_pause_of_what_waited_before_holds_at_once(store: Store) -> None:
    submit(store, 20, queue="mail")
    put(store, "queue:mail")
    pause(store, "queue:mail")

    assert begin_all(store) == []
    finish_lanes(store)
    assert begin_all(store) == []


def test_a_pause_ends_at_its_time(store: Store) -> None:
    put(store, "stripe")
    submit(store, 2, limit=("stripe",))
    pause(store, "stripe", until=LATER)

    assert begin_all(store) == []
    assert store.next_due() == LATER
    assert len(begin_all(store, now=LATER)) == 2


def test_a_held_part_holds_no_other(store: Store) -> None:
    put(store, "customer", max_running=5)
    submit(store, 1, limit=("customer/1",))
    submit(store, 1, limit=("customer/2",))

    store.limits.hold_parts(["customer/1"], LATER)

    assert [job.limit for job in begin_all(store)] == [("customer/2",)]
    assert [job.limit for job in begin_all(store, now=LATER)] == [("customer/1",)]


# ---- on_full


def test_with_cancel_a_job_that_finds_its_limit_full_is_stored_as_cancelled(store: Store) -> None:
    put(store, "sync", max_running=2, on_full="cancel")
    jobs = [a_job(limit=("sync",)) for _ in range(3)]

    (answer,) = store.insert([jobs])

    assert answer.status is Status.CANCELLED  # type: ignore[union-attr]
    third = store.find([jobs[2].job_id])[0]
    assert third is not None
    assert third.cancelled_because is not None
    assert (third.status, third.cancelled_because.limit, third.attempt) == (Status.CANCELLED, "sync", 0)
    assert len(begin_all(store)) == 2
    (answer,) = store.insert([[a_job(limit=("sync",))]])
    assert answer.status is Status.CANCELLED  # type: ignore[union-attr]


def test_with_cancel_there_is_room_again_after_an_end(store: Store) -> None:
    put(store, "sync", max_running=1, on_full="cancel")
    submit(store, 1, limit=("sync",))
    end(store, *begin_all(store))

    (answer,) = store.insert([[a_job(limit=("sync",))]])

    assert answer.status is Status.PENDING  # type: ignore[union-attr]


def test_with_replace_the_oldest_running_job_is_asked_to_cancel_once_for_each_that_waits(store: Store) -> None:
    put(store, "sync", max_running=2, on_full="replace")
    submit(store, 2, limit=("sync",))
    first = [*begin_all(store, most=1), *begin_all(store, now=START + SECOND)]
    submit(store, 1, limit=("sync",))

    claimed = store.claim_due(owner="box:b00t:watcher-9001:1", now=LATER, lease_s=30, allocation=AllAt())

    assert [before.job_id for before, _ in claimed.asked] == [first[0].job_id]
    again = store.claim_due(owner="box:b00t:watcher-9001:1", now=LATER, lease_s=30, allocation=AllAt())
    assert again.asked == []
    asked = store.find([first[0].job_id])[0]
    assert asked is not None
    assert asked.cancelled_because is not None
    assert (asked.cancelled_because.reason, asked.cancelled_because.limit) == ("replaced", "sync")


# ---- what is shown


def test_usage_names_the_fullest_partitions(store: Store) -> None:
    limit = put(store, "customer", max_running=1)
    for customer, count in (("a", 3), ("b", 1)):
        submit(store, count, limit=(f"customer/{customer}",))
    begin_all(store)

    usage = store.limits.usage(limit, now=LATER, is_whole=True)

    assert (usage.running, usage.waiting) == (2, 2)
    assert [(part.partition, part.running, part.waiting) for part in usage.partitions] == [("a", 1, 2), ("b", 1, 0)]


def test_the_parts_name_who_holds_them(store: Store) -> None:
    put(store, "stripe", max_running=1)
    submit(store, 2, limit=("stripe",))
    [job] = begin_all(store)

    holders = store.limits.parts(["stripe"])["stripe"]

    assert (holders.state.running, holders.job_ids) == (1, (job.job_id,))


def test_a_version_guards_every_write(store: Store) -> None:
    limit = put(store, "stripe", max_running=1)

    assert store.limits.save(msgspec.structs.replace(limit, version=2), was=7) is False
    assert store.limits.save(limit, was=None) is False
    assert [one.name for one in store.limits.all()] == ["stripe"]


def test_a_limited_job_that_is_made_due_begins(store: Store) -> None:
    put(store, "stripe", max_running=1)
    (job,) = submit(store, limit=("stripe",), scheduled_at=START + 600 * SECOND)
    assert begin_all(store) == []

    assert store.apply([edits.run_now(job, now=START)]) == [True]

    assert store.next_due() == START
    assert [begun.job_id for begun in begin_all(store)] == [job.job_id]


def test_a_limited_job_is_retried_with_another_priority_and_time(store: Store) -> None:
    put(store, "stripe", max_running=1)
    first, second = submit(store, 2, limit=("stripe",), max_retries=0)
    end(store, *begin_all(store), outcome=FAILURE)
    end(store, *begin_all(store), outcome=FAILURE)
    (failed,) = (job for job in store.find([second.job_id]) if job is not None)

    edit = edits.RetryEdit(priority=9, due_at=LATER)
    assert store.apply([edits.edited(lifecycle.retry(failed, now=START), failed, edit, now=START)]) == [True]

    assert begin_all(store) == []
    (begun,) = begin_all(store, now=LATER)
    assert (begun.job_id, begun.priority) == (second.job_id, 9)


def test_a_deleted_job_leaves_its_lane(store: Store) -> None:
    put(store, "stripe", max_running=1)
    first, second = submit(store, 2, limit=("stripe",))
    cancelled = lifecycle.cancel(first, now=START)
    assert store.apply([cancelled]) == [True]

    assert store.delete([cancelled.after(first)]) == [True]

    assert [begun.job_id for begun in begin_all(store)] == [second.job_id]
