"""The facts that explain why a job is not running; values only.

The front collects what the processes of its host report (`ProcessReport`), `scheduler.why` what the store and the other hosts
know; `why.rules` turns the facts into sentences.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.limits.limit import Paused

WAITING = (Status.BLOCKED, Status.PENDING, Status.CLAIMED, Status.QUEUED)


class WorkerSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A reachable worker of this host. `longest_s`: age of its longest-running job; `fault`: why it cannot run jobs."""

    name: str
    slots: int
    busy: int
    longest_s: float = 0
    fault: str | None = None


class HttpWorkerSeen(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP worker that has asked this host for jobs. `queues`: None means any."""

    name: str
    tasks: tuple[str, ...]
    queues: tuple[str, ...] | None
    last_seen_at: datetime

    def serves(self, job: Job) -> bool:
        """Whether it takes the job."""
        return job.task in self.tasks and (self.queues is None or job.queue in self.queues)


class ProcessReport(msgspec.Struct, frozen=True, kw_only=True):
    """This host as its front sees it. `watchers`, `queues`: how many are reachable; `drained`: names of components that an operator
    has drained."""

    watchers: int = 0
    queues: int = 0
    workers: tuple[WorkerSeen, ...] = ()
    http_workers: tuple[HttpWorkerSeen, ...] = ()
    drained: tuple[str, ...] = ()


class HostSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What a host can run; None means any. `silent_s`: time since its last heartbeat; None for this host."""

    host: str
    boot: str
    tasks: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    silent_s: float | None = None
    lease_s: float = 30

    @property
    def is_here(self) -> bool:
        """Whether this is the host that was asked."""
        return self.silent_s is None

    @property
    def is_alive(self) -> bool:
        """Whether its lease is current, as far as the two hosts' clocks agree."""
        return self.silent_s is None or self.silent_s <= self.lease_s

    def serves_task(self, job: Job) -> bool:
        """Whether it has the job's task."""
        return self.tasks is None or job.task in self.tasks

    def serves(self, job: Job) -> bool:
        """Whether it would run the job."""
        return self.serves_task(job) and (self.queues is None or job.queue in self.queues)


class ObstacleSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What stands against the begin of a job in one part of its limits; `code` is that of the reason."""

    code: str
    part: str
    limit: str
    until: datetime | None = None
    max_running: int | None = None
    job_ids: tuple[str, ...] = ()
    paused: Paused | None = None


class Missing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job, or a group, that must end first. `living`: how many members have not ended."""

    job_id: str | None = None
    ref: str | None = None
    status: Status | None = None
    group: str | None = None
    living: int | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known. `job` is None if the database cannot be read; `fault` then says why."""

    job_id: str
    now: datetime
    boot: str
    report: ProcessReport
    hosts: tuple[HostSeen, ...]
    job: Job | None = None
    fault: str | None = None
    ahead: int = 0
    """The number of due jobs in the database that are claimed before this one."""
    is_exact: bool = True
    obstacles: tuple[ObstacleSeen, ...] = ()
    """What stands against its begin in each part of its limits."""
    waits_for: tuple[Missing, ...] = ()
    """What a blocked job waits for, as far as it has not ended."""
    max_lost: int = 5
    is_for_http_workers: bool = False
    """Whether HTTP workers run its task."""

    @property
    def is_waiting(self) -> bool:
        """Whether the job has neither started nor ended."""
        return self.job is not None and self.job.status in WAITING

    @property
    def is_due(self) -> bool:
        """Whether the job is waiting and its time has come."""
        return self.job is not None and self.is_waiting and self.job.scheduled_at <= self.now

    @property
    def is_served_here(self) -> bool:
        """Whether this host would run the job."""
        return self.job is not None and any(host.is_here and host.serves(self.job) for host in self.hosts)

    @property
    def needs_us(self) -> bool:
        """Whether, as far as is known, only this host can run the job."""
        if self.job is None or not self.is_waiting:
            return self.job is None
        if self.is_for_http_workers:
            return False
        others = (host for host in self.hosts if not host.is_here and host.is_alive)
        return not any(host.serves(self.job) for host in others)
