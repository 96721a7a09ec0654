"""Retries that change what a job runs with, and when; a pending job that is due now."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobyard.engine.errors import InvalidRequest, TooLarge
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.edits import RetryEdit, edited, parse_retry, retag, run_now
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.lifecycle import IllegalTransition
from tests.support.builders import a_job
from tests.support.world import START

NOW = START + timedelta(seconds=7)
MINUTE = timedelta(seconds=60)


def retried(job: Job, edit: RetryEdit) -> Job:
    return edited(lifecycle.retry(job, now=NOW), job, edit, now=NOW).after(job)


def failed(**fields: object) -> Job:
    return a_job(status=Status.FAILED, finished_at=START, payload=b"1", **fields)


def test_a_retry_without_edits_is_that_of_the_lifecycle() -> None:
    job = failed(expires_s=9)

    assert retried(job, RetryEdit()) == lifecycle.retry(job, now=NOW).after(job)


def test_each_edit_takes_the_place_of_the_jobs_own_value() -> None:
    after = retried(failed(tags=("a",)), RetryEdit(payload=b'{"a": 1}', priority=9, max_retries=0, timeout_s=3, delay_s=60))

    assert (after.payload, after.priority, after.max_retries, after.timeout_s, after.tags) == (b'{"a": 1}', 9, 0, 3, ("a",))
    assert (after.scheduled_at, after.status) == (NOW + MINUTE, Status.PENDING)


def test_the_time_until_it_expires_counts_from_when_it_is_due() -> None:
    after = retried(failed(expires_s=60), RetryEdit(due_at=NOW + MINUTE))

    assert after.expires_at == after.lapses_at == NOW + 2 * MINUTE


def test_a_body_may_be_left_out_and_a_payload_stays_as_it_was_sent() -> None:
    assert parse_retry(b"") == parse_retry(b" {} ") == RetryEdit()
    assert parse_retry(b'{"payload":  {"a" : 1.0}}') == RetryEdit(payload=b'{"a" : 1.0}')
    assert parse_retry(b'{"payload": null, "delay_s": 0.5}') == RetryEdit(payload=b"null", delay_s=0.5)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"delay_s": null}', "delay_s"), (b'{"timeout_s": 604801}', "timeout_s"), (b'{"max_retries": "1"}', "max_retries"),
        (b'{"tags": []}', "tags"), (b'{"payload": 1, "payload": 2}', "payload"), (b"[]", None),
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused(body: bytes, field: str | None) -> None:
    with pytest.raises(InvalidRequest) as told:
        parse_retry(body)

    assert told.value.field == field


def test_a_payload_that_no_job_may_have_is_refused() -> None:
    with pytest.raises(TooLarge):
        parse_retry(b'{"payload": "' + b"x" * (1 << 20) + b'"}')


def test_a_job_that_waits_for_its_time_or_a_retry_is_due_now() -> None:
    job = a_job(scheduled_at=NOW + MINUTE, next_run_at=NOW + MINUTE, retry_count=1)

    after = run_now(job, now=NOW).after(job)

    assert (after.scheduled_at, after.next_run_at, after.retry_count) == (NOW, NOW, 1)


def test_a_job_that_is_due_already_keeps_its_place() -> None:
    job = a_job(scheduled_at=START, expires_s=60, expires_at=START + MINUTE, lapses_at=START + MINUTE)

    assert run_now(job, now=NOW).after(job).scheduled_at == START
    assert run_now(job, now=NOW).after(job).lapses_at == START + MINUTE


def test_a_job_that_has_begun_once_does_not_expire_any_more() -> None:
    job = a_job(scheduled_at=NOW + MINUTE, expires_s=60, expires_at=START + MINUTE, attempt=1)

    assert run_now(job, now=NOW).after(job).lapses_at is None


def test_only_a_pending_job_is_made_due() -> None:
    with pytest.raises(IllegalTransition):
        run_now(a_job(status=Status.BLOCKED), now=NOW)


def test_new_tags_leave_whoever_holds_the_job_in_charge() -> None:
    job = a_job(status=Status.RUNNING, tags=("a",))

    after = retag(job, ("b",), now=NOW).after(job)

    assert (after.tags, after.epoch, after.status, after.locked_by) == (("b",), job.epoch, Status.RUNNING, job.locked_by)
