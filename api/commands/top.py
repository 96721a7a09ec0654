"""`top`: the whole system on one screen, refreshed at an interval."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable

import click

from jobyard.api.commands.connection import Service, with_service
from jobyard.api.commands.frame import frame
from jobyard.api.commands.screen import Screen
from jobyard.api.commands.show import print_json
from jobyard.api.commands.snapshot import Snapshot, rates, take_snapshot
from jobyard.api.commands.times import SECONDS
from jobyard.engine.client.sync_client import Client
from jobyard.engine.errors import Unavailable, Unreachable
from jobyard.engine.world import World

RETRY_S = 1.0
MAX_ONCE_S = 1.0
QUIT_KEYS = frozenset("qQ\x04")


@click.command("top")
@click.option("--every", "every_s", type=SECONDS, default=2.0, show_default="2", help="Seconds between two refreshes.")
@click.option("--once", is_flag=True, help="Print one screen (after two snapshots, for the rates) and exit.")
@with_service
def show_top(service: Service, every_s: float, once: bool) -> None:
    """Show the live system on one screen.

    Shows jobs by status, rates, the queue by priority, processes, slots and what they run. q quits. While the service is
    unavailable, the last screen stays, with a line that says so.

    \b
    Examples: jobyard top
              jobyard top --once | head
    """
    if every_s < 0.1:
        raise click.UsageError("--every must be at least 0.1 seconds")
    client = service.client(retry_s=RETRY_S)
    if service.as_json:
        print_json(take_snapshot(client, World()).as_json())
    elif once:
        _show_once(client, service.url, min(every_s, MAX_ONCE_S))
    elif sys.stdin.isatty() and sys.stdout.isatty():
        _show_for_ever(client, service.url, every_s)
    else:
        raise click.UsageError("top needs a terminal; pass --once to print one screen")


def _show_once(client: Client, url: str, between_s: float) -> None:
    world = World()
    before = take_snapshot(client, world)
    select.select([], [], [], between_s)
    snapshot = take_snapshot(client, world)
    for line in frame(snapshot, rates(before, snapshot), width=sys.maxsize, height=None, title=f"Jobyard {url}"):
        click.echo(line)


def _show_for_ever(client: Client, url: str, every_s: float) -> None:
    world = World()
    before = snapshot = take_snapshot(client, world)
    trouble = ""
    has_colours = click.get_current_context().color is not False
    with Screen(sys.stdin.fileno(), sys.stdout.fileno(), has_colours=has_colours) as screen:
        next_at_s = world.monotonic() + every_s
        while True:
            _draw(screen, before, snapshot, url, trouble)
            if QUIT_KEYS.intersection(screen.wait_key(max(0.0, next_at_s - world.monotonic()))):
                return
            if world.monotonic() >= next_at_s:
                next_at_s = world.monotonic() + every_s
                try:
                    before, snapshot = snapshot, take_snapshot(client, world)
                    trouble = ""
                except (Unavailable, Unreachable) as away:
                    trouble = away.message


def _draw(screen: Screen, before: Snapshot, snapshot: Snapshot, url: str, trouble: str) -> None:
    title = click.style(f"Jobyard {url}", bold=True)
    size = screen.size
    speeds = rates(before, snapshot) if before is not snapshot else None
    notice: Iterable[str] = [click.style(f"{trouble}: this is the last screen", fg="red")] if trouble else []
    # one column stays free: clearing the rest of a full line would clear its last character
    lines = frame(snapshot, speeds, width=size.columns - 1, height=size.lines - bool(trouble), title=title)
    screen.draw([*notice, *lines])
