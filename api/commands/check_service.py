"""The checks of `doctor` on the running service: whether all of it is healthy, and whether jobs are stuck."""

from __future__ import annotations

import select
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from jobyard.api.commands.findings import Finding, broken, fine, warning
from jobyard.api.commands.times import span
from jobyard.engine.checkout import program
from jobyard.engine.client.sync_client import Client
from jobyard.engine.jobs.job import Status
from jobyard.engine.topology import QUEUE, WORKER
from jobyard.engine.why.reason import Code
from jobyard.engine.words import counted

Json = Mapping[str, Any]

JOBS_CHECKED = 1000
GRACE_S = 15.0
"""Allowed on top: a job past its timeout is stopped in stages, and a queued one may have just been handed out."""
WAITED_LONG_S = 30.0
SHORT_LIFE_S = 600.0
OFTEN = 3
FEW = 10
RECHECK_S = 0.2
OF_THE_DATABASE = "the database is not available"
"""How every reason begins that is a fault of the database or its disk."""
BACKLOG_CODES = frozenset({Code.JOBS_AHEAD, Code.SLOTS_BUSY, Code.RUNNING, Code.ABOUT_TO_START})
"""The reasons of jobs that wait only because there are many."""


def look_at_health(client: Client) -> Iterator[Finding]:
    """Whether every component is healthy; otherwise one finding for each reason, with the components that give it."""
    health = client.health()
    if health.is_healthy:
        yield fine("service", f"all {len(health.components)} components are healthy")
        return
    by_reason: dict[str, list[str]] = {}
    for name in health.down or (health.status,):
        by_reason.setdefault(str(health.components.get(name, {}).get("reason", "")), []).append(name)
    for reason, names in by_reason.items():
        yield _down(", ".join(names), reason)


def _down(names: str, reason: str) -> Finding:
    """What keeps a component from working may not be its own fault."""
    if reason.startswith(OF_THE_DATABASE):
        remedy = f"see disk and database above; {names} and all others continue by themselves when it can be written again"
        return broken("service", f"{reason} (reported by {names})", remedy)
    remedy = "dead and hung processes are replaced within seconds: run doctor again; if it persists, see the log and restart"
    return broken("service", f"down: {names}{f': {reason}' if reason else ''}", remedy)


def look_at_processes(stats: Json) -> Iterator[Finding]:
    """Whether processes keep dying. Fewer executors than slots are no problem: a worker has them forked when jobs come."""
    rows = stats["processes"]
    for row in rows:
        if row["restarts"] >= OFTEN and row["uptime_s"] < SHORT_LIFE_S:
            yield warning(
                "processes",
                f"{row['name']} was replaced {counted(row['restarts'], 'time')}, the last time {span(row['uptime_s'])} ago",
                "see process_ended in the log for the cause; likely ones are a task that kills its worker, and lack of memory",
            )  # fmt: skip
    busy, slots = slots_of(stats)
    memory = sum(row["rss_bytes"] for row in rows) >> 20
    runs = "runs" if busy == 1 else "run"
    yield fine("processes", f"{len(rows)}, with {memory} MiB resident in all; {busy} of {counted(slots, 'slot')} {runs} a job")


def slots_of(stats: Json) -> tuple[int, int]:
    """The number of busy slots, and of all slots."""
    workers = _workers(stats)
    return sum(worker["currently_running"] for worker in workers), sum(worker["concurrency"] for worker in workers)


def _workers(stats: Json) -> list[Json]:
    return [about for name, about in stats["components"].items() if name.startswith(f"{WORKER}-") and "executors" in about]


def look_at_jobs(client: Client, stats: Json, now: datetime) -> Iterator[Finding]:
    """Jobs that run past their timeout, or wait while slots are free. Only the newest thousand of each status are checked."""
    yield from _overdue(client, now)
    yield from _blocked_by_nothing(client, now)
    busy, slots = slots_of(stats)
    if busy < slots:
        yield from _stuck_while_idle(client, stats, now)
    elif slots:
        waiting = _of_queues(stats, "ready")
        if waiting:
            are_busy, are_due = counted(slots, "slot is", "slots are"), counted(waiting, "job is", "jobs are")
            yield fine("jobs", f"all {are_busy} busy, {are_due} due; a higher CONCURRENCY runs more at once")
    counts = ", ".join(f"{count} {status}" for status, count in stats["jobs"].items() if count)
    yield fine("jobs", counts or "none are stored")


def _overdue(client: Client, now: datetime) -> Iterator[Finding]:
    late = [
        job for job in _jobs(client, Status.RUNNING)
        if job["last_run_at"] and _age_s(job["last_run_at"], now) > job["timeout_s"] + GRACE_S
    ]  # fmt: skip
    if late:
        run_longer = "runs longer than its" if len(late) == 1 else "run longer than their"
        yield warning(
            "jobs", f"{_list_of(late)} {run_longer} timeout allows",
            "a worker ends such jobs by itself: if they persist, see its log; cancelling them frees their slots",
        )  # fmt: skip


def _blocked_by_nothing(client: Client, now: datetime) -> Iterator[Finding]:
    """Blocked jobs that wait for nothing any more; only a few of the longest are asked about."""
    old = [job for job in _jobs(client, Status.BLOCKED) if _age_s(job["updated_at"], now) > WAITED_LONG_S]
    reasons = {job["job_id"]: client.ask("GET", f"/api/jobs/{job['job_id']}/why")["reasons"][0] for job in old[-FEW:]}
    left = [job for job in old[-FEW:] if reasons[job["job_id"]].get("waits_for") == []]
    if left:
        yield warning(
            "jobs", f"{_list_of(left)} are blocked, and everything that they wait for has ended",
            "a watcher decides about such jobs at its next poll: if they persist, see the watchers' log",
        )  # fmt: skip


def _stuck_while_idle(client: Client, stats: Json, now: datetime) -> Iterator[Finding]:
    waits_since = {Status.PENDING: "scheduled_at", Status.CLAIMED: "claimed_at", Status.QUEUED: "queued_at"}
    for status, since in waits_since.items():
        left = [job for job in _jobs(client, status) if job[since] and _age_s(job[since], now) > WAITED_LONG_S]
        if not left:
            continue
        why = client.ask("GET", f"/api/jobs/{left[-1]['job_id']}/why")["reasons"]
        if why and why[0]["code"] in BACKLOG_CODES and _is_moving(client, stats):
            continue
        reason = why[0]["message"] if why else "the cause is unknown"
        have_been = "has been" if len(left) == 1 else "have been"
        yield warning(
            "jobs", f"{_list_of(left)} {have_been} {status} for more than {span(WAITED_LONG_S)} while slots are free: {reason}",
            f"run {program('jobyard')} why {left[-1]['job_id']}",
        )  # fmt: skip


def _is_moving(client: Client, stats: Json) -> bool:
    """Whether jobs are being handed out: with a backlog of short jobs, slots are often free for a moment."""
    select.select([], [], [], RECHECK_S)
    return _of_queues(client.stats(), "jobs_popped") > _of_queues(stats, "jobs_popped")


def _of_queues(stats: Json, counter: str) -> int:
    return sum(about.get(counter, 0) for name, about in stats["components"].items() if name.startswith(f"{QUEUE}-"))


def _jobs(client: Client, status: Status) -> list[Json]:
    found: list[Json] = client.ask("GET", "/api/jobs?" + urlencode({"status": str(status), "limit": JOBS_CHECKED}))
    return found


def _age_s(since: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(since)).total_seconds()


def _list_of(jobs: list[Json]) -> str:
    shown = ", ".join(job["job_id"] for job in jobs[-3:])
    return f"{counted(len(jobs), 'job')} ({shown}{', …' if len(jobs) > 3 else ''})"
