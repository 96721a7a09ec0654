"""Who waits for whom among jobs that are kept in memory: the whole of `WorkflowStore` in its simplest correct form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import datetime

import msgspec

from jobyard.engine.jobs.job import Dependency, Job, Status, without_payload
from jobyard.engine.workflows.port import Group, Unresolved
from jobyard.engine.workflows.rules import GroupStanding, Standing, standing_of


class InMemoryWorkflows:
    """See `WorkflowStore`. `jobs` lists all jobs in the order of insertion, `put` replaces one."""

    def __init__(self, *, jobs: Callable[[], list[Job]], put: Callable[[Job], None]) -> None:
        self._jobs = jobs
        self._put = put

    def may_have_unresolved(self) -> bool:
        """See `WorkflowStore`."""
        return bool(self.unresolved(limit=1))

    def unresolved(self, *, limit: int) -> list[Unresolved]:
        """See `WorkflowStore`."""
        marked = [job for job in self._jobs() if job.to_resolve or (job.is_awaited and job.finished_at is not None)]
        first = sorted(marked, key=_ended_first)[:limit]
        return [Unresolved(job.job_id, job.status, job.epoch, job.group, job.is_awaited, job.to_resolve) for job in first]

    def resolved(self, jobs: Sequence[Unresolved]) -> None:
        """See `WorkflowStore`."""
        epochs = {job.job_id: job.epoch for job in jobs}
        for job in self._jobs():
            if epochs.get(job.job_id) == job.epoch:
                awaited = None if job.is_awaited is None else job.finished_at is None
                self._put(msgspec.structs.replace(job, to_resolve=None, is_awaited=awaited))

    def await_all(self, job_ids: Sequence[str]) -> None:
        """See `WorkflowStore`."""
        for job in self._jobs():
            lives = job.finished_at is None
            if job.job_id in job_ids and (job.is_awaited is None or (lives and not job.is_awaited)):
                self._put(msgspec.structs.replace(job, is_awaited=lives))

    def standings(self, job_ids: Collection[str]) -> dict[str, Standing]:
        """See `Facts`."""
        asked = set(job_ids)
        return {job.job_id: standing_of(job) for job in self._jobs() if job.job_id in asked}

    def group_standing(self, name: str) -> GroupStanding:
        """See `Facts`."""
        members = [standing_of(job) for job in self._jobs() if job.group == name]
        ended = [(one.ended_at, one) for one in members if one.ended_at is not None]
        bad = [(at, one) for at, one in ended if one.status is not Status.COMPLETED]
        return GroupStanding(
            is_known=bool(members), lives=any(one.lives for one in members), bad=min(bad)[1] if bad else None,
            ended_at=max((at for at, _ in ended), default=None),
            is_awaited=any(one.group == name for job in self._jobs() for one in job.after or ()),
        )  # fmt: skip

    def waits(self, job_ids: Collection[str]) -> dict[str, tuple[Dependency, ...]]:
        """See `Facts`."""
        return {job.job_id: job.after for job in self._jobs() if job.after is not None and job.job_id in job_ids}

    def waiting_members(self, group: str) -> list[str]:
        """See `Facts`."""
        return [job.job_id for job in self._jobs() if job.group == group and job.after is not None]

    def dependents(
        self, dependencies: Sequence[Dependency], *, status: Status | None = None, after: str | None = None, limit: int
    ) -> list[Job]:  # fmt: skip
        """See `WorkflowStore`."""
        wanted = {(one.job_id, one.group) for one in dependencies}
        found = (job for job in self._by_id(after) if any((one.job_id, one.group) in wanted for one in job.after or ()))
        return [without_payload(job) for job in found if status in (None, job.status)][:limit]

    def blocked(self, *, before: datetime, after: str | None = None, limit: int) -> list[Job]:
        """See `WorkflowStore`."""
        old = (job for job in self._by_id(after) if job.status is Status.BLOCKED and job.updated_at < before)
        return [without_payload(job) for job in old][:limit]

    def group(self, name: str) -> Group | None:
        """See `WorkflowStore`."""
        members = [job for job in self._jobs() if job.group == name]
        if not members:
            return None
        standing, counted = self.group_standing(name), Counter(job.status for job in members)
        waiting = [job for job in self.dependents([Dependency(group=name)], limit=len(self._jobs())) if job.finished_at is None]
        return Group(
            name=name, counts={status: counted[status] for status in Status}, created_at=min(job.created_at for job in members),
            ended_at=None if standing.lives else standing.ended_at, waiting=[job.job_id for job in waiting[:100]],
        )  # fmt: skip

    def living_groups(self, *, limit: int) -> list[Group]:
        """See `WorkflowStore`."""
        names = {job.group for job in self._jobs() if job.group is not None and job.finished_at is None}
        groups = [group for name in names if (group := self.group(name)) is not None]
        return sorted(groups, key=lambda group: group.created_at, reverse=True)[:limit]

    def results(self, job_ids: Sequence[str], *, max_bytes: int) -> dict[str, bytes] | None:
        """See `WorkflowStore`."""
        found = {job.job_id: job.result for job in self._jobs() if job.job_id in job_ids and job.result is not None}
        return None if sum(map(len, found.values())) > max_bytes else found

    def reader(self, job: Job) -> str | None:
        """See `WorkflowStore`."""
        wanted = [Dependency(job_id=job.job_id), *([] if job.group is None else [Dependency(group=job.group)])]
        return next((one.job_id for one in self.dependents(wanted, limit=len(self._jobs())) if one.finished_at is None), None)

    def is_kept(self, job: Job) -> bool:
        """Whether a living job waits for this one, or may read its result, or its group lives."""
        return self.reader(job) is not None or (job.group is not None and self.group_standing(job.group).lives)

    def _by_id(self, after: str | None) -> list[Job]:
        return sorted((job for job in self._jobs() if job.job_id > (after or "")), key=lambda job: job.job_id)


def _ended_first(job: Job) -> tuple[bool, datetime | None]:
    return job.finished_at is None, job.finished_at or job.updated_at
