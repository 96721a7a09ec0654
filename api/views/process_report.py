"""What is known of the processes of this host when somebody asks why a job is not running; `why.rules` judges it.

No process is asked: control has what they published last.
"""

from __future__ import annotations

from typing import Any

import msgspec

from jobyard.engine.control.snapshot import Snapshot, Snapshots, stats_of
from jobyard.engine.errors import Unavailable
from jobyard.engine.topology import QUEUE, WATCHER, WORKER
from jobyard.engine.why.facts import HttpWorkerSeen, ProcessReport, WorkerSeen

DRAINED = "drained"
"""The state of a process in the roster; see `supervisor.process_table`."""


def build_report(snapshots: Snapshots, now: float) -> ProcessReport:
    """The processes at `now` (monotonic); one without a heartbeat is not reachable."""
    try:
        snapshot = snapshots.take()
    except Unavailable:
        return ProcessReport()
    workers = (stats_of(snapshot.components[name].counters, now) for name in _up(snapshot, WORKER) if name in snapshot.components)
    return ProcessReport(
        watchers=len(_up(snapshot, WATCHER)), queues=len(_up(snapshot, QUEUE)), workers=tuple(map(_worker, workers)),
        http_workers=tuple(msgspec.convert(one, HttpWorkerSeen) for one in http_workers_in(snapshot)),
        drained=tuple(row.name for row in snapshot.rows if row.state == DRAINED),
    )  # fmt: skip


def http_workers_in(snapshot: Snapshot) -> list[dict[str, Any]]:
    """The HTTP workers that asked any scheduler of this host, by name, as they asked last."""
    latest: dict[str, dict[str, Any]] = {}
    for component in snapshot.components.values():
        for one in component.counters.http_workers:
            if one["name"] not in latest or latest[one["name"]]["last_seen_at"] < one["last_seen_at"]:
                latest[one["name"]] = one
    return [latest[name] for name in sorted(latest)]


def _up(snapshot: Snapshot, role: str) -> list[str]:
    return [row.name for row in snapshot.rows if row.role == role and snapshot.is_up(row.name)]


def _worker(stats: dict[str, Any]) -> WorkerSeen:
    running = [executor["running_s"] for executor in stats["executors"] if executor["job_id"] is not None]
    return WorkerSeen(
        name=stats["worker_id"], slots=stats["concurrency"], busy=stats["currently_running"], longest_s=max(running, default=0),
        fault=stats.get("fault"),
    )
