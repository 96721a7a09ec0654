"""Commands to a supervisor, with simulated processes."""

from __future__ import annotations

import pytest

from jobyard.engine.logs import LogLevel
from jobyard.engine.supervisor.commands import Commands, Report, reload_by
from jobyard.engine.supervisor.control_link import Command, Settled
from tests.unit.engine.supervisor.test_supervisor import QUEUE, WORKER, Office


class Desk:
    """A supervisor and its commands."""

    def __init__(self) -> None:
        self.office = Office()
        self.office.start()
        self.level = LogLevel("info")
        self.reports: list[Report] = []
        self.commands = Commands(self.office.supervisor, level=self.level, drainable=["worker"], reload=self.reports.append)

    def give(self, verb: str, argument: str = "", *, command_id: str = "1") -> list[Settled]:
        """The outcomes that are known in the iteration that receives the command."""
        self.commands.execute(Command(id=command_id, verb=verb, argument=argument))
        return self.tick()

    def tick(self) -> list[Settled]:
        self.office.supervisor.tick([])
        return self.commands.settled()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_restart_is_settled_by_the_first_heartbeat_of_the_successor(desk: Desk) -> None:
    at_once = desk.give("restart", WORKER)
    desk.tick()

    desk.office.beat()
    (settled,) = desk.tick()

    assert at_once == []
    assert settled.ok and settled.message == f"{WORKER} was restarted, pid {desk.office.pids[WORKER]}"


def test_a_drain_is_settled_when_the_process_has_ended(desk: Desk) -> None:
    desk.office.world.obey_sigterm = False
    at_once = desk.give("drain", WORKER)

    desk.office.world.end(desk.office.pids[WORKER], 0)
    (settled,) = desk.tick()

    assert at_once == []
    assert settled.ok and "is drained" in settled.message and "restart" in settled.message


def test_a_drained_process_is_not_drained_twice_and_runs_again_after_a_restart(desk: Desk) -> None:
    desk.give("drain", WORKER)
    desk.tick()
    (again,) = desk.give("drain", WORKER)
    desk.give("restart", WORKER)

    desk.office.beat()
    (settled,) = desk.tick()

    assert again.ok and "already" in again.message
    assert settled.ok and "runs again" in settled.message


def test_a_restart_replaces_a_drain_in_progress(desk: Desk) -> None:
    desk.office.world.obey_sigterm = False
    desk.give("drain", WORKER, command_id="drain")
    (overtaken,) = desk.give("restart", WORKER, command_id="restart")

    desk.office.world.end(desk.office.pids[WORKER], 0)
    desk.tick()
    desk.office.beat()
    (settled,) = desk.tick()

    assert (overtaken.id, overtaken.ok) == ("drain", False)
    assert (settled.id, settled.ok) == ("restart", True)


@pytest.mark.parametrize("verb", ["restart", "drain"])
def test_an_unknown_name_is_refused_with_the_known_ones(desk: Desk, verb: str) -> None:
    (settled,) = desk.give(verb, "worker-7009")

    assert not settled.ok
    assert all(name in settled.message for name in ("worker-7009", WORKER, QUEUE))


def test_only_drainable_roles_can_be_drained(desk: Desk) -> None:
    (settled,) = desk.give("drain", QUEUE)

    assert not settled.ok and "cannot be drained" in settled.message
    assert not desk.office.world.signals


def test_the_log_level_is_changed_at_once(desk: Desk) -> None:
    (settled,) = desk.give("log-level", "debug")
    (refused,) = desk.give("log-level", "loud")

    assert (settled.ok, desk.level.name) == (True, "debug")
    assert not refused.ok and "debug, info, warning, error" in refused.message


@pytest.mark.parametrize(("ok", "message"), [(True, "12 tasks"), (False, "shop.py, line 3: SyntaxError")])
def test_a_reload_is_settled_when_its_outcome_is_known(desk: Desk, ok: bool, message: str) -> None:
    at_once = desk.give("reload")

    desk.reports[0](ok, message)

    assert at_once == []
    assert desk.tick() == [Settled(id="1", ok=ok, message=message)]


def test_a_start_without_workers_has_nothing_to_reload(desk: Desk) -> None:
    reports: list[str] = []

    reload_by(desk.office.supervisor)(lambda ok, message: reports.append(f"{ok} {message}"))

    assert reports == ["False no worker runs here, so there are no task modules to reload"]


def test_a_restart_of_the_template_is_a_reload(desk: Desk) -> None:
    desk.give("restart", "template")

    desk.reports[0](True, "done")

    assert desk.tick() == [Settled(id="1", ok=True, message="done")]


def test_an_unknown_command_is_refused(desk: Desk) -> None:
    (settled,) = desk.give("explode")

    assert not settled.ok
