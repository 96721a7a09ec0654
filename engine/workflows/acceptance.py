"""Decides about the new jobs of one request that wait for others or are members of groups: refused, or stored in which status.

Called when it is settled which jobs of the request are new, and before anything of it is written. What has ended by then decides
at once, so a job may be stored as `cancelled`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Dependency, Job, Status
from jobyard.engine.jobs.strict_json import shown
from jobyard.engine.workflows.order import Cycle, Node, in_order
from jobyard.engine.workflows.port import Facts
from jobyard.engine.workflows.rules import (
    Fact,
    GroupStanding,
    Standing,
    Step,
    fact_of_group,
    fact_of_job,
    judge,
    standing_of,
)

_JOB_ID = re.compile(r"[0-9a-f]{24}")


class NotAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing of the request is stored, because of its job `index`. `field` is a field of that job."""

    index: int
    code: str
    message: str
    field: str


@dataclass(slots=True)
class Acceptance:
    """The jobs as they are to be stored, and the stored jobs that are waited for."""

    jobs: list[Job]
    awaited: list[str] = field(default_factory=list)


def concerns(jobs: Iterable[Job]) -> bool:
    """Whether any of the jobs waits, or is a member of a group."""
    return any(job.after is not None or job.group is not None for job in jobs)


def accept(
    jobs: Sequence[Job], facts: Facts, *, indexes: Mapping[str, int], stands_for: Mapping[str, str], is_alone: bool,
    to_resolve: bool,
) -> Acceptance | NotAccepted:  # fmt: skip
    """`indexes`: of these jobs in the request. `stands_for`: the ids of jobs of the request that others stand for, and those.

    `is_alone`: the request is a single job. `to_resolve`: see `lifecycle.blocked`.
    """
    known = _Known([_standing_in(job, stands_for) for job in jobs], facts, indexes, is_alone=is_alone)
    refused = known.refusal()
    if refused is not None:
        return refused
    order = in_order(known.jobs, facts, joined=known.groups)
    if isinstance(order, Cycle):
        return known.cycle(order)
    for node in order:
        known.decide(node, to_resolve=to_resolve)
    return known.accepted()


def _standing_in(job: Job, stands_for: Mapping[str, str]) -> Job:
    if job.after is None or not any(one.job_id in stands_for for one in job.after):
        return job
    after = tuple(
        msgspec.structs.replace(one, job_id=stands_for.get(one.job_id, one.job_id)) if one.job_id else one for one in job.after
    )
    return msgspec.structs.replace(job, after=after)


class _Known:
    """The jobs of the request, as far as they are decided, and how what they wait for stands."""

    def __init__(self, jobs: list[Job], facts: Facts, indexes: Mapping[str, int], *, is_alone: bool) -> None:
        self.jobs = {job.job_id: job for job in jobs}
        self._indexes = indexes
        self._is_alone = is_alone
        named = {one.job_id for job in jobs for one in job.after or () if one.job_id is not None} - self.jobs.keys()
        self._stored = facts.standings([job_id for job_id in named if _JOB_ID.fullmatch(job_id)])
        joined = {job.group for job in jobs if job.group is not None}
        waited = {one.group for job in jobs for one in job.after or () if one.group is not None}
        self.groups: dict[str, GroupStanding] = {name: facts.group_standing(name) for name in sorted(joined | waited)}
        self._members: dict[str, list[str]] = {}
        for job in jobs:
            if job.group is not None:
                self._members.setdefault(job.group, []).append(job.job_id)
        self._awaited = {one.job_id for job in jobs for one in job.after or () if one.job_id is not None}

    def refusal(self) -> NotAccepted | None:
        """What stands against a job of the request, cycles apart."""
        for job in self.jobs.values():
            refused = self._refusal_of_group(job) or self._refusal_of_after(job)
            if refused is not None:
                return refused
        return None

    def cycle(self, cycle: Cycle) -> NotAccepted:
        """The refusal of jobs that wait for one another."""
        told = " → ".join(map(self._name_of, cycle.nodes))
        first = next(node.job_id for node in cycle.nodes if node.job_id in self.jobs)
        return self._refused(self.jobs[first], "cycle", f"the jobs wait for one another in a cycle: {told}", "after")

    def decide(self, node: Node, *, to_resolve: bool) -> None:
        """Decide about a job once everything of the request that it waits for is decided."""
        job = self.jobs.get(node.job_id or "")
        if job is None or job.after is None:
            return
        judgement = judge(job.run_if, map(self._fact, job.after))
        if judgement.step is Step.WAIT:
            job = lifecycle.blocked(job, to_resolve=to_resolve)
        elif judgement.step is Step.CANCEL:
            job = lifecycle.cancel(job, now=job.created_at, because=judgement.because).after(job)
        self.jobs[job.job_id] = job

    def accepted(self) -> Acceptance:
        """The result."""
        jobs = [
            msgspec.structs.replace(job, is_awaited=True) if job.group is not None or job.job_id in self._awaited else job
            for job in self.jobs.values()
        ]
        return Acceptance(jobs, sorted(self._awaited & self._stored.keys()))

    # ----

    def _fact(self, one: Dependency) -> Fact:
        if one.group is not None:
            return fact_of_group(one, self._standing_of_group(one.group))
        own = self.jobs.get(one.job_id or "")
        return fact_of_job(one, self._stored.get(one.job_id or "") if own is None else standing_of(own))

    def _standing_of_group(self, name: str) -> GroupStanding:
        """Of its stored members and those of the request, which are decided once."""
        members = [standing_of(self.jobs[job_id]) for job_id in self._members.pop(name, ())]
        if members:
            self.groups[name] = _with_members(self.groups[name], members)
        return self.groups[name]

    def _refusal_of_group(self, job: Job) -> NotAccepted | None:
        if job.group is None or self.groups[job.group].lives or not self.groups[job.group].is_awaited:
            return None
        told = f"group {shown(job.group)} has ended, and a job has waited for it, so it takes no more members; use another name"
        return self._refused(job, "group_ended", told, "group")

    def _refusal_of_after(self, job: Job) -> NotAccepted | None:
        for one in job.after or ():
            if one.group is not None and not self.groups[one.group].is_known and one.group not in self._members:
                told = f"after names group {shown(one.group)}, which has no member, neither stored nor in this request"
                return self._refused(job, "unknown_group", told, "after")
            if one.job_id is not None and one.job_id not in self.jobs and one.job_id not in self._stored:
                told = "which is not the id of a stored job" + ("" if self._is_alone else ", nor a ref of this batch")
                return self._refused(job, "unknown_job", f"after names {shown(one.job_id)}, {told}", "after")
        return None

    def _refused(self, job: Job, code: str, message: str, name: str) -> NotAccepted:
        return NotAccepted(index=self._indexes[job.job_id], code=code, message=message, field=name)

    def _name_of(self, node: Node) -> str:
        if node.group is not None:
            return f"group {shown(node.group)}"
        own = self.jobs.get(node.job_id or "")
        if own is None:
            return f"job {node.job_id}"
        return own.ref or ("this job" if self._is_alone else f"jobs[{self._indexes[own.job_id]}]")


def _with_members(group: GroupStanding, members: Sequence[Standing]) -> GroupStanding:
    ended = [one for one in members if not one.lives]
    bad = [one for one in ended if one.status is not Status.COMPLETED]
    return group._replace(
        is_known=True, lives=group.lives or len(ended) < len(members), bad=group.bad or (bad[0] if bad else None),
        ended_at=max((at for at in (group.ended_at, *(one.ended_at for one in ended)) if at is not None), default=None),
    )  # fmt: skip
