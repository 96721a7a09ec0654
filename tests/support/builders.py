"""Values with good defaults."""

from __future__ import annotations

import itertools
import os

from jobyard.engine.hosts.host_lease import HostLease
from jobyard.engine.jobs.job import Job, Status, Ticket, ticket_for
from jobyard.engine.logs import Log
from jobyard.engine.store.port import HostHeartbeat, Hosts
from jobyard.engine.world import World
from tests.support.world import START, FakeWorld

_numbers = itertools.count(1)
_nowhere = os.open(os.devnull, os.O_WRONLY)


def a_job(**fields: object) -> Job:
    """A pending job that is due; a running one is held by a worker, a queued or claimed one by a watcher."""
    values: dict[str, object] = {
        "job_id": f"{next(_numbers):024x}", "task": "echo", "scheduled_at": START, "created_at": START, "updated_at": START,
    }  # fmt: skip
    status = fields.get("status", Status.PENDING)
    if status in (Status.CLAIMED, Status.QUEUED, Status.RUNNING):
        values |= {"claimed_by": "box:b00t:watcher-9001:1", "claimed_at": START, "epoch": 1}
    if status in (Status.QUEUED, Status.RUNNING):
        values |= {"queued_at": START}
    if status is Status.RUNNING:
        values |= {"locked_by": "box:b00t:worker-7001:1", "locked_until": START, "last_run_at": START, "attempt": 1, "epoch": 2}
    return Job(**(values | fields))  # type: ignore[arg-type]


def a_ticket(**fields: object) -> Ticket:
    """The ticket of a queued job."""
    return ticket_for(a_job(status=Status.QUEUED, **fields))


def a_host_lease(world: World, *, hosts: Hosts | None = None, boot: str = "b00t", lease_s: float = 30) -> HostLease:
    """A host lease; without `hosts`, that of a single host, which cannot be lost."""
    return HostLease(
        hosts=hosts, world=world, lease_s=lease_s,
        sign=lambda: HostHeartbeat(boot=boot, host="box", renewal=0, seen_at=world.now()),
    )  # fmt: skip


def a_log() -> Log:
    """A log that is discarded."""
    return Log(FakeWorld(), fd=_nowhere)
