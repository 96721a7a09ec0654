"""A supervisor's connections to control, with a real control process."""

from __future__ import annotations

import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard.engine.control.channel import Channel
from jobyard.engine.supervisor.control_link import Command, ControlLink, Settled
from tests.support.control import a_row
from tests.support.control_process import ControlProcess
from tests.support.waiting import wait_for


class Site:
    """A control process, a supervisor's link to it, and a client that reads and gives commands."""

    def __init__(self, folder: Path) -> None:
        self.control = ControlProcess(folder).start()
        reports, commands = (Channel(self.control.run_dir, self.control.world, name="supervisor") for _ in range(2))
        self.link = ControlLink(reports, commands, supervisor="supervisor")
        self.client = self.control.client()
        self.roster = [a_row("supervisor"), a_row("worker-7001")]
        self.commands: list[Command] = []

    def tick(self, *settled: Settled) -> bool:
        """One iteration of the supervisor's loop; always true."""
        is_readable = bool(select.select(self.link.wakeup_fds, [], [], min(0.01, self.link.sleep_s()))[0])
        self.commands += self.link.tick(is_readable=is_readable)
        self.link.report(self.roster, list(settled))
        return True

    def names(self) -> list[str]:
        """The names in control's roster."""
        return [row["name"] for row in self.client.call("roster", "read")]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.link.close()
    site.control.close()


def test_the_roster_and_every_change_of_it_are_published(site: Site) -> None:
    wait_for(lambda: site.tick() and site.link.is_roster_published)
    first = site.names()
    site.roster = [*site.roster, a_row("worker-7002")]
    site.tick()
    was_published = site.link.is_roster_published

    wait_for(lambda: site.tick() and site.link.is_roster_published)

    assert (first, was_published) == (["supervisor", "worker-7001"], False)
    assert site.names() == ["supervisor", "worker-7001", "worker-7002"]


def test_a_new_control_process_receives_the_roster(site: Site) -> None:
    wait_for(lambda: site.tick() and site.link.is_roster_published)
    site.control.kill()
    site.control.start()

    wait_for(lambda: site.tick() and site.names() == ["supervisor", "worker-7001"])


def test_a_command_arrives_and_its_outcome_is_reported(site: Site) -> None:
    wait_for(lambda: site.tick() and site.link.is_roster_published)
    site.client.call("commands", "give", "supervisor", {"id": "1", "verb": "restart", "argument": "worker-7001"})
    wait_for(lambda: site.tick() and site.commands)

    site.tick(Settled(id="1", ok=True, message="it runs again"))

    wait_for(lambda: site.tick() and site.client.call("commands", "outcome", "1") == {"state": "done", "message": "it runs again"})
    assert site.commands == [Command(id="1", verb="restart", argument="worker-7001")]


def test_the_outcome_of_a_command_reaches_a_new_control_process(site: Site) -> None:
    wait_for(lambda: site.tick() and site.link.is_roster_published)
    site.client.call("commands", "give", "supervisor", {"id": "1", "verb": "reload"})
    wait_for(lambda: site.tick() and site.commands)
    site.control.kill()
    site.tick(Settled(id="1", ok=False, message="it does not import"))
    site.control.start()

    wait_for(lambda: site.tick() and site.client.call("commands", "outcome", "1")["state"] == "failed")
