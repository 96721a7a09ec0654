"""Finds the connected component of a job: all that it waits for and all that waits for it, directly or not, nearest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jobyard.engine.jobs.job import Dependency, Job, JobFilter
from jobyard.engine.workflows.port import WorkflowStore

MOST_NODES = 500


class Members(Protocol):
    """A page of a list of jobs."""

    @property
    def jobs(self) -> list[Job]:
        """Newest first."""


class GraphStore(Protocol):
    """What this needs of a store; see `store.port.Store`."""

    @property
    def workflows(self) -> WorkflowStore:
        """Who waits for whom."""

    def find(self, job_ids: Sequence[str], *, whole: bool = True) -> list[Job | None]:
        """The jobs with these ids."""

    def list_jobs(self, wanted: JobFilter, *, limit: int, whole: bool = True) -> Members:
        """The newest jobs that match."""


@dataclass(slots=True)
class Component:
    """The jobs, and what each edge leads from and to; `is_whole`: there is nothing more."""

    jobs: list[Job]
    edges: list[tuple[Dependency, str]] = field(default_factory=list)
    is_whole: bool = True


def component(job: Job, store: GraphStore, *, most: int = MOST_NODES) -> Component:
    """The component of the job, of at most so many jobs."""
    found = {job.job_id: job}
    groups: set[str] = set()
    last, is_whole = [job], True
    while last:
        near = _neighbours(last, groups, store, most + 1)
        fresh = [one for one in {one.job_id: one for one in near}.values() if one.job_id not in found]
        is_whole = is_whole and len(found) + len(fresh) <= most
        last = fresh[: most - len(found)]
        found |= {one.job_id: one for one in last}
    edges = [
        (Dependency(job_id=one.job_id, group=one.group), waiting.job_id)
        for waiting in found.values()
        for one in waiting.after or ()
        if one.group is not None or one.job_id in found
    ]
    return Component(list(found.values()), list(dict.fromkeys(edges)), is_whole)


def _neighbours(jobs: Sequence[Job], groups: set[str], store: GraphStore, most: int) -> list[Job]:
    """What these jobs wait for, and what waits for them. `groups` have been looked at."""
    named = [one.job_id for job in jobs for one in job.after or () if one.job_id is not None]
    near = [one for one in store.find(list(dict.fromkeys(named))[:most], whole=False) if one is not None]
    own = {job.group for job in jobs if job.group is not None} - groups
    waited = {one.group for job in jobs for one in job.after or () if one.group is not None} - groups
    wanted = [*(Dependency(job_id=job.job_id) for job in jobs), *(Dependency(group=name) for name in sorted(own | waited))]
    waiting = store.workflows.dependents(wanted, limit=most)
    near += waiting
    joins = waited | {one.group for job in waiting for one in job.after or () if one.group in own}
    for name in sorted(name for name in joins if name is not None):
        near += store.list_jobs(JobFilter(group=name), limit=most, whole=False).jobs
    groups |= {name for name in joins if name is not None}
    return near
