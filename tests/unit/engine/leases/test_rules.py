"""What an HTTP worker's word, or the end of its lease, makes of a job."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobyard.engine.errors import Conflict
from jobyard.engine.jobs.job import Execution, ExecutionStatus, Job, Output, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.leases.requests import Do, Told
from jobyard.engine.leases.rules import KEPT_BYTES, change_for, ended, is_repeated, lease_ends_in
from tests.support.builders import a_job
from tests.support.memory_store import lease_of
from tests.support.world import START

NOW = START + timedelta(seconds=10)


def leased(**more: Any) -> Job:
    fields = {
        "status": Status.RUNNING, "locked_by": "http/ann", "epoch": 2, "attempt": 1, "last_run_at": START, "updated_at": START,
        "locked_until": START + timedelta(seconds=30), "timeout_s": 60,
    }  # fmt: skip
    return a_job(**{**fields, **more})


def told(job: Job, do: Do, printed: Output | None = None, **fields: Any) -> Change:
    word = Told(**{"job_id": job.job_id, "do": do, "epoch": 2, **fields})
    return change_for(word, job, now=NOW, lease_s=30, retry_base_s=10, printed=printed)


@pytest.mark.parametrize("do", Do)
@pytest.mark.parametrize(
    "job", [leased(epoch=3), leased(locked_by="box:b00t:worker-7001:1"), leased(status=Status.PENDING), leased(locked_by=None)]
)
def test_only_the_holder_at_its_epoch_is_heard(do: Do, job: Job) -> None:
    with pytest.raises(Conflict) as lost:
        told(job, do)

    assert (lost.value.code, lost.value.details) == ("lease_lost", {"stop": True})


def test_an_extension_lasts_from_now_and_never_beyond_the_timeout() -> None:
    assert told(leased(), Do.EXTEND).fields["locked_until"] == NOW + timedelta(seconds=30)
    assert told(leased(), Do.EXTEND, lease_s=7.5).fields["locked_until"] == NOW + timedelta(seconds=7.5)
    assert told(leased(timeout_s=25), Do.EXTEND).fields["locked_until"] == START + timedelta(seconds=25)
    with pytest.raises(Conflict):
        told(leased(timeout_s=10), Do.EXTEND)


def test_a_failure_is_tried_again_as_for_every_task() -> None:
    job = leased(max_retries=2)

    assert told(job, Do.FAIL, error="no").fields["status"] is Status.PENDING
    assert told(job, Do.FAIL, error="no", retry_delay_s=3).fields["scheduled_at"] == NOW + timedelta(seconds=3)
    assert told(job, Do.FAIL, error="no", unrecoverable=True).fields["status"] is Status.FAILED
    assert told(leased(max_retries=0), Do.FAIL).fields["error"] == "the worker gave no reason"


def test_cancelled_counts_only_after_a_cancellation_was_requested() -> None:
    asked = told(leased(cancel_requested_at=START), Do.FAIL, cancelled=True)
    not_asked = told(leased(), Do.FAIL, cancelled=True)

    assert asked.execution is not None and asked.execution.status is ExecutionStatus.CANCELLED
    assert asked.fields["status"] is Status.CANCELLED
    assert not_asked.execution is not None and not_asked.execution.status is ExecutionStatus.FAILED
    assert not_asked.fields["status"] is Status.PENDING


def test_a_release_leaves_no_attempt_and_uses_no_retry() -> None:
    change = told(leased(), Do.RELEASE, delay_s=5)

    assert change.execution is None
    assert (change.fields["attempt"], change.fields["status"]) == (0, Status.PENDING)
    assert change.fields["scheduled_at"] == NOW + timedelta(seconds=5)
    assert told(leased(cancel_requested_at=START), Do.RELEASE).fields["status"] is Status.CANCELLED


def test_outputs_are_added_up_and_their_tail_is_kept() -> None:
    job = leased()
    before = Output(job_id=job.job_id, attempt=1, text="a")

    assert told(job, Do.EXTEND).output is None
    first = told(job, Do.EXTEND, before, output="b", progress=(0.5, None)).output
    assert first is not None and (first.text, first.is_cut) == ("ab", False)
    assert first.progress is not None and (first.progress.fraction, first.progress.note) == (0.5, "")
    second = told(job, Do.EXTEND, first, progress=(None, "half")).output
    assert second is not None and second.progress is not None
    assert (second.text, second.progress.fraction, second.progress.note) == ("ab", 0.5, "half")
    long = told(job, Do.COMPLETE, before, output="é" * KEPT_BYTES).output
    assert long is not None and long.is_cut and len(long.text.encode()) <= KEPT_BYTES


def test_the_same_completion_again_is_recognised() -> None:
    word = Told(job_id="0" * 24, do=Do.COMPLETE, epoch=2, result=b"1")
    done = leased(status=Status.COMPLETED, epoch=3, result=b"1", locked_by=None)
    last = Execution(
        execution_id="x", job_id=done.job_id, attempt=1, worker_id="http/ann", status=ExecutionStatus.SUCCESS, started_at=START
    )
    ours = Execution(
        execution_id="x", job_id=done.job_id, attempt=1, worker_id="box:b:worker-1:1", status=ExecutionStatus.SUCCESS,
        started_at=START,
    )  # fmt: skip

    assert is_repeated(word, done, last)
    assert not is_repeated(word, done, ours), "no HTTP worker held it"
    assert not is_repeated(word, leased(status=Status.COMPLETED, epoch=3, result=b"2"), last)
    assert not is_repeated(word, leased(status=Status.COMPLETED, epoch=4, result=b"1"), last)


def test_the_end_of_a_lease_loses_the_attempt_and_no_retry() -> None:
    job = leased()

    change = ended(lease_of(job), job, now=NOW, is_timeout=False, max_lost=5, retry_base_s=10)

    assert change is not None and change.execution is not None
    assert (change.execution.status, change.fields["lost_count"], change.fields["status"]) == ("lost", 1, Status.PENDING)
    assert (change.fields["scheduled_at"], change.unless_extended) == (NOW, job.locked_until)
    assert "retry_count" not in change.fields


def test_the_end_of_the_time_of_an_attempt_uses_a_retry() -> None:
    job = leased()

    change = ended(lease_of(job), job, now=NOW, is_timeout=True, max_lost=5, retry_base_s=10)

    assert change is not None and change.execution is not None
    assert (change.execution.status, change.fields["retry_count"], change.fields["status"]) == ("timeout", 1, Status.PENDING)


def test_who_ignores_a_cancellation_has_its_job_cancelled_when_the_lease_ends() -> None:
    job = leased(cancel_requested_at=START)

    for is_timeout in (False, True):
        change = ended(lease_of(job), job, now=NOW, is_timeout=is_timeout, max_lost=5, retry_base_s=10)
        assert change is not None and change.fields["status"] is Status.CANCELLED


@pytest.mark.parametrize("job", [leased(epoch=4), leased(locked_until=NOW), leased(status=Status.COMPLETED)])
def test_a_lease_that_is_another_by_now_does_not_end(job: Job) -> None:
    assert ended(lease_of(leased()), job, now=NOW, is_timeout=False, max_lost=5, retry_base_s=10) is None


def test_a_keeper_gives_a_lease_its_full_length_and_the_attempt_what_is_left() -> None:
    assert lease_ends_in(lease_of(leased()), NOW) == (30, 50)
    assert lease_ends_in(lease_of(leased()), START - timedelta(hours=1)) == (30, 60)
    assert lease_ends_in(lease_of(leased()), START + timedelta(hours=1)) == (30, 0)
