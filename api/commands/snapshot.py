"""Snapshots of the whole system for `top`: `/stats`, the running jobs and the history, and the rates between two snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobyard.engine.client.sync_client import Client
from jobyard.engine.jobs.job import Status
from jobyard.engine.topology import SCHEDULER, WORKER
from jobyard.engine.world import World

Json = Mapping[str, Any]

RUNNING_PATH = f"/api/jobs?status={Status.RUNNING}&limit=1000"
COUNTERS = {"accepted": "jobs_accepted", "succeeded": "jobs_succeeded", "failed": "jobs_failed", "retried": "jobs_retried"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """An executor that runs a job."""

    worker: str
    pid: int
    job_id: str
    running_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of the system at one moment."""

    at: datetime
    at_s: float
    stats: Json
    jobs: Mapping[str, Json]
    """The running jobs, by id."""
    depth: Mapping[str, int]
    """The number of jobs in the queue, by priority."""
    lag_ms: Mapping[str, float] | None = None
    """How late jobs began in the latest minute in which any did: `p50`, `p95`, `p99`."""

    def components(self, role: str) -> dict[str, Json]:
        """The counters of the components with this role."""
        return {name: about for name, about in self.stats["components"].items() if name.startswith(f"{role}-")}

    def slots(self) -> list[Slot]:
        """The busy slots, longest running first."""
        busy = [
            Slot(worker=name, pid=executor["pid"], job_id=executor["job_id"], running_s=executor["running_s"])
            for name, worker in self.components(WORKER).items()
            for executor in worker.get("executors", ())
            if executor["job_id"] is not None
        ]
        return sorted(busy, key=lambda slot: -slot.running_s)

    def count_slots(self) -> int:
        """The number of all slots."""
        return sum(worker.get("concurrency", 0) for worker in self.components(WORKER).values())

    def as_json(self) -> dict[str, object]:
        """The snapshot for programs."""
        return {"stats": self.stats, "running": list(self.jobs.values()), "queue_depth": self.depth, "lag_ms": self.lag_ms}


def take_snapshot(client: Client, world: World) -> Snapshot:
    """Query the service."""
    stats = client.ask("GET", "/stats")
    jobs = client.ask("GET", RUNNING_PATH) if stats["jobs"][Status.RUNNING] else []
    history = client.ask("GET", "/api/history")
    lags = [minute["lag_ms"] for minute in history.get("minutes", ()) if minute["lag_ms"] is not None]
    return Snapshot(
        at=world.now().astimezone(), at_s=world.monotonic(), stats=stats, jobs={job["job_id"]: job for job in jobs},
        depth=history["queue_depth"], lag_ms=lags[-1] if lags else None,
    )  # fmt: skip


def rates(before: Snapshot, after: Snapshot) -> dict[str, float]:
    """Events per second. A component that was replaced in between starts counting from 0 again, so it is left out."""
    passed_s = max(after.at_s - before.at_s, 0.001)
    found = dict.fromkeys(COUNTERS, 0)
    for role in (SCHEDULER, WORKER):
        earlier = before.components(role)
        for name, about in after.components(role).items():
            for word, counter in COUNTERS.items():
                found[word] += max(0, about.get(counter, 0) - earlier.get(name, {}).get(counter, about.get(counter, 0)))
    return {word: count / passed_s for word, count in found.items()}
