"""THE rules of waiting: what a job that waits (`after`, `run_if`) must do, given how everything that it waits for stands.

Pure, and without memory: the answer depends on the present state of the rows only, so it does not matter which event led to the
question, or how often it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from jobyard.engine.jobs.dependency_fields import COMPLETED, FAILED
from jobyard.engine.jobs.job import CancelledBecause, Dependency, Job, Status
from jobyard.engine.jobs.lifecycle import TERMINAL

DEPENDENCY_FAILED, DEPENDENCY_CANCELLED, NOT_NEEDED = REASONS = ("dependency_failed", "dependency_cancelled", "not_needed")
"""The causes for which a job is cancelled by what it waits for, and restored by a retry of that."""


class Standing(NamedTuple):
    """How a job stands: its status, and when it ended."""

    job_id: str
    status: Status
    ended_at: datetime | None = None

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return self.status not in TERMINAL


class GroupStanding(NamedTuple):
    """How a group stands. `bad`: the member that failed or was cancelled first; `ended_at`: when its last member ended so far.

    `is_known`: it has members; `is_awaited`: a stored job waits, or waited, for it.
    """

    is_known: bool = False
    lives: bool = False
    bad: Standing | None = None
    ended_at: datetime | None = None
    is_awaited: bool = False

    @property
    def end(self) -> datetime | None:
        """When the group ended; None while it lives."""
        return None if self.lives else self.ended_at


class Fact(NamedTuple):
    """How one dependency stands. One that is no longer stored stands against nothing."""

    dependency: Dependency
    lives: bool = False
    bad: Standing | None = None
    ended_at: datetime | None = None


class Step(StrEnum):
    """What a job that waits must do."""

    WAIT = "wait"
    RUN = "run"
    CANCEL = "cancel"


class Judgement(NamedTuple):
    """The step, and why a job is cancelled."""

    step: Step
    because: CancelledBecause | None = None


WAIT, RUN = Judgement(Step.WAIT), Judgement(Step.RUN)


def standing_of(job: Job) -> Standing:
    """How the job stands."""
    return Standing(job.job_id, job.status, job.finished_at)


def fact_of_job(dependency: Dependency, standing: Standing | None) -> Fact:
    """What a job means for the one that waits for it. None: it is no longer stored."""
    if standing is None or standing.lives:
        return Fact(dependency, lives=standing is not None)
    return Fact(dependency, bad=None if standing.status is Status.COMPLETED else standing, ended_at=standing.ended_at)


def fact_of_group(dependency: Dependency, standing: GroupStanding) -> Fact:
    """What a group means for the job that waits for it."""
    return Fact(dependency, lives=standing.lives, bad=standing.bad, ended_at=standing.ended_at)


def judge(run_if: str | None, facts: Iterable[Fact]) -> Judgement:
    """What the job must do."""
    known = list(facts)
    bad = [fact for fact in known if fact.bad is not None]
    if run_if in (None, COMPLETED) and bad:
        return Judgement(Step.CANCEL, _failed(min(bad, key=_bad_since)))
    if any(fact.lives for fact in known):
        return WAIT
    if run_if == FAILED and not bad:
        return Judgement(Step.CANCEL, _not_needed(known))
    return RUN


def is_cause(job_id: str, group: str | None, because: CancelledBecause | None) -> bool:
    """Whether a job was cancelled for this one's sake, or its group's."""
    if because is None or because.reason not in REASONS:
        return False
    return because.job_id == job_id or (because.job_id is None and because.group is not None and because.group == group)


def _failed(fact: Fact) -> CancelledBecause:
    assert fact.bad is not None
    reason = DEPENDENCY_FAILED if fact.bad.status is Status.FAILED else DEPENDENCY_CANCELLED
    return CancelledBecause(reason=reason, job_id=fact.bad.job_id, group=fact.dependency.group)


def _not_needed(facts: list[Fact]) -> CancelledBecause:
    last = max(facts, key=lambda fact: (fact.ended_at is not None, fact.ended_at))
    return CancelledBecause(reason=NOT_NEEDED, job_id=last.dependency.job_id, group=last.dependency.group)


def _bad_since(fact: Fact) -> tuple[bool, datetime | None]:
    since = None if fact.bad is None else fact.bad.ended_at
    return since is None, since
