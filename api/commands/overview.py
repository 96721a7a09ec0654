"""`stats` and `tasks`: the system as a whole."""

from __future__ import annotations

from typing import Any

import click

from jobyard.api.commands.connection import Service, asks_service
from jobyard.api.commands.moments import span
from jobyard.api.commands.show import clean, coloured, pairs, print_json, table

MIB = 1 << 20


@click.command("stats")
@asks_service
def show_stats(service: Service) -> None:
    """Jobs by status, and every process."""
    stats = service.client().ask("GET", "/stats")
    if service.as_json:
        print_json(stats)
        return
    click.echo(pairs([(status, count) for status, count in stats["jobs"].items()]))
    click.echo("\n" + processes_table(stats["processes"]))


def processes_table(processes: list[dict[str, Any]]) -> str:
    """Every process, with what it takes."""
    rows = [
        (row["name"], row["pid"] or "", coloured(row["status"]), span(row["uptime_s"]), row["restarts"],
         f"{row['rss_bytes'] / MIB:.0f}", f"{row['cpu_percent']:.1f}")
        for row in processes
    ]  # fmt: skip
    heads = ("PROCESS", "PID", "STATUS", "UP", "RESTARTS", "MIB", "CPU %")
    return table(heads, rows, right=("PID", "RESTARTS", "MIB", "CPU %"))


@click.command("tasks")
@asks_service
def show_tasks(service: Service) -> None:
    """The tasks that can be submitted, and what their jobs have by default."""
    tasks = service.client().ask("GET", "/api/tasks")
    if service.as_json:
        for row in tasks:
            print_json(row)
        return
    rows = [(clean(row["task"]), row["max_retries"], span(row["timeout_s"])) for row in tasks]
    click.echo(table(("TASK", "RETRIES", "TIME-OUT"), rows, right=("RETRIES",)))
