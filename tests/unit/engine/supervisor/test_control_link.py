"""A supervisor's side of control, against a real one."""

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
    """A control, a supervisor's link to it, and a program that reads and gives commands."""

    def __init__(self, folder: Path) -> None:
        self.control = ControlProcess(folder).start()
        tells, hears = (Channel(self.control.run_dir, self.control.world, name="supervisor") for _ in range(2))
        self.link = ControlLink(tells, hears, supervisor="supervisor")
        self.client = self.control.client()
        self.roster = [a_row("supervisor"), a_row("worker-7001")]
        self.commands: list[Command] = []

    def turn(self, *settled: Settled) -> bool:
        """One turn of the supervisor's loop; always true."""
        rang = bool(select.select(self.link.bells, [], [], min(0.01, self.link.sleep_s()))[0])
        self.commands += self.link.turn(rang=rang)
        self.link.tell(self.roster, list(settled))
        return True

    def names(self) -> list[str]:
        """Of the processes that control knows."""
        return [row["name"] for row in self.client.call("roster", "read")]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.link.close()
    site.control.close()


def test_control_is_told_the_roster_and_every_change_of_it(site: Site) -> None:
    wait_for(lambda: site.turn() and site.link.is_told)
    first = site.names()
    site.roster = [*site.roster, a_row("worker-7002")]
    site.turn()
    was_told = site.link.is_told

    wait_for(lambda: site.turn() and site.link.is_told)

    assert (first, was_told) == (["supervisor", "worker-7001"], False)
    assert site.names() == ["supervisor", "worker-7001", "worker-7002"]


def test_a_new_control_is_told_the_roster_anew(site: Site) -> None:
    wait_for(lambda: site.turn() and site.link.is_told)
    site.control.kill()
    site.control.start()

    wait_for(lambda: site.turn() and site.names() == ["supervisor", "worker-7001"])


def test_a_command_arrives_and_its_outcome_goes_back(site: Site) -> None:
    wait_for(lambda: site.turn() and site.link.is_told)
    site.client.call("commands", "give", "supervisor", {"id": "1", "verb": "restart", "argument": "worker-7001"})
    wait_for(lambda: site.turn() and site.commands)

    site.turn(Settled(id="1", ok=True, message="it runs again"))

    wait_for(lambda: site.turn() and site.client.call("commands", "outcome", "1") == {"state": "done", "message": "it runs again"})
    assert site.commands == [Command(id="1", verb="restart", argument="worker-7001")]


def test_the_outcome_of_a_command_reaches_a_control_that_is_younger_than_it(site: Site) -> None:
    wait_for(lambda: site.turn() and site.link.is_told)
    site.client.call("commands", "give", "supervisor", {"id": "1", "verb": "reload"})
    wait_for(lambda: site.turn() and site.commands)
    site.control.kill()
    site.turn(Settled(id="1", ok=False, message="it does not import"))
    site.control.start()

    wait_for(lambda: site.turn() and site.client.call("commands", "outcome", "1")["state"] == "failed")
