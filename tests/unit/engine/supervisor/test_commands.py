"""Commands to a supervisor, with processes that are only numbers."""

from __future__ import annotations

import pytest

from jobyard.engine.logs import LogLevel
from jobyard.engine.supervisor.commands import Commands, Report, reload_by
from jobyard.engine.supervisor.control_link import Command, Settled
from tests.unit.engine.supervisor.test_supervisor import QUEUE, WORKER, Office


class Desk:
    """An office, and whoever carries out commands in it."""

    def __init__(self) -> None:
        self.office = Office()
        self.office.start()
        self.level = LogLevel("info")
        self.reports: list[Report] = []
        self.commands = Commands(self.office.supervisor, level=self.level, drainable=["worker"], reload=self.reports.append)

    def give(self, verb: str, argument: str = "", *, command_id: str = "1") -> list[Settled]:
        """What is settled in the turn that takes it."""
        self.commands.obey(Command(id=command_id, verb=verb, argument=argument))
        return self.turn()

    def turn(self) -> list[Settled]:
        self.office.supervisor.tick([])
        return self.commands.settled()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_restart_is_settled_when_the_successor_shows_its_first_sign_of_life(desk: Desk) -> None:
    at_once = desk.give("restart", WORKER)
    desk.turn()

    desk.office.beat()
    (settled,) = desk.turn()

    assert at_once == []
    assert settled.ok and settled.message == f"{WORKER} was restarted, pid {desk.office.pids[WORKER]}"


def test_a_drain_is_settled_when_the_process_is_gone(desk: Desk) -> None:
    desk.office.world.obey_sigterm = False
    at_once = desk.give("drain", WORKER)

    desk.office.world.end(desk.office.pids[WORKER], 0)
    (settled,) = desk.turn()

    assert at_once == []
    assert settled.ok and "is drained" in settled.message and "restart" in settled.message


def test_a_drained_process_is_not_drained_twice_and_runs_again_after_a_restart(desk: Desk) -> None:
    desk.give("drain", WORKER)
    desk.turn()
    (again,) = desk.give("drain", WORKER)
    desk.give("restart", WORKER)

    desk.office.beat()
    (settled,) = desk.turn()

    assert again.ok and "already" in again.message
    assert settled.ok and "runs again" in settled.message


def test_a_restart_overtakes_a_drain_that_is_under_way(desk: Desk) -> None:
    desk.office.world.obey_sigterm = False
    desk.give("drain", WORKER, command_id="drain")
    (overtaken,) = desk.give("restart", WORKER, command_id="restart")

    desk.office.world.end(desk.office.pids[WORKER], 0)
    desk.turn()
    desk.office.beat()
    (settled,) = desk.turn()

    assert (overtaken.id, overtaken.ok) == ("drain", False)
    assert (settled.id, settled.ok) == ("restart", True)


@pytest.mark.parametrize("verb", ["restart", "drain"])
def test_an_unknown_name_is_told_with_the_known_ones(desk: Desk, verb: str) -> None:
    (settled,) = desk.give(verb, "worker-7009")

    assert not settled.ok
    assert all(name in settled.message for name in ("worker-7009", WORKER, QUEUE))


def test_what_nothing_works_without_cannot_be_drained(desk: Desk) -> None:
    (settled,) = desk.give("drain", QUEUE)

    assert not settled.ok and "cannot be drained" in settled.message
    assert not desk.office.world.signals


def test_the_log_level_holds_from_now_on(desk: Desk) -> None:
    (settled,) = desk.give("log-level", "debug")
    (refused,) = desk.give("log-level", "loud")

    assert (settled.ok, desk.level.name) == (True, "debug")
    assert not refused.ok and "debug, info, warning, error" in refused.message


@pytest.mark.parametrize(("ok", "message"), [(True, "12 tasks"), (False, "shop.py, line 3: SyntaxError")])
def test_a_reload_is_settled_with_what_came_of_it_when_it_comes(desk: Desk, ok: bool, message: str) -> None:
    at_once = desk.give("reload")

    desk.reports[0](ok, message)

    assert at_once == []
    assert desk.turn() == [Settled(id="1", ok=ok, message=message)]


def test_a_start_without_workers_has_nothing_to_reload(desk: Desk) -> None:
    reports: list[str] = []

    reload_by(desk.office.supervisor)(lambda ok, message: reports.append(f"{ok} {message}"))

    assert reports == ["False no worker runs here, so there are no task modules to reload"]


def test_a_restart_of_the_template_is_a_reload(desk: Desk) -> None:
    desk.give("restart", "template")

    desk.reports[0](True, "done")

    assert desk.turn() == [Settled(id="1", ok=True, message="done")]


def test_a_command_that_there_is_not_is_refused(desk: Desk) -> None:
    (settled,) = desk.give("explode")

    assert not settled.ok
