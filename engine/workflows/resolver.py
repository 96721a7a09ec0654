"""Brings forward what waits for other jobs, after these have ended or live again. Every watcher does so.

    a job ends ──▶ is_awaited and ended ─┐
    a job is retried, or stored blocked ─┴▶ unresolved ──▶ judge those that wait for it, and itself ──▶ resolved

The work is found by a question to the rows, and a job's marks are taken only after everything that follows from them was written.
So a death at any point leaves work that anybody does again, and doing it again changes nothing: each change is guarded, and of
several that find the same job ready only one unblocks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Dependency, Job, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.workflows.port import Facts, Unresolved, WorkflowStore
from jobyard.engine.workflows.rules import Fact, Judgement, Step, fact_of_group, fact_of_job, is_cause, judge

SLICE = 500


@dataclass(slots=True)
class Resolved:
    """What came of one look. `due`: the earliest time at which an unblocked job is due."""

    looked_at: int = 0
    unblocked: int = 0
    cancelled: int = 0
    restored: int = 0
    due: datetime | None = None


class ResolverStore(Protocol):
    """What the resolver needs of a store; see `store.port.Store`."""

    @property
    def workflows(self) -> WorkflowStore:
        """Who waits for whom."""

    def find(self, job_ids: Sequence[str], *, whole: bool = True) -> list[Job | None]:
        """The jobs with these ids."""

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """Guarded changes."""

    def free_key(self, key: str, *, now: datetime) -> Job | None:
        """Who holds a unique key."""


class Resolver:
    """One process's."""

    def __init__(self, store: ResolverStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._workflows = store.workflows
        self._now = now

    def resolve(self, *, limit: int = SLICE) -> Resolved:
        """Look at the next jobs that have ended or live again, and change those that wait for them."""
        jobs = self._workflows.unresolved(limit=limit)
        told = Resolved(looked_at=len(jobs))
        if jobs:
            self._restore([job for job in jobs if job.to_resolve], told)
            blocked = self._store.find([job.job_id for job in jobs if job.status is Status.BLOCKED], whole=False)
            self._look_at_blocked([job for job in blocked if job is not None and job.status is Status.BLOCKED], told)
            for page in self._dependents([job for job in jobs if job.has_ended], Status.BLOCKED):
                self._advance(page, told)
            self._workflows.resolved(jobs)
        return told

    def look_over(self, jobs: Sequence[Job]) -> Resolved:
        """Judge these blocked jobs, whatever their marks say."""
        told = Resolved(looked_at=len(jobs))
        self._look_at_blocked(jobs, told)
        return told

    def _look_at_blocked(self, jobs: Sequence[Job], told: Resolved) -> None:
        """What they wait for is marked first: if it ends after that, its end is noticed; if before, the judgement sees it."""
        if jobs:
            named = {one.job_id for job in jobs for one in job.after or () if one.job_id is not None}
            self._workflows.await_all(sorted(named))
            self._advance(jobs, told)

    def _advance(self, jobs: Sequence[Job], told: Resolved) -> None:
        now = self._now()
        changes = []
        for job, judgement in zip(jobs, judgements(jobs, self._workflows), strict=True):
            if judgement.step is Step.RUN:
                changes.append((job, lifecycle.unblock(job, now=now)))
            elif judgement.step is Step.CANCEL:
                changes.append((job, lifecycle.cancel(job, now=now, because=judgement.because)))
        done = self._store.apply([change for _, change in changes])
        for (job, change), was_done in zip(changes, done, strict=True):
            if was_done and change.verb is lifecycle.Verb.UNBLOCK:
                told.unblocked += 1
                told.due = job.scheduled_at if told.due is None else min(told.due, job.scheduled_at)
            told.cancelled += was_done and change.verb is lifecycle.Verb.CANCEL

    def _restore(self, causes: Sequence[Unresolved], told: Resolved) -> None:
        """Bring back what was cancelled because of these jobs, which live again, or have ended again since; what is brought back is
        marked in turn."""
        for page in self._dependents(causes, Status.CANCELLED):
            now = self._now()
            restored = [job for job in page if any(is_cause(one.job_id, one.group, job.cancelled_because) for one in causes)]
            changes = [change for job in restored if self._is_free(change := lifecycle.restore(job, now=now), now)]
            told.restored += sum(self._store.apply(changes))

    def _is_free(self, change: Change, now: datetime) -> bool:
        """Whether the unique key that the job takes again is free."""
        key = change.fields.get("held_key")
        return not isinstance(key, str) or self._store.free_key(key, now=now) is None

    def _dependents(self, jobs: Sequence[Unresolved], status: Status) -> Iterator[list[Job]]:
        """Pages of the jobs of this status that wait for one of these jobs or their groups."""
        groups = sorted({job.group for job in jobs if job.group is not None})
        wanted = [*(Dependency(job_id=job.job_id) for job in jobs), *(Dependency(group=name) for name in groups)]
        last: str | None = None
        while wanted and (page := self._workflows.dependents(wanted, status=status, after=last, limit=SLICE)):
            last = page[-1].job_id
            yield page


def judgements(jobs: Sequence[Job], facts: Facts) -> list[Judgement]:
    """What each of these jobs, which all wait for something, must do."""
    named = [one for job in jobs for one in job.after or ()]
    standings = facts.standings({one.job_id for one in named if one.job_id is not None})
    groups = {name: facts.group_standing(name) for name in {one.group for one in named if one.group is not None}}

    def fact(one: Dependency) -> Fact:
        return fact_of_job(one, standings.get(one.job_id or "")) if one.group is None else fact_of_group(one, groups[one.group])

    return [judge(job.run_if, map(fact, job.after or ())) for job in jobs]
