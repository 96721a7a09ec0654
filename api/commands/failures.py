"""`failures`: the failed jobs by task and kind of error."""

from __future__ import annotations

from urllib.parse import urlencode

import click

from jobyard.api.commands.connection import Service, with_service
from jobyard.api.commands.show import clean, on_one_line, print_json, table
from jobyard.api.commands.times import when
from jobyard.engine.world import World


@click.command("failures")
@click.option("--since", metavar="TIME", help="Only jobs that failed then or later (2026-01-04T02:00:00Z).")
@with_service
def list_failures(service: Service, since: str | None) -> None:
    """Group the failed jobs by task and kind of error, the most frequent first.

    \b
    The jobs of a group: bin/jobyard list --status failed --task TASK --error-kind "KIND"
    """
    groups = service.client().ask("GET", "/api/failures" + ("" if since is None else "?" + urlencode({"since": since})))
    if service.as_json:
        for group in groups:
            print_json(group)
        return
    now = World().now().astimezone()
    rows = [
        (group["count"], clean(group["task"]), when(group["first_at"], now), when(group["last_at"], now), group["example_job_id"],
         on_one_line(group["error_kind"]))
        for group in groups
    ]  # fmt: skip
    headers = ("JOBS", "TASK", "FIRST", "LAST", "EXAMPLE", "KIND OF ERROR")
    click.echo(table(headers, rows, right=("JOBS",)) if rows else "no failures")
    if any(not group["is_exact"] for group in groups):
        click.echo("there are more than 100,000 failures; older ones are not counted")
