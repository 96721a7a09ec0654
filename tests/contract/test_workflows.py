"""What every store does with jobs that wait for others: see `workflows.port`."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import CancelledBecause, Dependency, ExecutionStatus, Job, JobFilter, Outcome, Status, Unique
from jobyard.engine.store.port import Inserted, Store
from jobyard.engine.workflows.acceptance import NotAccepted
from jobyard.engine.workflows.resolver import Resolver
from tests.support.builders import a_job
from tests.support.claims import claim
from tests.support.world import START

LATER = START + timedelta(days=10)
MANY = 1_000


def after(*dependencies: Job | str, **fields: object) -> Job:
    """A new job that waits for these jobs, and for groups by their names."""
    named = tuple(Dependency(group=one) if isinstance(one, str) else Dependency(job_id=one.job_id) for one in dependencies)
    return a_job(**{"after": named, "run_if": "completed", **fields})


def submit(store: Store, *jobs: Job) -> Inserted:
    (answer,) = store.insert([list(jobs)])
    assert isinstance(answer, Inserted), answer
    return answer


def refused(store: Store, *jobs: Job) -> NotAccepted:
    (answer,) = store.insert([list(jobs)])
    assert isinstance(answer, NotAccepted)
    assert store.find([job.job_id for job in jobs]) == [None for _ in jobs]
    return answer


def now_of(store: Store, job: Job) -> Job:
    (found,) = store.find([job.job_id])
    assert found is not None
    return found


def end(store: Store, *jobs: Job, failing: bool = False) -> None:
    """Run the jobs to their ends; each returns 1."""
    claim(store)
    running = [now_of(store, job) for job in jobs]
    failed = Outcome(status=ExecutionStatus.FAILED, error="no", unrecoverable=True)
    outcomes = [
        failed if failing else Outcome(status=ExecutionStatus.SUCCESS, result=b'"%s"' % job.job_id.encode()) for job in jobs
    ]
    changes = [lifecycle.settle(job, one, now=START, retry_base_s=1) for job, one in zip(running, outcomes, strict=True)]
    assert all(store.apply(changes))


def retry(store: Store, job: Job) -> None:
    assert store.apply([lifecycle.retry(now_of(store, job), now=START)]) == [True]


def resolve(store: Store) -> None:
    """Look as often as there is something to look at."""
    resolver = Resolver(store, lambda: START)
    for _ in range(MANY):
        if not resolver.resolve().looked_at:
            return
    raise AssertionError("the work never ends")


def statuses(store: Store, *jobs: Job) -> list[str]:
    return [now_of(store, job).status.value for job in jobs]


# ---- acceptance


def test_a_job_that_waits_for_living_ones_is_blocked_and_counted_so(store: Store) -> None:
    first = a_job()
    second = after(first, ref="b")

    answer = submit(store, first, second)

    assert answer.status is Status.BLOCKED
    assert statuses(store, first, second) == ["pending", "blocked"]
    assert (store.counts()[Status.PENDING], store.counts()[Status.BLOCKED]) == (1, 1)
    assert now_of(store, second).after == second.after


def test_a_blocked_job_is_not_claimed(store: Store) -> None:
    first = a_job()
    second = after(first)
    submit(store, first, second)

    assert [job.job_id for job in claim(store)] == [first.job_id]
    assert store.next_due() is None


def test_what_has_ended_decides_at_acceptance(store: Store) -> None:
    good, bad = a_job(), a_job()
    submit(store, good)
    submit(store, bad)
    end(store, good)
    end(store, bad, failing=True)
    ready, hopeless, whatever = after(good), after(good, bad), after(bad, run_if="ended")
    rescue, unneeded = after(bad, run_if="failed"), after(good, run_if="failed")

    answers = [submit(store, job).status for job in (ready, hopeless, whatever, rescue, unneeded)]

    assert [status.value for status in answers] == ["pending", "cancelled", "pending", "pending", "cancelled"]
    assert now_of(store, hopeless).cancelled_because == CancelledBecause(reason="dependency_failed", job_id=bad.job_id)
    assert now_of(store, unneeded).cancelled_because == CancelledBecause(reason="not_needed", job_id=good.job_id)
    assert now_of(store, hopeless).attempt == 0


def test_a_decision_at_acceptance_decides_about_those_that_wait_for_it(store: Store) -> None:
    bad = a_job()
    submit(store, bad)
    end(store, bad, failing=True)
    first = after(bad)
    second = after(first)

    submit(store, second, first)

    assert statuses(store, first, second) == ["cancelled", "cancelled"]
    assert now_of(store, second).cancelled_because == CancelledBecause(reason="dependency_cancelled", job_id=first.job_id)
    assert (store.counts()[Status.CANCELLED], store.counts()[Status.BLOCKED]) == (2, 0)


def test_a_job_that_is_not_stored_cannot_be_waited_for(store: Store) -> None:
    refusals = [refused(store, a_job(), after(a_job())), refused(store, a_job(after=(Dependency(job_id="x"),)))]

    assert [(one.index, one.code, one.field) for one in refusals] == [(1, "unknown_job", "after"), (0, "unknown_job", "after")]


def test_a_group_without_members_cannot_be_waited_for(store: Store) -> None:
    assert refused(store, after("g")).code == "unknown_group"
    assert submit(store, after("g"), a_job(group="g")).status is Status.PENDING


def test_a_cycle_is_refused_and_named_in_order(store: Store) -> None:
    a, b, c = (a_job(ref=name) for name in "abc")
    waiting = [
        msgspec.structs.replace(job, after=(Dependency(job_id=other.job_id, ref=other.ref),), run_if="completed")
        for job, other in ((a, b), (b, c), (c, a))
    ]

    refusal = refused(store, a_job(), *waiting)

    assert (refusal.index, refusal.code, refusal.field) == (1, "cycle", "after")
    assert refusal.message.endswith(": a → b → c → a")


def test_a_member_must_not_wait_for_its_own_group(store: Store) -> None:
    assert refused(store, after("g", group="g")).code == "cycle"


def test_a_cycle_through_a_group_and_a_stored_job_is_refused(store: Store) -> None:
    member = a_job(group="b")
    submit(store, member)
    stored = after("b", group="a")
    submit(store, stored)

    refusal = refused(store, after("a", group="b"))

    assert refusal.code == "cycle"
    assert refusal.message.endswith(f'this job → group "a" → job {stored.job_id} → group "b" → this job')


def test_a_group_that_was_waited_for_and_has_ended_takes_no_members(store: Store) -> None:
    member, join = a_job(group="g"), after("g")
    submit(store, member, join)
    submit(store, a_job(group="g", scheduled_at=LATER, job_id="f" * 24))
    end(store, member)
    assert submit(store, a_job(group="g", scheduled_at=LATER, job_id="e" * 24)).stored == 1
    store.apply([lifecycle.cancel(job, now=START) for job in store.find(["f" * 24, "e" * 24]) if job is not None])

    assert refused(store, a_job(group="g")).code == "group_ended"


def test_a_group_that_nobody_waits_for_takes_members_again(store: Store) -> None:
    member = a_job(group="g")
    submit(store, member)
    end(store, member)

    assert submit(store, a_job(group="g")).stored == 1


def test_the_same_request_again_changes_nothing(store: Store) -> None:
    member, join = a_job(group="g"), after("g")
    submit(store, member, join)
    end(store, member)
    resolve(store)

    assert submit(store, member, join).job_ids == [member.job_id, join.job_id]
    assert statuses(store, member, join) == ["completed", "pending"]


# ---- ends


def test_the_last_end_unblocks(store: Store) -> None:
    first, second = a_job(), a_job()
    third = after(first, second)
    submit(store, first, second, third)

    end(store, first)
    resolve(store)
    halfway = statuses(store, third)
    end(store, second)
    assert store.workflows.may_have_unresolved()
    resolve(store)

    assert (halfway, statuses(store, third)) == (["blocked"], ["pending"])
    assert not store.workflows.may_have_unresolved()
    assert (store.counts()[Status.PENDING], store.counts()[Status.BLOCKED]) == (1, 0)


def test_a_dependency_on_a_job_that_runs_already_is_noticed(store: Store) -> None:
    first = a_job()
    submit(store, first)
    claim(store)
    second = after(first)
    submit(store, second)
    resolve(store)

    end(store, first)
    resolve(store)

    assert statuses(store, second) == ["pending"]


def test_a_failure_cancels_at_once_and_through_all_that_waits(store: Store) -> None:
    a, other = a_job(), a_job()
    b = after(a, other)
    c, cleanup = after(b), after(b, run_if="ended")
    submit(store, a, other, b, c, cleanup)

    end(store, a, failing=True)
    resolve(store)

    assert statuses(store, b, c, cleanup) == ["cancelled", "cancelled", "pending"]
    assert now_of(store, b).cancelled_because == CancelledBecause(reason="dependency_failed", job_id=a.job_id)
    assert now_of(store, c).cancelled_because == CancelledBecause(reason="dependency_cancelled", job_id=b.job_id)
    assert now_of(store, b).attempt == 0


def test_run_if_failed_runs_after_a_failure_and_is_not_needed_without_one(store: Store) -> None:
    a, b = a_job(), a_job()
    rescue, spare = after(a, run_if="failed"), after(b, run_if="failed")
    submit(store, a, b, rescue, spare)

    end(store, b)
    end(store, a, failing=True)
    resolve(store)

    assert statuses(store, rescue, spare) == ["pending", "cancelled"]
    assert now_of(store, spare).cancelled_because == CancelledBecause(reason="not_needed", job_id=b.job_id)


def test_a_cancelled_job_is_a_cause_too(store: Store) -> None:
    a = a_job()
    b = after(a)
    submit(store, a, b)

    store.apply([lifecycle.cancel(now_of(store, a), now=START)])
    resolve(store)

    assert now_of(store, b).cancelled_because == CancelledBecause(reason="dependency_cancelled", job_id=a.job_id)


def test_of_many_members_that_end_at_once_one_unblocks_the_join(store: Store) -> None:
    members = [a_job(group="g") for _ in range(20)]
    join = after("g")
    submit(store, *members, join)
    end(store, *members[:-1])
    resolve(store)
    halfway = statuses(store, join)

    end(store, members[-1])
    resolve(store)

    assert (halfway, statuses(store, join)) == (["blocked"], ["pending"])
    assert now_of(store, join).epoch == 1


def test_a_group_waited_for_as_completed_cancels_at_its_first_failure(store: Store) -> None:
    first, second, join, always = a_job(group="g"), a_job(group="g"), after("g"), after("g", run_if="ended")
    submit(store, first, second, join, always)

    end(store, first, failing=True)
    resolve(store)

    assert statuses(store, join, always) == ["cancelled", "blocked"]
    assert now_of(store, join).cancelled_because == CancelledBecause(reason="dependency_failed", job_id=first.job_id, group="g")
    end(store, second)
    resolve(store)
    assert statuses(store, always) == ["pending"]


def test_a_group_without_failures_does_not_need_its_rescue(store: Store) -> None:
    member, rescue = a_job(group="g"), after("g", run_if="failed")
    submit(store, member, rescue)

    end(store, member)
    resolve(store)

    assert now_of(store, rescue).cancelled_because == CancelledBecause(reason="not_needed", group="g")


def test_a_member_that_a_member_adds_keeps_the_group_alive(store: Store) -> None:
    first, join = a_job(group="g"), after("g")
    submit(store, first, join)
    sibling = a_job(group="g")
    submit(store, sibling)

    end(store, first)
    resolve(store)
    assert statuses(store, join) == ["blocked"]
    end(store, sibling)
    resolve(store)

    assert statuses(store, join) == ["pending"]


# ---- retries


def test_the_retry_of_a_cause_restores_what_was_cancelled_because_of_it(store: Store) -> None:
    a = a_job()
    b, by_hand = after(a, scheduled_at=LATER), after(a)
    c = after(b)
    submit(store, a, b, c, by_hand)
    store.apply([lifecycle.cancel(now_of(store, by_hand), now=START)])
    end(store, a, failing=True)
    resolve(store)
    assert statuses(store, b, c, by_hand) == ["cancelled", "cancelled", "cancelled"]

    retry(store, a)
    resolve(store)

    assert statuses(store, a, b, c, by_hand) == ["pending", "blocked", "blocked", "cancelled"]
    assert (now_of(store, b).scheduled_at, now_of(store, b).cancelled_because) == (LATER, None)
    end(store, a)
    resolve(store)
    assert statuses(store, a, b, c) == ["completed", "pending", "blocked"]


def test_a_cause_that_has_ended_again_before_anybody_looked_restores_too(store: Store) -> None:
    a, x = a_job(), a_job()
    b, y = after(a), after(x)
    submit(store, a, x, b, y)
    end(store, a, x, failing=True)
    resolve(store)

    retry(store, a)
    retry(store, x)
    end(store, a)
    end(store, x, failing=True)
    resolve(store)

    assert statuses(store, a, b, x, y) == ["completed", "pending", "failed", "cancelled"]


def test_with_two_causes_both_must_be_mended(store: Store) -> None:
    x, y = a_job(), a_job()
    both = after(x, y)
    submit(store, x, y, both)
    end(store, x, failing=True)
    resolve(store)
    end(store, y, failing=True)
    resolve(store)

    retry(store, x)
    resolve(store)
    assert now_of(store, both).cancelled_because == CancelledBecause(reason="dependency_failed", job_id=y.job_id)
    retry(store, y)
    resolve(store)

    assert statuses(store, both) == ["blocked"]


def test_the_retry_of_a_member_restores_what_waits_for_the_group(store: Store) -> None:
    first, second, join = a_job(group="g"), a_job(group="g"), after("g")
    submit(store, first, second, join)
    end(store, first, failing=True)
    resolve(store)
    end(store, second)
    resolve(store)

    retry(store, first)
    resolve(store)
    assert statuses(store, join) == ["blocked"]
    assert submit(store, a_job(group="g", job_id="d" * 24)).stored == 1
    end(store, first)
    end(store, a_job(job_id="d" * 24))
    resolve(store)

    assert statuses(store, join) == ["pending"]


def test_a_retry_to_blocked_is_looked_at_even_if_the_dependency_has_ended_meanwhile(store: Store) -> None:
    a = a_job()
    b = after(a)
    submit(store, a, b)
    store.apply([lifecycle.cancel(now_of(store, b), now=START)])
    end(store, a)
    resolve(store)

    assert store.apply([lifecycle.retry(now_of(store, b), now=START, is_blocked=True)]) == [True]
    resolve(store)

    assert statuses(store, b) == ["pending"]


def test_a_restored_job_whose_unique_key_another_holds_stays_cancelled(store: Store) -> None:
    from_key = {"unique_key": "echo/k", "held_key": "echo/k", "unique": Unique()}
    a = a_job()
    b = after(a, **from_key)
    c = after(b)
    submit(store, a, b, c)
    end(store, a, failing=True)
    resolve(store)
    submit(store, a_job(**from_key))

    retry(store, a)
    resolve(store)

    assert statuses(store, b, c) == ["cancelled", "cancelled"]


# ---- facts


def test_a_group_is_told_by_its_members(store: Store) -> None:
    first, second, join = a_job(group="g"), a_job(group="g"), after("g")
    submit(store, first, second, join)
    assert store.workflows.group("h") is None

    end(store, first)
    lives = store.workflows.group("g")
    end(store, second, failing=True)
    ended = store.workflows.group("g")

    assert lives is not None and ended is not None
    assert (lives.counts[Status.COMPLETED], lives.counts[Status.RUNNING], lives.ended_at) == (1, 1, None)
    assert (lives.created_at, lives.waiting, sorted(lives.counts)) == (START, [join.job_id], sorted(Status))
    assert (ended.counts[Status.FAILED], ended.ended_at) == (1, START)


def test_the_groups_that_live_are_listed_newest_first(store: Store) -> None:
    for number, name in enumerate(("old", "new", "over")):
        submit(store, a_job(group=name, created_at=START + timedelta(seconds=number), scheduled_at=LATER))
    over = store.list_jobs(JobFilter(group="over"), limit=1).jobs[0]
    store.apply([lifecycle.cancel(over, now=START)])

    assert [group.name for group in store.workflows.living_groups(limit=10)] == ["new", "old"]
    assert [group.name for group in store.workflows.living_groups(limit=1)] == ["new"]


def test_jobs_are_listed_and_counted_by_group(store: Store) -> None:
    one, two, other = a_job(group="g"), a_job(group="g"), a_job(group="h")
    submit(store, one, two, other, a_job())

    page = store.list_jobs(JobFilter(group="g"), limit=10)

    assert {job.job_id for job in page.jobs} == {one.job_id, two.job_id}
    assert store.count_jobs(JobFilter(group="g")).count == 2
    assert store.count_jobs(JobFilter(group="g", status=Status.PENDING)).count == 2


def test_dependents_come_in_pages(store: Store) -> None:
    first = a_job()
    waiting = sorted((after(first) for _ in range(7)), key=lambda job: job.job_id)
    submit(store, first, *waiting)

    found: list[str] = []
    while page := store.workflows.dependents(
        [Dependency(job_id=first.job_id)], status=Status.BLOCKED, after=found[-1] if found else None, limit=3
    ):  # fmt: skip
        found += [job.job_id for job in page]

    assert found == [job.job_id for job in waiting]


def test_old_blocked_jobs_are_found(store: Store) -> None:
    first, second = a_job(scheduled_at=LATER), a_job()
    submit(store, first)
    waiting = after(first)
    submit(store, second, waiting)

    found = store.workflows.blocked(before=START + timedelta(seconds=1), limit=10)

    assert [job.job_id for job in found] == [waiting.job_id]
    assert store.workflows.blocked(before=START, limit=10) == []


# ---- retention


def test_what_a_living_job_waits_for_or_may_read_is_not_purged(store: Store) -> None:
    read, waited_with, plain = a_job(), a_job(scheduled_at=LATER), a_job()
    reader = after(read, waited_with)
    submit(store, read, waited_with, reader, plain)
    end(store, read, plain)
    resolve(store)

    assert store.purge(before=LATER, limit=10) == 1
    assert store.find([plain.job_id]) == [None]
    store.apply([lifecycle.cancel(now_of(store, reader), now=START)])
    assert store.purge(before=LATER, limit=10) == 2
    assert store.find([read.job_id]) == [None]


def test_members_are_not_purged_while_their_group_lives_or_is_read(store: Store) -> None:
    first, last, join = a_job(group="g"), a_job(group="g"), after("g", scheduled_at=LATER)
    submit(store, first, last, join)
    end(store, first)
    resolve(store)
    assert store.purge(before=LATER, limit=10) == 0

    end(store, last)
    resolve(store)
    assert store.purge(before=LATER, limit=10) == 0
    store.apply([lifecycle.cancel(now_of(store, join), now=START)])

    assert store.purge(before=LATER, limit=10) == 3
    assert submit(store, a_job(group="g")).stored == 1


def test_a_dependency_that_is_no_longer_stored_stands_against_nothing(store: Store) -> None:
    a = a_job()
    b = after(a)
    submit(store, a, b)
    end(store, a, failing=True)
    resolve(store)
    later = now_of(store, b)
    store.apply([lifecycle.retry(later, now=LATER, is_blocked=True)])
    store.apply([lifecycle.cancel(now_of(store, b), now=LATER)])
    assert store.purge(before=START + timedelta(days=1), limit=10) == 1

    assert store.apply([lifecycle.retry(now_of(store, b), now=LATER, is_blocked=True)]) == [True]
    resolve(store)

    assert statuses(store, b) == ["pending"]


def test_what_a_living_job_may_read_is_not_deleted(store: Store) -> None:
    read, other = a_job(), a_job(group="g")
    reader = after(read, scheduled_at=LATER)
    submit(store, read, other, reader)
    end(store, read, other)
    resolve(store)

    assert store.workflows.reader(now_of(store, read)) == reader.job_id
    assert store.delete([now_of(store, read), now_of(store, other)]) == [False, True]
    store.apply([lifecycle.cancel(now_of(store, reader), now=START)])
    assert store.workflows.reader(now_of(store, read)) is None
    assert store.delete([now_of(store, read), now_of(store, reader)]) == [True, True]
