"""Reports on the jobs of a store in memory; see `store.report_port`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from jobyard.engine.jobs.error_kind import kind_of
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.store.bounds import AHEAD_LOOK, FAILURES_LOOK, MOST_FAILURES
from jobyard.engine.store.report_port import DueJobs, Failures


class MemoryReports:
    """See `ReportStore`."""

    def __init__(self, jobs: Callable[[], list[Job]]) -> None:
        self._jobs = jobs

    def failures(
        self, *, since: datetime | None = None, look: int = FAILURES_LOOK, limit: int = MOST_FAILURES
    ) -> list[Failures]:  # fmt: skip
        of_failed = [(job.finished_at, job) for job in self._jobs() if job.status is Status.FAILED]
        failed = [(at, job) for at, job in of_failed if at is not None and (since is None or at >= since)]
        newest_first = sorted(failed, key=lambda pair: pair[0], reverse=True)
        groups: dict[tuple[str, str], list[tuple[datetime, Job]]] = {}
        for at, job in newest_first[:look]:
            groups.setdefault((job.task, kind_of(job.error) or ""), []).append((at, job))
        told = [
            Failures(
                task=task, error_kind=kind, count=len(found), first_at=found[-1][0], last_at=found[0][0],
                example_job_id=found[0][1].job_id, is_exact=len(newest_first) <= look,
            )
            for (task, kind), found in groups.items()
        ]  # fmt: skip
        return sorted(told, key=lambda one: (-one.count, one.task, one.error_kind))[:limit]

    def due_by_task(self, *, now: datetime, look: int = AHEAD_LOOK) -> list[DueJobs]:
        groups: dict[tuple[str, str], list[datetime]] = {}
        for job in self._jobs():
            if job.status is Status.PENDING and job.scheduled_at <= now:
                groups.setdefault((job.task, job.queue), []).append(job.scheduled_at)
        return [
            DueJobs(task=task, queue=queue, count=min(look, len(due)), oldest_at=min(due), is_exact=len(due) < look)
            for (task, queue), due in sorted(groups.items())
        ]
