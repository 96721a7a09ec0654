"""The current job as a task sees it."""

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


def test_hold_needs_a_limit_of_the_job_s_own() -> None:
    with pytest.raises(RuntimeError, match="has no limit of its own"):
        a_current_job([]).hold(5)


@pytest.mark.parametrize("seconds", [0, -1, 86401, "5", True, None])
def test_hold_takes_seconds(seconds: object) -> None:
    with pytest.raises(ValueError, match="a number of seconds above 0"):
        a_current_job([]).hold(seconds)  # type: ignore[arg-type]


def test_current_job_raises_outside_a_task() -> None:
    with pytest.raises(RuntimeError, match="only inside a task"):
        current_job()


def test_current_job_is_the_running_job_inside_a_task() -> None:
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


def test_except_exception_does_not_catch_an_interrupt() -> None:
    assert not issubclass(Interrupted, Exception)
