"""`list`, `show`, `why` and `wait`: commands that read jobs."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from jobyard.api.commands import exits
from jobyard.api.commands.connection import Service, with_service
from jobyard.api.commands.filters import filter_options, query
from jobyard.api.commands.show import as_text, clean, coloured, on_one_line, pairs, print_json, table
from jobyard.api.commands.times import SECONDS, span, when
from jobyard.engine.errors import NotFinished
from jobyard.engine.jobs.job import Status
from jobyard.engine.world import World

PAGE = 200
SHOWN_OUTPUT_LINES = 20


@click.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The most jobs to list.")
@click.option("--all", "everything", is_flag=True, help="List all jobs.")
@with_service
def list_jobs(service: Service, limit: int, everything: bool, **filters: str | None) -> None:
    """List jobs, newest first.

    \b
    Examples: jobyard list --status failed
              jobyard list --text 4711 --all --json
    """
    pages = service.client().ask_pages("/api/jobs" + query(filters, limit=PAGE if everything else min(limit, PAGE)))
    jobs = itertools.islice(itertools.chain.from_iterable(pages), None if everything else limit)
    if service.as_json:
        for job in jobs:
            print_json(job)
        return
    now = World().now().astimezone()
    rows = [
        (job["job_id"], coloured(job["status"]), clean(job["task"]), job["queue"], job["priority"], job["attempt"],
         when(job["scheduled_at"], now), on_one_line(job["error"]))
        for job in jobs
    ]  # fmt: skip
    headers = ("JOB", "STATUS", "TASK", "QUEUE", "PRIO", "TRIES", "DUE", "ERROR")
    click.echo(table(headers, rows, right=("PRIO", "TRIES")) if rows else "no such jobs")


@click.command("show")
@click.argument("job_id")
@with_service
def show_job(service: Service, job_id: str) -> None:
    """Show one job: its fields, its attempts, the end of their output."""
    client = service.client()
    job = client.ask("GET", f"/job?job_id={job_id}")
    executions, logs = client.ask("GET", f"/api/jobs/{job_id}/executions"), client.ask("GET", f"/api/jobs/{job_id}/logs")
    if service.as_json:
        print_json({"job": job, "executions": executions, "logs": logs["attempts"]})
        return
    now = World().now().astimezone()
    click.echo(pairs(_fields(job, now)))
    if executions:
        click.echo("\n" + _attempts(executions, now))
    for line in _last_output(logs["attempts"]):
        click.echo(line)


def _fields(job: dict[str, Any], now: datetime) -> list[tuple[str, object]]:
    times = ("created_at", "scheduled_at", "queued_at", "last_run_at", "next_run_at", "finished_at")
    return [
        ("job", job["job_id"]), ("status", coloured(job["status"])), ("task", clean(job["task"])), ("queue", job["queue"]),
        ("priority", job["priority"]), ("payload", as_text(job["payload"])),
        ("tries", f"{job['attempt']} begun, {job['retry_count']} of {job['max_retries']} retries used, {job['lost_count']} lost"),
        ("timeout", span(job["timeout_s"])), ("key", job["idempotency_key"] and clean(job["idempotency_key"])),
        ("tags", " ".join(job["tags"])),
        *((name.removesuffix("_at"), when(job[name], now)) for name in times),
        ("waits for", ", ".join(map(_dependency, job["after"] or ()))), ("runs if", job["run_if"]), ("group", job["group"]),
        ("because", job["cancelled_because"] and ", ".join(f"{name} {value}" for name, value in job["cancelled_because"].items())),
        ("worker", job["locked_by"]), ("result", None if job["result"] is None else as_text(job["result"])),
        ("error", job["error"] and clean(job["error"])),
    ]  # fmt: skip


def _dependency(one: dict[str, str | None]) -> str:
    if "group" in one:
        return f"group {one['group']}"
    return f"{one['job_id']} ({clean(one['ref'])})" if one["ref"] is not None else str(one["job_id"])


def _attempts(executions: list[dict[str, Any]], now: datetime) -> str:
    rows = [
        (row["attempt"], coloured(row["status"]), when(row["started_at"], now),
         "" if row["duration_ms"] is None else span(row["duration_ms"] / 1000), row["worker_id"], on_one_line(row["error_message"]))
        for row in executions
    ]  # fmt: skip
    return table(("TRY", "ENDED", "BEGAN", "TOOK", "WORKER", "ERROR"), rows, right=("TRY",))


def _last_output(attempts: list[dict[str, Any]]) -> list[str]:
    printed = [(row["attempt"], line) for row in attempts for line in row["output"].splitlines()]
    if not printed:
        return []
    return ["", *(f"{click.style(f'{attempt} |', dim=True)} {clean(line)}" for attempt, line in printed[-SHOWN_OUTPUT_LINES:])]


@click.command("why")
@click.argument("job_id")
@with_service
def why_not(service: Service, job_id: str) -> None:
    """Explain why a job is not running, the most decisive reason first."""
    answer = service.client().ask("GET", f"/api/jobs/{job_id}/why")
    if service.as_json:
        print_json(answer)
        return
    click.echo(f"{answer['job_id']} is {coloured(answer['status'])}")
    for reason in answer["reasons"]:
        click.echo(f"- {clean(reason['message'])} ({reason['code']})")


@click.command("wait")
@click.argument("job_ids", nargs=-1, required=True, metavar="JOB_ID…")
@click.option("--timeout", "timeout_s", type=SECONDS, help="The longest time to wait (90, 5m, 2h); else as long as it takes.")
@with_service
def wait_for_jobs(service: Service, job_ids: Sequence[str], timeout_s: float | None) -> None:
    """Wait until jobs have finished.

    Exit status: 0 when all completed, 1 when one failed or was cancelled, 4 when the time was up.
    """
    sys.exit(wait_and_report(service, job_ids, timeout_s))


def wait_and_report(service: Service, job_ids: Sequence[str], timeout_s: float | None) -> int:
    """Wait for the jobs, print each one's end as it happens; returns the exit status."""
    world = World()
    give_up_at = None if timeout_s is None else world.monotonic() + timeout_s
    client = service.client(retry_s=60)
    status = exits.OK
    for job_id in job_ids:
        try:
            client.wait(job_id, None if give_up_at is None else max(0.0, round(give_up_at - world.monotonic(), 1)))
        except NotFinished as late:
            click.echo(f"jobyard: {late.message}", err=True)
            return exits.NOT_FINISHED
        job = client.ask("GET", f"/job?job_id={job_id}")
        if service.as_json:
            print_json(job)
        else:
            what = as_text(job["result"]) if job["status"] == str(Status.COMPLETED) else clean(job["error"] or "")
            click.echo(f"{job['job_id']} {coloured(job['status'])} {what}".rstrip())
        if job["status"] != str(Status.COMPLETED):
            status = exits.FAILED
    return status
