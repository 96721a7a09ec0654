"""Owners' names: `host:boot:process:generation`, such as `box:9f3a1c22:worker-7001:2`. A name is never reused.

Pids and ports are reused; a boot (one start of a supervisor) has random digits of its own, and the supervisor counts the
generations of each process that it starts.

A job that was leased over HTTP is owned by `http/NAME`, the name that the worker gave itself, which several may share: no host's
name contains a slash. No process of ours proves its death; the end of its lease does.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from jobyard.engine.jobs.job import Job, Status

HTTP = "http/"
"""Precedes the name of an HTTP worker. Names that begin so lie between this text and `AFTER_HTTP`."""

AFTER_HTTP = "http0"


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


def http_owner(worker: str) -> str:
    """The owner's name of an HTTP worker."""
    return HTTP + worker


def http_worker(owner: str | None) -> str | None:
    """The name of the HTTP worker that this owner is; None if it is a process of ours, or nobody."""
    return owner.removeprefix(HTTP) if owner is not None and owner.startswith(HTTP) else None


def as_held(job: Job, *, seen_at: Callable[[str], datetime | None], lease_s: float) -> Job:
    """The job as readers should see it: a running job is locked until one lease after its owner's last heartbeat.

    Nothing is written while a job runs on a worker of ours; the lease of an HTTP worker is stored. `seen_at` returns the time of a
    boot's last heartbeat, None if it is unknown.
    """
    if job.status is not Status.RUNNING or job.locked_by is None or http_worker(job.locked_by) is not None:
        return job
    seen = seen_at(parse_owner(job.locked_by).boot)
    return job if seen is None else msgspec.structs.replace(job, locked_until=seen + timedelta(seconds=lease_s))
