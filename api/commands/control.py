"""`restart`, `drain`, `log-level`, `reload`: commands to the Jobyard on this host, through its control process.

They do not go through HTTP: only the user who runs Jobyard on this `DATA_DIR` can give them.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from jobyard.api.commands.connection import CommandEnvironment, report_errors
from jobyard.api.commands.show import clean
from jobyard.engine.checkout import default_data_dir, program
from jobyard.engine.config import Settings, read_settings
from jobyard.engine.control.client import Control, ControlAway
from jobyard.engine.control.protocol import COMMANDS, OVERVIEW
from jobyard.engine.control.snapshot import RosterRow, read_overview
from jobyard.engine.errors import Conflict, NotFinished, NotFound, Unreachable
from jobyard.engine.logs import LEVELS
from jobyard.engine.supervisor.data_dir import DataDir
from jobyard.engine.topology import SUPERVISOR
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

T = TypeVar("T")

RESTART, DRAIN, LOG_LEVEL, RELOAD = "restart", "drain", "log-level", "reload"
OF_ONE = (RESTART, DRAIN)
LOOK_EVERY_S = 0.05
TAKEN_WITHIN_S = 5.0
BACK_WITHIN_S = 5.0
MARGIN_S = 90.0
"""Besides DRAIN_S, how long a component may take to leave and to begin anew."""


@click.command("restart")
@click.argument("name")
@click.pass_obj
def restart(given: CommandEnvironment | None, name: str) -> None:
    """Restart one component once it has finished its work; start a drained one.

    Jobs that are still running after DRAIN_S are handed back and run again. Nothing is lost and no retry is used up.

    \b
    Example: jobyard restart worker-7001
    """
    _tell(given, RESTART, name)


@click.command("drain")
@click.argument("name")
@click.pass_obj
def drain(given: CommandEnvironment | None, name: str) -> None:
    """Stop one component once it has finished its work, until `restart`.

    \b
    Example: jobyard drain worker-7001
    """
    _tell(given, DRAIN, name)


@click.command("log-level")
@click.argument("level", type=click.Choice(LEVELS))
@click.pass_obj
def set_log_level(given: CommandEnvironment | None, level: str) -> None:
    """Change the log level of all running processes; the next start uses LOG_LEVEL again.

    \b
    Example: jobyard log-level debug
    """
    _tell(given, LOG_LEVEL, level)


@click.command("reload")
@click.pass_obj
def reload_tasks(given: CommandEnvironment | None) -> None:
    """Import the task modules again; new jobs use the new code, running jobs finish with the old code.

    If the new code cannot be imported, the old code stays in use and the command says why.
    """
    _tell(given, RELOAD, "")


def _tell(given: CommandEnvironment | None, verb: str, argument: str) -> None:
    environment = (given or CommandEnvironment()).environment
    with report_errors():
        settings = read_settings({"DATA_DIR": default_data_dir()} | {name: value for name, value in environment.items() if value})
        errand = Errand(settings, World())
        for message in errand.run(verb, argument):
            click.echo(clean(message))


class Errand:
    """A command from giving it to its outcome."""

    def __init__(self, settings: Settings, world: World) -> None:
        self._settings = settings
        self._world = world
        self._control = Control(RunDir(settings.data_dir), world, name="command", deadline_s=1.0)

    def run(self, verb: str, argument: str) -> list[str]:
        """The messages of all supervisors concerned."""
        try:
            rows = self._rows()
            given = [(name, self._give(name, verb, argument)) for name in _concerned(rows, verb, argument)]
            return [self._await_outcome(name, command_id) for name, command_id in given]
        finally:
            self._control.close()

    def _rows(self) -> Sequence[RosterRow]:
        if not DataDir(self._settings.data_dir).occupants():
            words = f"nothing runs on DATA_DIR {self._settings.data_dir}: start it with {program('start-all')}, or set DATA_DIR"
            raise Unreachable(words, was_sent=False)
        return self._patiently(lambda: self._roster() or None, BACK_WITHIN_S)

    def _roster(self) -> Sequence[RosterRow]:
        return read_overview(self._control.call(OVERVIEW, "read", [])).roster

    def _give(self, supervisor: str, verb: str, argument: str) -> str:
        command_id = self._world.token()
        self._control.call(COMMANDS, "give", supervisor, {"id": command_id, "verb": verb, "argument": argument})
        return command_id

    def _await_outcome(self, supervisor: str, command_id: str) -> str:
        """The outcome is found even if control is replaced in the meantime."""
        give_up_at = self._world.monotonic() + self._settings.drain_s + MARGIN_S
        expected_by = self._world.monotonic() + TAKEN_WITHIN_S
        while self._world.monotonic() < give_up_at:
            outcome = self._patiently(lambda: self._control.call(COMMANDS, "outcome", command_id), BACK_WITHIN_S)
            match outcome["state"]:
                case "done":
                    return str(outcome["message"])
                case "failed":
                    raise Conflict("conflict", str(outcome["message"]))
                case "taken":
                    expected_by = float("inf")
            if self._world.monotonic() > expected_by:
                self._control.call(COMMANDS, "withdraw", supervisor, command_id)
                words = f"{supervisor} has not taken the command within {TAKEN_WITHIN_S:g} s: it is withdrawn"
                raise Unreachable(words, was_sent=False)
            select.select([], [], [], LOOK_EVERY_S)
        raise NotFinished(f"{supervisor} has begun but is not done yet; it continues, see {program('jobyard')} stats")

    def _patiently(self, ask: Callable[[], T | None], within_s: float) -> T:
        """Retry while control is replaced."""
        give_up_at = self._world.monotonic() + within_s
        while True:
            try:
                answer = ask()
                if answer is not None:
                    return answer
                reason = "no supervisor has told it its processes yet"
            except ControlAway as away:
                reason = away.message
            if self._world.monotonic() > give_up_at:
                raise Unreachable(f"{reason}; it is replaced within {self._settings.hang_s:g} s: try again", was_sent=False)
            select.select([], [], [], LOOK_EVERY_S)


def _concerned(rows: Sequence[RosterRow], verb: str, argument: str) -> list[str]:
    """The supervisors that must carry it out: a component's own, or all."""
    supervisors = {row.supervisor: row.name for row in rows if row.role == SUPERVISOR}
    if verb not in OF_ONE:
        return list(supervisors.values())
    others = {row.name: supervisors[row.supervisor] for row in rows if row.role != SUPERVISOR and row.supervisor in supervisors}
    if argument in supervisors.values():
        words = f"{argument} is the parent of all others, so it cannot {verb} alone: use bin/stop-all and bin/start-all"
        raise NotFound("not_found", f"{words}; there are: {', '.join(sorted(others))}")
    if argument not in others:
        raise NotFound("not_found", f"there is no process {argument!r} to {verb}; there are: {', '.join(sorted(others))}")
    return [others[argument]]
