"""`groups` and `group`: the groups of jobs, and how far they are."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from jobyard.api.commands.connection import Service, with_service
from jobyard.api.commands.show import clean, pairs, print_json, table
from jobyard.api.commands.times import when
from jobyard.engine.jobs.job import Status
from jobyard.engine.jobs.lifecycle import TERMINAL
from jobyard.engine.world import World

PATH = "/api/groups"


@click.command("groups")
@with_service
def list_groups(service: Service) -> None:
    """List the newest groups that live, newest first."""
    groups = service.client().ask("GET", PATH)
    if service.as_json:
        for group in groups:
            print_json(group)
        return
    now = World().now().astimezone()
    rows = [
        (clean(group["name"]), _living(group), group["counts"]["completed"], group["counts"]["failed"],
         group["counts"]["cancelled"], len(group["waiting"]), when(group["created_at"], now))
        for group in groups
    ]  # fmt: skip
    headers = ("GROUP", "LIVING", "COMPLETED", "FAILED", "CANCELLED", "WAITING", "SINCE")
    click.echo(table(headers, rows, right=headers[1:-1]) if rows else "no group lives")


@click.command("group")
@click.argument("name")
@with_service
def show_group(service: Service, name: str) -> None:
    """Show one group: its jobs by status, and the jobs that wait for it.

    Its jobs: bin/jobyard list --group NAME; cancel and retry take --group, too.
    """
    group = service.client().ask("GET", f"{PATH}/{quote(name, safe='')}")
    if service.as_json:
        print_json(group)
        return
    now = World().now().astimezone()
    counted = [(status, count) for status, count in group["counts"].items() if count]
    ended = when(group["ended_at"], now) if group["ended_at"] else f"not yet, {_living(group)} jobs live"
    waiting = [("waits for it", job_id) for job_id in group["waiting"]]
    click.echo(pairs([("group", group["name"]), ("since", when(group["created_at"], now)), ("ended", ended), *counted, *waiting]))


def _living(group: dict[str, Any]) -> int:
    return sum(count for status, count in group["counts"].items() if Status(status) not in TERMINAL)
