"""What must be known to say why a job is not running: values only.

The front gathers what the processes of its host say (`ProcessReport`), `scheduler.why` what the store and the other hosts say;
`why.rules` makes words of it.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.owners import parse_owner

WAITING = (Status.PENDING, Status.CLAIMED, Status.QUEUED)


class WorkerSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A worker of this host that answers. `longest_s`: how long its longest job has been running; `fault`: why it runs none."""

    name: str
    slots: int
    busy: int
    longest_s: float = 0
    fault: str | None = None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the job is in this host's queue: `ready` with so many `ahead`, `leased` by a worker, or not there (None).

    `waiting`: how many are ready of each priority 0 to 9.
    """

    state: str | None = None
    leased_by: str | None = None
    ahead: int = 0
    waiting: tuple[int, ...] = (0,) * 10


class ProcessReport(msgspec.Struct, frozen=True, kw_only=True):
    """This host as its front sees it. `watchers`: how many answer. `place`: None when no queue does."""

    watchers: int = 0
    workers: tuple[WorkerSeen, ...] = ()
    place: Place | None = None


class HostSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What a host can work on, None means any. `silent_s`: since its last sign of life; None: it is this one."""

    host: str
    boot: str
    tasks: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None
    silent_s: float | None = None
    lease_s: float = 30

    @property
    def is_here(self) -> bool:
        """Whether it is the one that is asked."""
        return self.silent_s is None

    @property
    def is_alive(self) -> bool:
        """As far as the clocks of both agree."""
        return self.silent_s is None or self.silent_s <= self.lease_s

    def serves_task(self, job: Job) -> bool:
        """Whether it has the job's task."""
        return self.tasks is None or job.task in self.tasks

    def serves(self, job: Job) -> bool:
        """Whether it would take the job."""
        return self.serves_task(job) and (self.queues is None or job.queue in self.queues)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known. `job`: None when the database cannot be read, and `fault` says why."""

    job_id: str
    now: datetime
    boot: str
    report: ProcessReport
    hosts: tuple[HostSeen, ...]
    job: Job | None = None
    fault: str | None = None
    ahead: int = 0
    """Due jobs in the database that are claimed before it."""
    is_exact: bool = True
    max_lost: int = 5

    @property
    def is_waiting(self) -> bool:
        """Whether it has neither begun nor ended."""
        return self.job is not None and self.job.status in WAITING

    @property
    def is_due(self) -> bool:
        """Whether it waits and may begin."""
        return self.job is not None and self.is_waiting and self.job.scheduled_at <= self.now

    @property
    def is_elsewhere(self) -> bool:
        """Whether another host holds it."""
        holder = self.job.holder if self.job is not None else None
        return holder is not None and parse_owner(holder).boot != self.boot

    @property
    def is_served_here(self) -> bool:
        """Whether this host would take it."""
        return self.job is not None and any(host.is_here and host.serves(self.job) for host in self.hosts)

    @property
    def needs_us(self) -> bool:
        """Whether nobody but this host will run it, as far as is known."""
        if self.job is None or not self.is_waiting or self.is_elsewhere:
            return self.job is None
        others = (host for host in self.hosts if not host.is_here and host.is_alive)
        return self.job.holder is not None or not any(host.serves(self.job) for host in others)
