"""What a task sees of its job."""

from __future__ import annotations

import pytest

from jobyard import current_job
from jobyard.engine.tasks.context import CurrentJob, Interrupted, executing
from tests.support.world import START


def a_current_job(told: list[tuple[float, str]]) -> CurrentJob:
    return CurrentJob(
        job_id="a" * 24, attempt=2, epoch=5, retry_count=1, deadline=START,
        report=lambda job, fraction, note: told.append((fraction, note)),
    )  # fmt: skip


def test_outside_of_a_task_there_is_no_current_job() -> None:
    with pytest.raises(RuntimeError, match="for tasks while a worker executes them"):
        current_job()


def test_inside_of_a_task_it_is_the_one_that_runs() -> None:
    job = a_current_job([])

    with executing(job):
        seen = current_job()

    assert seen is job
    with pytest.raises(RuntimeError):
        current_job()


@pytest.mark.parametrize(("given", "told"), [(0.25, 0.25), (-3, 0.0), (7, 1.0), (float("nan"), 0.0)])
def test_progress_is_a_fraction_and_a_short_note(given: float, told: float) -> None:
    seen: list[tuple[float, str]] = []

    a_current_job(seen).progress(given, "n" * 1000)

    assert seen == [(told, "n" * 200)]


def test_a_task_that_swallows_exceptions_does_not_swallow_its_end() -> None:
    assert not issubclass(Interrupted, Exception)
