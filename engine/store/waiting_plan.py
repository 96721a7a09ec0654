"""Decides about the new jobs of a planned request that wait for others or are members of groups, for any store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.store.unique_plan import UniquePlan
from jobyard.engine.workflows.acceptance import NotAccepted, accept, concerns
from jobyard.engine.workflows.port import Facts


class Waiting(NamedTuple):
    """What follows for a request: the stored jobs that it waits for, and the status of its last new job."""

    awaited: list[str]
    status: Status


NOTHING = Waiting([], Status.PENDING)


def accept_new(
    plan: UniquePlan, jobs: Sequence[Job], job_ids: Sequence[str], facts: Facts, *, to_resolve: bool
) -> Waiting | NotAccepted:  # fmt: skip
    """Give the plan's new jobs their statuses. `jobs` are all of the request, and `job_ids` those that stand for them.

    A request that is sent again, whose jobs are stored, stays as it is.
    """
    fresh = plan.fresh
    if not concerns(fresh):
        return NOTHING
    stored = facts.standings({fresh[0].job_id, fresh[-1].job_id})
    if stored:
        last = stored.get(fresh[-1].job_id)
        return Waiting([], Status.PENDING if last is None else last.status)
    accepted = accept(
        fresh, facts, indexes={job.job_id: index for index, job in enumerate(jobs)},
        stands_for={job.job_id: stands for job, stands in zip(jobs, job_ids, strict=True) if job.job_id != stands},
        is_alone=len(jobs) == 1, to_resolve=to_resolve,
    )  # fmt: skip
    if isinstance(accepted, NotAccepted):
        return accepted
    fresh[:] = accepted.jobs
    return Waiting(accepted.awaited, accepted.jobs[-1].status)
