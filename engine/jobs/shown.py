"""A job as readers should see it, where that is not what is stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.owners import http_worker, parse_owner


def as_held(job: Job, *, seen_at: Callable[[str], datetime | None], lease_s: float) -> Job:
    """The job as readers should see it: a running job is locked until one lease after its owner's last heartbeat.

    Nothing is written while a job runs on a worker of ours; the lease of an HTTP worker is stored. `seen_at` returns the time of a
    boot's last heartbeat, None if it is unknown.
    """
    if job.status is not Status.RUNNING or job.locked_by is None or http_worker(job.locked_by) is not None:
        return job
    seen = seen_at(parse_owner(job.locked_by).boot)
    return job if seen is None else msgspec.structs.replace(job, locked_until=seen + timedelta(seconds=lease_s))
