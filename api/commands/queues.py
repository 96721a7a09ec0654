"""`queues`: what is due in each queue and of each task, and what is paused."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import click

from jobyard.api.commands.connection import Service, with_service
from jobyard.api.commands.show import clean, print_json, table
from jobyard.api.commands.times import span
from jobyard.engine.client.sync_client import Client

FIELDS = {
    "jobyard_jobs_due": "due", "jobyard_oldest_due_job_seconds": "oldest_due_s",
    "jobyard_task_jobs_due": "due", "jobyard_task_oldest_due_job_seconds": "oldest_due_s",
}  # fmt: skip
_SAMPLE = re.compile(r'^(\w+)\{(queue|task)="((?:[^"\\]|\\.)*)"\} (\S+)$', re.MULTILINE)
_ESCAPE = re.compile(r"\\(.)")


@click.command("queues")
@with_service
def list_queues(service: Service) -> None:
    """List queues and tasks with due jobs, or with a limit.

    Shows how many jobs are due, for how long the oldest of them has been due, and what is paused.

    \b
    Example: jobyard queues --json | jq 'select(.oldest_due_s > 60)'
    """
    found = read_queues(service.client())
    if service.as_json:
        for row in found:
            print_json(row)
        return
    rows = [
        (row["kind"], clean(row["name"]), row["due"], span(row["oldest_due_s"]) if row["due"] else "", _paused(row))
        for row in found
    ]  # fmt: skip
    headers = ("KIND", "NAME", "DUE", "OLDEST", "PAUSED")
    click.echo(table(headers, rows, right=("DUE", "OLDEST")) if rows else "nothing is due, and nothing is limited")


def read_queues(client: Client) -> list[dict[str, Any]]:
    """Queues, then tasks, by name: `kind`, `name`, `due`, `oldest_due_s`, `paused` as its limit shows it."""
    found: dict[tuple[str, str], dict[str, Any]] = defaultdict(lambda: {"due": 0, "oldest_due_s": 0.0, "paused": None})
    for metric, kind, name, value in _SAMPLE.findall(client.ask("GET", "/metrics")):
        if metric in FIELDS:
            number = float(value)
            unescaped = _ESCAPE.sub(lambda sign: "\n" if sign[1] == "n" else sign[1], name)
            found[kind, unescaped][FIELDS[metric]] = int(number) if FIELDS[metric] == "due" else number
    for limit in client.ask("GET", "/api/limits"):
        kind, _, name = limit["name"].partition(":")
        if name and kind in ("queue", "task"):
            found[kind, name]["paused"] = limit["paused"]
    return [{"kind": kind, "name": name} | found[kind, name] for kind, name in sorted(found)]


def _paused(row: dict[str, Any]) -> str:
    pause = row["paused"]
    if pause is None:
        return ""
    return clean(f"by {pause['by']}" + (f": {pause['reason']}" if pause["reason"] else ""))
