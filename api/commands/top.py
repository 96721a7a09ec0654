"""`top`: the whole system on one screen, looked at again and again."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable

import click

from jobyard.api.commands.connection import Service, asks_service
from jobyard.api.commands.frame import frame
from jobyard.api.commands.look import Look, rates, take_look
from jobyard.api.commands.moments import SECONDS
from jobyard.api.commands.screen import Screen
from jobyard.api.commands.show import print_json
from jobyard.engine.client.sync_client import Client
from jobyard.engine.errors import Unavailable, Unreachable
from jobyard.engine.world import World

PATIENCE_S = 1.0
LONGEST_ONCE_S = 1.0
LEAVING = frozenset("qQ\x04")


@click.command("top")
@click.option("--every", "every_s", type=SECONDS, default=2.0, show_default="2", help="Seconds between two looks.")
@click.option("--once", is_flag=True, help="Look once (twice, for the rates), print, and end; also with --json.")
@asks_service
def show_top(service: Service, every_s: float, once: bool) -> None:
    """The live system on one screen.

    Jobs by status, rates, the queue by priority, processes, slots and what they run. q leaves. While the service is away the
    last look stays, with a line that says so.

    \b
    Examples: bin/jobyard top
              bin/jobyard top --once | head
    """
    if every_s < 0.1:
        raise click.UsageError("--every must be at least 0.1 seconds")
    client = service.client(patience_s=PATIENCE_S)
    if service.as_json:
        print_json(take_look(client, World()).as_json())
    elif once:
        _show_once(client, service.url, min(every_s, LONGEST_ONCE_S))
    elif sys.stdin.isatty() and sys.stdout.isatty():
        _show_for_ever(client, service.url, every_s)
    else:
        raise click.UsageError("top needs a terminal; say --once for one look")


def _show_once(client: Client, url: str, between_s: float) -> None:
    world = World()
    before = take_look(client, world)
    select.select([], [], [], between_s)
    look = take_look(client, world)
    for line in frame(look, rates(before, look), width=sys.maxsize, height=None, title=f"Jobyard {url}"):
        click.echo(line)


def _show_for_ever(client: Client, url: str, every_s: float) -> None:
    world = World()
    before = look = take_look(client, world)
    trouble = ""
    has_colours = click.get_current_context().color is not False
    with Screen(sys.stdin.fileno(), sys.stdout.fileno(), has_colours=has_colours) as screen:
        next_at_s = world.monotonic() + every_s
        while True:
            _draw(screen, before, look, url, trouble)
            if LEAVING.intersection(screen.wait_key(max(0.0, next_at_s - world.monotonic()))):
                return
            if world.monotonic() >= next_at_s:
                next_at_s = world.monotonic() + every_s
                try:
                    before, look = look, take_look(client, world)
                    trouble = ""
                except (Unavailable, Unreachable) as away:
                    trouble = away.message


def _draw(screen: Screen, before: Look, look: Look, url: str, trouble: str) -> None:
    title = click.style(f"Jobyard {url}", bold=True)
    size = screen.size
    speeds = rates(before, look) if before is not look else None
    told: Iterable[str] = [click.style(f"{trouble}: this is the last look", fg="red")] if trouble else []
    # one column is left free: to clear the rest of a full line would clear its last character
    lines = frame(look, speeds, width=size.columns - 1, height=size.lines - bool(trouble), title=title)
    screen.draw([*told, *lines])
