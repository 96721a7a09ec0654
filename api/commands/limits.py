"""`limits`, `limit …`, `pause` and `resume`: lists, makes, shows, pauses and deletes limits."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import click

from jobyard.api.commands.connection import Service, with_service
from jobyard.api.commands.show import print_json
from jobyard.api.commands.times import SECONDS

PATH = "/api/limits"
NAME = click.argument("name")


@click.command("limits")
@with_service
def list_limits(service: Service) -> None:
    """List all limits, by name."""
    for one in service.client().ask("GET", PATH):
        print_json(one) if service.as_json else click.echo(_in_a_line(one))


@click.group("limit")
def limit_group() -> None:
    """Make, show or delete one limit."""


@limit_group.command("put")
@NAME
@click.option("--max-running", type=int, help="How many jobs may run at once, in each partition.")
@click.option("--count", type=int, help="How many jobs may begin in --per-s seconds.")
@click.option("--per-s", "per_s", type=SECONDS, help="The seconds that --count is for.")
@click.option("--burst", type=int, help="How many may begin at once after a pause (default: 1).")
@click.option("--on-full", help="wait, cancel or replace.")
@with_service
def put_limit(service: Service, name: str, **given: Any) -> None:
    """Make a limit, or change it. What is left out has its default.

    NAME is one's own; or queue:NAME, task:NAME or *, which apply by themselves.

    \b
    Examples: bin/jobyard limit put stripe --max-running 3
              bin/jobyard limit put queue:mail --count 100 --per-s 60
    """
    _show(service, service.client().ask("PUT", _path(name), {field: value for field, value in given.items() if value is not None}))


@limit_group.command("show")
@NAME
@with_service
def show_limit(service: Service, name: str) -> None:
    """Print a limit with what runs, what waits, and its fullest partitions."""
    _show(service, service.client().ask("GET", _path(name)))


@limit_group.command("delete")
@NAME
@with_service
def delete_limit(service: Service, name: str) -> None:
    """Delete a limit; what waited for it may begin."""
    service.client().ask("DELETE", _path(name))
    if not service.as_json:
        click.echo(f"limit {name} is deleted")


@click.command("pause")
@NAME
@click.option("--reason", help="Why, for whoever looks.")
@click.option("--for", "for_s", type=SECONDS, help="For so long (90, 5m, 2h, 1.5d) instead of until it is resumed.")
@with_service
def pause_limit(service: Service, name: str, **given: Any) -> None:
    """Let no job of a limit begin: of stripe, queue:mail, task:report, or * for all. Running ones go on.

    Makes the limit if there is none.
    """
    body = {field: value for field, value in given.items() if value is not None}
    _show(service, service.client().ask("POST", _path(name, "/pause"), body))


@click.command("resume")
@NAME
@with_service
def resume_limit(service: Service, name: str) -> None:
    """Let the jobs of a paused limit begin again."""
    _show(service, service.client().ask("POST", _path(name, "/resume")))


def _in_a_line(limit: dict[str, Any]) -> str:
    numbers = [] if limit["max_running"] is None else [f"{limit['max_running']} at once"]
    numbers += [] if limit["count"] is None else [f"{limit['count']} in {limit['per_s']} s"]
    waiting = f"{limit['waiting']['count']}{'' if limit['waiting']['is_exact'] else ' or more'}"
    state = "  paused" if limit["paused"] else ""
    return f"{limit['name']}  {', '.join(numbers) or 'no numbers'}  {limit['running']} running  {waiting} waiting{state}"


def _path(name: str, rest: str = "") -> str:
    return f"{PATH}/{quote(name, safe='')}{rest}"


def _show(service: Service, limit: dict[str, Any]) -> None:
    if service.as_json:
        print_json(limit)
        return
    for name, value in limit.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        click.echo(f"{name:<19}{shown}")
