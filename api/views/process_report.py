"""Reports the state of this host's processes for the question why a job is not running; `why.rules` evaluates it.

Workers and watchers are not asked, because control has what they published. Only the queue knows the job's position in it.
"""

from __future__ import annotations

from typing import Any

from jobyard.engine.control.snapshot import Snapshot, Snapshots, stats_of
from jobyard.engine.errors import Unavailable
from jobyard.engine.topology import QUEUE, WATCHER, WORKER
from jobyard.engine.why.facts import ProcessReport, WorkerSeen


class Calls(Protocol):
    """The part of `Caller` that this module uses."""

    def call(self, name: str, request: Message, *, timeout_s: float) -> Message:
        """The component's reply; raises `NoAnswer`."""


def build_report(caller: Calls, snapshots: Snapshots, job_id: str, now: float) -> ProcessReport:
    """The report at the monotonic time `now`. Processes whose heartbeat is overdue count as absent."""
    try:
        snapshot = snapshots.take()
    except Unavailable:
        return ProcessReport()
    workers = (stats_of(snapshot.components[name].counters, now) for name in _up(snapshot, WORKER) if name in snapshot.components)
    return ProcessReport(
        watchers=len(_up(snapshot, WATCHER)), workers=tuple(_worker(stats) for stats in workers),
        place=next((place for name in _up(snapshot, QUEUE) if (place := _place(caller, name, job_id)) is not None), None),
    )  # fmt: skip


def _up(snapshot: Snapshot, role: str) -> list[str]:
    return [row.name for row in snapshot.rows if row.role == role and snapshot.is_up(row.name)]


def _place(caller: Calls, queue: str, job_id: str) -> Place | None:
    try:
        answer = caller.call(queue, GetPlace(job_id=job_id), timeout_s=ANSWER_S)
    except NoAnswer:
        return None
    return msgspec.json.decode(answer.body, type=Place) if isinstance(answer, Json) else None


def _worker(stats: dict[str, Any]) -> WorkerSeen:
    running = [executor["running_s"] for executor in stats["executors"] if executor["job_id"] is not None]
    return WorkerSeen(
        name=stats["worker_id"], slots=stats["concurrency"], busy=stats["currently_running"], longest_s=max(running, default=0),
        fault=stats.get("fault"),
    )
