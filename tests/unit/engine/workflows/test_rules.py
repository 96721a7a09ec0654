"""What a job that waits must do, given how everything stands."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobyard.engine.jobs.job import CancelledBecause, Dependency, Status
from jobyard.engine.workflows.rules import (
    RUN,
    WAIT,
    Fact,
    GroupStanding,
    Judgement,
    Standing,
    Step,
    fact_of_group,
    fact_of_job,
    is_cause,
    judge,
)
from tests.support.world import START


def job(name: str, status: Status, *, at: float = 0) -> Fact:
    ended = status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
    standing = Standing(name, status, START + timedelta(seconds=at) if ended else None)
    return fact_of_job(Dependency(job_id=name), standing)


DONE, FAILED, CANCELLED = job("done", Status.COMPLETED), job("bad", Status.FAILED), job("gone", Status.CANCELLED)
LIVES = job("lives", Status.RUNNING)
FORGOTTEN = fact_of_job(Dependency(job_id="old"), None)


@pytest.mark.parametrize(
    ("run_if", "facts", "step"),
    [
        ("completed", [DONE, DONE], Step.RUN), ("completed", [DONE, LIVES], Step.WAIT), ("completed", [LIVES, FAILED], Step.CANCEL),
        ("completed", [CANCELLED], Step.CANCEL), ("completed", [FORGOTTEN], Step.RUN), (None, [FAILED], Step.CANCEL),
        ("ended", [FAILED, LIVES], Step.WAIT), ("ended", [FAILED, CANCELLED, DONE], Step.RUN), ("ended", [FORGOTTEN], Step.RUN),
        ("failed", [FAILED, LIVES], Step.WAIT), ("failed", [FAILED, DONE], Step.RUN), ("failed", [CANCELLED], Step.RUN),
        ("failed", [DONE], Step.CANCEL), ("failed", [FORGOTTEN], Step.CANCEL), ("completed", [], Step.RUN),
    ],
)  # fmt: skip
def test_the_step_follows_from_what_has_ended_and_how(run_if: str | None, facts: list[Fact], step: Step) -> None:
    assert judge(run_if, facts).step is step


@pytest.mark.parametrize("status", [Status.BLOCKED, Status.PENDING, Status.CLAIMED, Status.QUEUED, Status.RUNNING])
def test_what_has_not_ended_is_waited_for(status: Status) -> None:
    assert judge("ended", [job("a", status)]) == WAIT


def test_the_cause_is_what_ended_badly_first() -> None:
    facts = [job("late", Status.FAILED, at=2), job("early", Status.CANCELLED, at=1)]

    assert judge("completed", facts).because == CancelledBecause(reason="dependency_cancelled", job_id="early")


def test_the_cause_in_a_group_is_the_member_with_the_group() -> None:
    bad = Standing("m", Status.FAILED, START)
    fact = fact_of_group(Dependency(group="g"), GroupStanding(is_known=True, lives=True, bad=bad))

    assert judge("completed", [fact]).because == CancelledBecause(reason="dependency_failed", job_id="m", group="g")


def test_what_is_not_needed_names_what_ended_last() -> None:
    first, last = job("first", Status.COMPLETED, at=1), job("last", Status.COMPLETED, at=2)
    group = fact_of_group(Dependency(group="g"), GroupStanding(is_known=True, ended_at=START + timedelta(seconds=3)))

    assert judge("failed", [last, first]).because == CancelledBecause(reason="not_needed", job_id="last")
    assert judge("failed", [last, group]) == Judgement(Step.CANCEL, CancelledBecause(reason="not_needed", group="g"))


def test_a_group_that_has_ended_well_lets_run() -> None:
    assert judge("completed", [fact_of_group(Dependency(group="g"), GroupStanding(is_known=True, ended_at=START))]) == RUN


@pytest.mark.parametrize(
    ("because", "is_it"),
    [
        (CancelledBecause(reason="dependency_failed", job_id="a"), True),
        (CancelledBecause(reason="dependency_cancelled", job_id="a", group="g"), True),
        (CancelledBecause(reason="not_needed", group="g"), True),
        (CancelledBecause(reason="dependency_failed", job_id="b", group="g"), False),
        (CancelledBecause(reason="expired"), False),
        (CancelledBecause(reason="replaced", job_id="a"), False),
        (None, False),
    ],
)
def test_only_a_cause_restores(because: CancelledBecause | None, is_it: bool) -> None:
    assert is_cause("a", "g", because) is is_it
