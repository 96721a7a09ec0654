"""The table, whole, and what each verb makes of a job."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from jobyard.engine.jobs import edits, lifecycle
from jobyard.engine.jobs.job import CancelledBecause, ExecutionStatus, Job, Outcome, Status
from jobyard.engine.jobs.lifecycle import TABLE, Change, IllegalTransition, Verb
from tests.support.builders import a_job
from tests.support.world import START

HTTP_EXAMPLES = Path(__file__).parents[4] / "docs/http-examples.md"
NOW = START + timedelta(seconds=7)
WORKER = "box:b00t:worker-7001:1"
SUCCESS = Outcome(status=ExecutionStatus.SUCCESS, result=b"1")
FAILURE = Outcome(status=ExecutionStatus.FAILED, error="no")
RELEASED = Outcome(status=ExecutionStatus.RELEASED)
CANCELLED = Outcome(status=ExecutionStatus.CANCELLED, error="cancelled while it ran")


def settle(job: Job, outcome: Outcome) -> Change:
    return lifecycle.settle(job, outcome, now=NOW, retry_base_s=10)


def recover(job: Job, max_lost: int = 5) -> Change:
    return lifecycle.recover(job, now=NOW, max_lost=max_lost)


ACTS: dict[Verb, Callable[[Job], Change]] = {
    Verb.EXTEND: lambda job: lifecycle.extend(job, now=NOW, until=NOW + timedelta(seconds=30)),
    Verb.CLAIM: lambda job: lifecycle.claim(job, owner="w", now=NOW),
    Verb.ENQUEUE: lambda job: lifecycle.enqueue(job, now=NOW),
    Verb.BEGIN: lambda job: lifecycle.begin(job, owner=WORKER, now=NOW, lease_s=30),
    Verb.COMPLETE: lambda job: settle(job, SUCCESS),
    Verb.POSTPONE: lambda job: settle(job, FAILURE),
    Verb.FAIL: lambda job: settle(job, Outcome(status=ExecutionStatus.FAILED, unrecoverable=True)),
    Verb.ABANDON: lambda job: settle(job, CANCELLED),
    Verb.RELEASE: lambda job: settle(job, RELEASED),
    Verb.RETURN: lambda job: lifecycle.return_unstarted(job, now=NOW),
    Verb.CANCEL: lambda job: lifecycle.cancel(job, now=NOW),
    Verb.REQUEST_CANCEL: lambda job: lifecycle.cancel(job, now=NOW),
    Verb.RECOVER: recover,
    Verb.RETRY: lambda job: lifecycle.retry(job, now=NOW),
    Verb.RETURN: lambda job: lifecycle.return_unstarted(job, now=NOW),
    Verb.UNBLOCK: lambda job: lifecycle.unblock(job, now=NOW),
    Verb.REPLACE: lambda job: lifecycle.replace(job, a_job(payload=b"2"), now=NOW, due=NOW),
    Verb.RUN: lambda job: edits.run_now(job, now=NOW),
    Verb.TAG: lambda job: edits.retag(job, ("a",), now=NOW),
}


@pytest.mark.parametrize(("status", "verb"), list(itertools.product(Status, Verb)))
def test_a_verb_leads_where_the_table_says_or_is_refused(status: Status, verb: Verb) -> None:
    job = a_job(status=status)
    if verb in (Verb.CANCEL, Verb.REQUEST_CANCEL) and (status is Status.RUNNING) == (verb is Verb.CANCEL):
        return  # one act, two verbs: the status decides which

    if (status, verb) not in TABLE:
        with pytest.raises(IllegalTransition):
            ACTS[verb](job)
        return
    change = ACTS[verb](job)

    assert change.verb is verb
    assert change.fields["status"] in TABLE[status, verb]
    assert (change.status, change.epoch, change.job_id) == (status, job.epoch, job.job_id)
    assert change.after(job).updated_at == NOW


def test_no_end_but_failed_and_cancelled_can_be_left() -> None:
    left = {status for (status, _), targets in TABLE.items() if status in lifecycle.TERMINAL and set(targets) != {status}}

    assert left == {Status.FAILED, Status.CANCELLED}


@pytest.mark.parametrize("verb", sorted(set(Verb) - {Verb.ENQUEUE, Verb.REQUEST_CANCEL, Verb.TAG, Verb.EXTEND}))
def test_the_epoch_rises_whenever_a_job_changes_hands(verb: Verb) -> None:
    for status in {status for status, known in TABLE if known is verb}:
        job = a_job(status=status)

        assert ACTS[verb](job).after(job).epoch == job.epoch + 1


@pytest.mark.parametrize("verb", Verb)
def test_every_change_of_a_verb_has_the_same_fields(verb: Verb) -> None:
    facts: list[dict[str, object]] = [{}, {"error": "e", "retry_count": 1}, {"cancel_requested_at": START}, {"lost_count": 4}]
    jobs = [a_job(status=status, **more) for status, known in TABLE if known is verb for more in facts]
    changes = [change for change in map(ACTS[verb], jobs) if change.verb is verb]

    assert len({frozenset(change.fields) for change in changes}) == 1
    assert not {name for name in changes[0].fields if name not in Job.__struct_fields__ or name == "job_id"}


def test_beginning_counts_an_attempt_and_opens_its_execution() -> None:
    job = a_job(status=Status.QUEUED, attempt=2)

    change = ACTS[Verb.BEGIN](job)

    begun = change.after(job)
    assert (begun.attempt, begun.locked_by, begun.last_run_at) == (3, WORKER, NOW)
    assert begun.locked_until == NOW + timedelta(seconds=30)
    assert change.execution is not None
    assert (change.execution.attempt, change.execution.status) == (3, ExecutionStatus.RUNNING)


@pytest.mark.parametrize(("retry_count", "wait_s"), [(0, 10), (1, 40), (2, 90), (9, 1000)])
def test_retry_n_waits_n_squared_times_the_base(retry_count: int, wait_s: int) -> None:
    job = a_job(status=Status.RUNNING, retry_count=retry_count, max_retries=10)

    again = settle(job, FAILURE).after(job)

    assert (again.status, again.retry_count) == (Status.PENDING, retry_count + 1)
    assert again.scheduled_at == again.next_run_at == NOW + timedelta(seconds=wait_s)
    assert (again.locked_by, again.claimed_by, again.queued_at) == (None, None, None)


@pytest.mark.parametrize(("base_s", "retry", "wait_ms"), [(0.001, 3, 9), (0.007, 10, 700), (0.1, 7, 4900), (0.0004, 1, 1)])
def test_the_wait_is_exact_to_the_millisecond_and_never_short(base_s: float, retry: int, wait_ms: int) -> None:
    assert lifecycle.retry_delay(retry, retry_base_s=base_s) == timedelta(milliseconds=wait_ms)


def test_one_attempt_and_max_retries_more_are_made() -> None:
    job = a_job(status=Status.RUNNING, max_retries=2)
    attempts = 1
    while (change := settle(job, FAILURE)).fields["status"] is Status.PENDING:
        job = a_job(status=Status.RUNNING, max_retries=2, retry_count=change.after(job).retry_count)
        attempts += 1

    assert attempts == 3
    assert change.fields["status"] is Status.FAILED


def test_a_task_may_choose_the_delay_and_say_that_it_is_useless() -> None:
    job = a_job(status=Status.RUNNING)

    wished = settle(job, Outcome(status=ExecutionStatus.FAILED, retry_delay_s=0.0004)).after(job)
    useless = settle(job, Outcome(status=ExecutionStatus.FAILED, unrecoverable=True)).after(job)

    assert wished.scheduled_at == NOW + timedelta(milliseconds=1)
    assert (useless.status, useless.finished_at) == (Status.FAILED, NOW)


@pytest.mark.parametrize("status", [ExecutionStatus.FAILED, ExecutionStatus.TIMEOUT, ExecutionStatus.CRASHED])
def test_a_jobs_own_failures_are_charged(status: ExecutionStatus) -> None:
    job = a_job(status=Status.RUNNING)

    assert settle(job, Outcome(status=status)).after(job).retry_count == 1


def test_a_stop_charges_nothing() -> None:
    job = a_job(status=Status.RUNNING, retry_count=1)

    again = settle(job, RELEASED).after(job)

    assert (again.status, again.retry_count, again.lost_count, again.scheduled_at) == (Status.PENDING, 1, 0, NOW)


def test_a_death_of_ours_charges_lost_count_and_the_job_is_due_at_once() -> None:
    job = a_job(status=Status.RUNNING, retry_count=1, lost_count=1)

    change = recover(job)

    again = change.after(job)
    assert (again.status, again.retry_count, again.lost_count, again.scheduled_at) == (Status.PENDING, 1, 2, NOW)
    assert change.execution is not None and change.execution.status is ExecutionStatus.LOST


def test_a_job_that_is_lost_too_often_fails_with_the_reason() -> None:
    job = a_job(status=Status.RUNNING, lost_count=4)

    failed = recover(job, max_lost=5).after(job)

    assert (failed.status, failed.lost_count, failed.finished_at) == (Status.FAILED, 5, NOW)
    assert "died" in (failed.error or "")


@pytest.mark.parametrize(
    ("lost_count", "max_lost", "is_last"), [(4, 5, True), (3, 5, False), (0, 5, False), (0, 1, False), (1, 2, True)]
)
def test_the_last_chance_is_the_one_after_which_a_loss_is_the_end(lost_count: int, max_lost: int, is_last: bool) -> None:
    job = a_job(status=Status.RUNNING, attempt=lost_count + 1, epoch=2, lost_count=lost_count, locked_by="w")

    assert lifecycle.is_last_chance(job, max_lost=max_lost) is is_last
    assert not is_last or recover(job, max_lost=max_lost).fields["status"] is Status.FAILED


@pytest.mark.parametrize("status", [Status.CLAIMED, Status.QUEUED])
def test_what_had_not_begun_is_recovered_free_at_its_old_place(status: Status) -> None:
    job = a_job(status=status, error="before")

    again = recover(job).after(job)

    assert (again.status, again.lost_count, again.scheduled_at, again.error) == (Status.PENDING, 0, job.scheduled_at, "before")


def test_a_lost_job_that_somebody_cancelled_is_cancelled() -> None:
    job = a_job(status=Status.RUNNING, cancel_requested_at=START)

    assert recover(job).after(job).status is Status.CANCELLED


def test_a_recovery_yields_to_a_request_to_cancel_that_comes_meanwhile() -> None:
    assert recover(a_job(status=Status.RUNNING)).unless_cancelled
    assert recover(a_job(status=Status.RUNNING, lost_count=4)).unless_cancelled
    assert not recover(a_job(status=Status.RUNNING, cancel_requested_at=START)).unless_cancelled


def test_cancelling_a_running_job_only_notes_it() -> None:
    job = a_job(status=Status.RUNNING)

    asked = lifecycle.cancel(job, now=NOW).after(job)

    assert (asked.status, asked.epoch, asked.cancel_requested_at) == (Status.RUNNING, job.epoch, NOW)


def test_a_failure_after_a_request_to_cancel_is_no_retry() -> None:
    job = a_job(status=Status.RUNNING, cancel_requested_at=START)

    assert settle(job, FAILURE).after(job).status is Status.CANCELLED
    assert settle(job, SUCCESS).after(job).status is Status.COMPLETED


@pytest.mark.parametrize("outcome", [FAILURE, RELEASED, Outcome(status=ExecutionStatus.FAILED, unrecoverable=True)])
def test_whatever_is_no_success_yields_to_a_request_to_cancel_that_comes_meanwhile(outcome: Outcome) -> None:
    assert settle(a_job(status=Status.RUNNING), outcome).unless_cancelled


def test_another_try_starts_anew_and_keeps_the_number_of_attempts() -> None:
    job = a_job(status=Status.FAILED, attempt=6, retry_count=5, lost_count=2, error="no", finished_at=START)

    again = lifecycle.retry(job, now=NOW).after(job)

    assert (again.attempt, again.retry_count, again.lost_count, again.error, again.finished_at) == (6, 0, 0, None, None)
    assert (again.status, again.scheduled_at, again.cancel_requested_at) == (Status.PENDING, NOW, None)


def test_a_job_that_was_cancelled_before_its_time_is_due_at_once_when_it_is_retried() -> None:
    job = a_job(status=Status.CANCELLED, scheduled_at=NOW + timedelta(days=1), finished_at=START)

    assert lifecycle.retry(job, now=NOW).after(job).scheduled_at == NOW


def test_the_documentation_names_everything_that_a_retry_resets() -> None:
    changed = set(lifecycle.retry(a_job(status=Status.FAILED), now=NOW).fields) - {"status", "epoch", "updated_at"}
    row = next(line for line in HTTP_EXAMPLES.read_text().splitlines() if line.startswith("| reset |"))

    assert "a requested cancellation" in row
    assert {*re.findall(r"`(\w+)`", row), "cancel_requested_at"} == changed


# ---- a begin that is undone


def test_a_returned_job_is_as_before_its_claim_but_for_its_epoch() -> None:
    job = a_job(scheduled_at=START - timedelta(seconds=5))
    running = begun(job)

    back = lifecycle.return_unstarted(running, now=NOW).after(running)

    assert back == msgspec.structs.replace(job, epoch=3, updated_at=NOW)


def test_a_returned_retry_keeps_its_time_its_error_and_its_earlier_attempts() -> None:
    job = a_job(attempt=2, retry_count=2, error="no", next_run_at=START, last_run_at=START - timedelta(seconds=9))
    running = begun(job)

    back = lifecycle.return_unstarted(running, now=NOW).after(running)

    assert (back.attempt, back.retry_count, back.error, back.next_run_at) == (2, 2, "no", START)
    assert back.last_run_at is not None


def test_a_return_leaves_no_execution_and_yields_to_a_request_to_cancel() -> None:
    running = begun(a_job())
    requested = msgspec.structs.replace(running, cancel_requested_at=START)

    plain, cancelling = (lifecycle.return_unstarted(job, now=NOW) for job in (running, requested))

    assert (plain.execution, plain.unless_cancelled) == (None, True)
    assert (cancelling.execution, cancelling.unless_cancelled) == (None, False)
    ended = cancelling.after(requested)
    assert (ended.status, ended.attempt, ended.finished_at, ended.next_run_at) == (Status.CANCELLED, 0, NOW, None)


def begun(job: Job) -> Job:
    claimed = lifecycle.claim(job, owner="box:b00t:watcher-9001:1", now=NOW).after(job)
    queued = lifecycle.enqueue(claimed, now=NOW).after(claimed)
    return lifecycle.begin(queued, owner=WORKER, now=NOW, lease_s=30).after(queued)


def test_a_retry_on_request_that_was_returned_unstarted_may_still_expire() -> None:
    expires_at = START + timedelta(seconds=5)
    failed = a_job(status=Status.FAILED, attempt=3, expires_s=5, expires_at=expires_at)
    job = lifecycle.retry(failed, now=START).after(failed)
    job = lifecycle.claim(job, owner="box:b00t:watcher-9001:1", now=START).after(job)
    job = lifecycle.begin(job, owner=WORKER, now=START, lease_s=30).after(job)

    returned = lifecycle.return_unstarted(job, now=START).after(job)

    assert (job.lapses_at, returned.lapses_at) == (None, expires_at)


def test_a_retried_job_whose_dependency_lives_is_blocked_and_looked_at() -> None:
    job = a_job(status=Status.FAILED, is_awaited=False)

    again = lifecycle.retry(job, now=NOW, is_blocked=True).after(job)

    assert (again.status, again.to_resolve, again.is_awaited, again.scheduled_at) == (Status.BLOCKED, True, True, NOW)


def test_a_restored_job_keeps_its_time_and_may_expire_again() -> None:
    because = CancelledBecause(reason="dependency_failed", job_id="1" * 24)
    job = a_job(status=Status.CANCELLED, cancelled_because=because, expires_s=60, expires_at=NOW, finished_at=START)

    back = lifecycle.restore(job, now=NOW).after(job)

    assert (back.status, back.scheduled_at, back.lapses_at) == (Status.BLOCKED, job.scheduled_at, NOW)
    assert (back.cancelled_because, back.finished_at, back.to_resolve) == (None, None, True)


def test_a_retry_of_a_job_that_nobody_waits_for_leaves_no_mark() -> None:
    job = a_job(status=Status.FAILED)

    assert not {"to_resolve", "is_awaited"} & set(lifecycle.retry(job, now=NOW).fields)
