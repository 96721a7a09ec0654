"""One look at the whole system for `top`: what `/stats`, the running jobs and the history say, and rates between two looks."""

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
COUNTED = {"accepted": "jobs_accepted", "succeeded": "jobs_succeeded", "failed": "jobs_failed", "retried": "jobs_retried"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """An executor that runs a job."""

    worker: str
    pid: int
    job_id: str
    running_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What there was at that moment."""

    at: datetime
    at_s: float
    stats: Json
    jobs: Mapping[str, Json]
    """Those that run, by id."""
    depth: Mapping[str, int]
    """How many jobs are in the queue, by priority."""

    def components(self, role: str) -> dict[str, Json]:
        """What those of this role say of themselves."""
        return {name: about for name, about in self.stats["components"].items() if name.startswith(f"{role}-")}

    def slots(self) -> list[Slot]:
        """The busy ones, longest first."""
        busy = [
            Slot(worker=name, pid=executor["pid"], job_id=executor["job_id"], running_s=executor["running_s"])
            for name, worker in self.components(WORKER).items()
            for executor in worker.get("executors", ())
            if executor["job_id"] is not None
        ]
        return sorted(busy, key=lambda slot: -slot.running_s)

    def count_slots(self) -> int:
        """All of them."""
        return sum(worker.get("concurrency", 0) for worker in self.components(WORKER).values())

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {"stats": self.stats, "running": list(self.jobs.values()), "queue_depth": self.depth}


def take_look(client: Client, world: World) -> Look:
    """Ask the service."""
    stats = client.ask("GET", "/stats")
    jobs = client.ask("GET", RUNNING_PATH) if stats["jobs"][Status.RUNNING] else []
    depth = client.ask("GET", "/api/history")["queue_depth"]
    return Look(
        at=world.now().astimezone(), at_s=world.monotonic(), stats=stats, jobs={job["job_id"]: job for job in jobs}, depth=depth
    )  # fmt: skip


def rates(before: Look, after: Look) -> dict[str, float]:
    """What happened a second; a component that was replaced in between begins to count anew and is left out."""
    passed_s = max(after.at_s - before.at_s, 0.001)
    found = dict.fromkeys(COUNTED, 0)
    for role in (SCHEDULER, WORKER):
        earlier = before.components(role)
        for name, about in after.components(role).items():
            for word, counter in COUNTED.items():
                found[word] += max(0, about.get(counter, 0) - earlier.get(name, {}).get(counter, about.get(counter, 0)))
    return {word: count / passed_s for word, count in found.items()}
