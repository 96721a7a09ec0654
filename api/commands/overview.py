"""`stats` and `tasks`: the system as a whole."""

from __future__ import annotations

from typing import Any

import click

from jobyard.api.commands.connection import Service, with_service
from jobyard.api.commands.show import clean, coloured, pairs, print_json, table
from jobyard.api.commands.times import span

MIB = 1 << 20


@click.command("stats")
@with_service
def show_stats(service: Service) -> None:
    """Show jobs by status, and every process."""
    stats = service.client().ask("GET", "/stats")
    if service.as_json:
        print_json(stats)
        return
    click.echo(pairs([(status, count) for status, count in stats["jobs"].items()]))
    click.echo("\n" + processes_table(stats["processes"]))


def processes_table(processes: list[dict[str, Any]]) -> str:
    """A table of every process and its resource usage."""
    rows = [
        (row["name"], row["pid"] or "", coloured(row["status"]), span(row["uptime_s"]), row["restarts"],
         f"{row['rss_bytes'] / MIB:.0f}", f"{row['cpu_percent']:.1f}")
        for row in processes
    ]  # fmt: skip
    headers = ("PROCESS", "PID", "STATUS", "UP", "RESTARTS", "MIB", "CPU %")
    return table(headers, rows, right=("PID", "RESTARTS", "MIB", "CPU %"))


@click.command("tasks")
@with_service
def show_tasks(service: Service) -> None:
    """List the registered tasks, with the defaults of their jobs."""
    tasks = service.client().ask("GET", "/api/tasks")
    if service.as_json:
        for row in tasks:
            print_json(row)
        return
    rows = [(clean(row["task"]), row["max_retries"], span(row["timeout_s"])) for row in tasks]
    click.echo(table(("TASK", "RETRIES", "TIMEOUT"), rows, right=("RETRIES",)))
