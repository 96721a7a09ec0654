"""Owners' names: `host:boot:process:generation`, such as `box:9f3a1c22:worker-7001:2`. A name is never reused.

Pids and ports are reused; a boot (one start of a supervisor) has random digits of its own, and the supervisor counts the
generations of each process that it starts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from jobyard.engine.jobs.job import Job, Status


class Owner(NamedTuple):
    """The process that holds a job."""

    host: str
    boot: str
    process: str
    generation: int

    def __str__(self) -> str:
        return f"{self.host}:{self.boot}:{self.process}:{self.generation}"


def parse_owner(name: str) -> Owner:
    """Parse `str(owner)`; raises `ValueError` for anything else."""
    host, boot, process, generation = name.rsplit(":", 3)
    return Owner(host, boot, process, int(generation))


def as_held(job: Job, *, seen_at: Callable[[str], datetime | None], lease_s: float) -> Job:
    """The job as readers should see it: a running job is locked until one lease after its owner's last heartbeat.

    Nothing is written while a job runs. `seen_at` returns the time of a boot's last heartbeat, None if it is unknown.
    """
    if job.status is not Status.RUNNING or job.locked_by is None:
        return job
    seen = seen_at(parse_owner(job.locked_by).boot)
    return job if seen is None else msgspec.structs.replace(job, locked_until=seen + timedelta(seconds=lease_s))
