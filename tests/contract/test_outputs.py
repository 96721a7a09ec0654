"""What attempts printed is kept with them, of those only that printed something, and goes when they go."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Output, Progress
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.store.port import Store
from tests.contract.test_apply import running
from tests.support.claims import claim
from tests.support.world import START

DONE = Outcome(status=ExecutionStatus.SUCCESS, result=b"1")
FAILED = Outcome(status=ExecutionStatus.FAILED, error="no")
WORDS = "zeile \x00 \x1b[31m é \U0001f600\nlast"


def end(job: Job, text: str, outcome: Outcome = DONE, **more: object) -> Change:
    """The end of its attempt, which left these words."""
    output = Output(job_id=job.job_id, attempt=job.attempt, text=text, **more)  # type: ignore[arg-type]
    return msgspec.structs.replace(lifecycle.settle(job, outcome, now=START, retry_base_s=0), output=output)


def begin_again(store: Store, job_id: str) -> Job:
    (job,) = claim(store)
    assert job.job_id == job_id
    return job


def test_words_and_progress_come_back_as_they_were(store: Store) -> None:
    job = running(store)
    told = Progress(fraction=0.25, note="a quarter", at=START)

    store.apply([end(job, WORDS, is_cut=True, progress=told)])

    assert store.outputs(job.job_id) == [
        Output(job_id=job.job_id, attempt=1, text=WORDS, is_cut=True, progress=told),
    ]


def test_a_silent_attempt_leaves_nothing(store: Store) -> None:
    job = running(store)

    store.apply([lifecycle.settle(job, DONE, now=START, retry_base_s=0)])

    assert store.outputs(job.job_id) == []


def test_every_attempt_keeps_its_own_oldest_first_and_the_latest_of_very_many(store: Store) -> None:
    job = running(store)
    for word in ("one", "two", "three"):
        store.apply([end(job, word, FAILED)])
        job = begin_again(store, job.job_id)

    assert [(output.attempt, output.text) for output in store.outputs(job.job_id)] == [(1, "one"), (2, "two"), (3, "three")]
    assert [output.text for output in store.outputs(job.job_id, max_bytes=5)] == ["two", "three"]


def test_whoever_comes_too_late_leaves_nothing(store: Store) -> None:
    job = running(store)
    store.apply([lifecycle.recover(job, now=START, max_lost=5)])

    assert store.apply([end(job, "late")]) == [False]

    assert store.outputs(job.job_id) == []


def test_they_are_removed_with_their_job(store: Store) -> None:
    gone, stays = running(store), running(store)
    store.apply([end(gone, "gone")])
    store.apply([end(stays, "stays", FAILED)])

    store.purge(before=START + timedelta(days=1), limit=10)

    assert store.outputs(gone.job_id) == []
    assert [output.text for output in store.outputs(stays.job_id)] == ["stays"]
