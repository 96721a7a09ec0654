"""Carries out commands to a running supervisor; each ends with a message for the caller.

    restart, drain ── SIGTERM to the component ──▶ settled when its successor is ready, or when it has left
    log-level ──▶ settled at once            reload ──▶ settled when the new code is imported, or cannot be
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobyard.engine.checkout import program
from jobyard.engine.logs import LEVELS, LogLevel
from jobyard.engine.supervisor.control_link import Command, Settled
from jobyard.engine.supervisor.process_table import ProcessState, Row
from jobyard.engine.supervisor.supervisor import Supervisor
from jobyard.engine.supervisor.template_keeper import NAME as TEMPLATE

Report = Callable[[bool, str], None]
"""To be called once, now or later, with success or failure and a message."""

RESTART, DRAIN, LOG_LEVEL, RELOAD = VERBS = ("restart", "drain", "log-level", "reload")
RELOADED = "the task modules are imported again; new jobs run the code as it is now"


def reload_by(supervisor: Supervisor) -> Callable[[Report], None]:
    """What `reload` does: a new template imports the modules; the old one serves until it is ready, or for good if it fails."""

    def reload(report: Report) -> None:
        if not supervisor.has_templates:
            report(False, "no worker runs here, so there are no task modules to reload")
            return
        supervisor.reload(lambda error: report(error is None, error or RELOADED))

    return reload


@dataclass(frozen=True, slots=True)
class Pending:
    """A command in progress, and the state of its row when it began."""

    command: Command
    row: Row
    generation: int
    state_before: ProcessState

    @property
    def is_done(self) -> bool:
        """Whether the goal is reached."""
        if self.command.verb == DRAIN:
            return self.row.pid is None
        return self.row.generation > self.generation and self.row.is_ready


class Commands:
    """Of one supervisor."""

    def __init__(
        self, supervisor: Supervisor, *, level: LogLevel, drainable: Sequence[str], reload: Callable[[Report], None]
    ) -> None:  # fmt: skip
        """`drainable`: the roles that can be drained. `reload`: reports its outcome when it has one."""
        self._supervisor = supervisor
        self._level = level
        self._drainable = drainable
        self._reload = reload
        self._pending: list[Pending] = []
        self._settled: list[Settled] = []

    def execute(self, command: Command) -> None:
        """Begin to execute the command; its outcome is in `settled` when it is known."""
        steps = {RESTART: self._restart, DRAIN: self._drain, LOG_LEVEL: self._set_level, RELOAD: self._begin_reload}
        step = steps.get(command.verb)
        if step is None:
            self._settle(command, ok=False, message=f"there is no command {command.verb!r}")
        else:
            step(command)

    def settled(self) -> list[Settled]:
        """Outcomes since the last call."""
        for pending in [pending for pending in self._pending if pending.is_done]:
            self._pending.remove(pending)
            self._settle(pending.command, ok=True, message=_success_message(pending))
        done, self._settled = self._settled, []
        return done

    # ---- the commands

    def _restart(self, command: Command) -> None:
        if command.argument == TEMPLATE:
            self._begin_reload(command)
            return
        row = self._row(command)
        if row is not None:
            self._pend(command, row)
            self._supervisor.restart(command.argument)

    def _drain(self, command: Command) -> None:
        row = self._row(command)
        if row is None:
            return
        if row.spec.role not in self._drainable:
            self._settle(command, ok=False, message=f"{command.argument} cannot be drained, only restarted")
            return
        if row.state is ProcessState.DRAINED:
            words = f"{command.argument} is drained already; {program('jobyard')} restart starts it again"
            self._settle(command, ok=True, message=words)
            return
        self._pend(command, row)
        self._supervisor.drain(command.argument)

    def _set_level(self, command: Command) -> None:
        if command.argument not in LEVELS:
            self._settle(command, ok=False, message=f"the log level must be one of {', '.join(LEVELS)}, not {command.argument!r}")
            return
        before = self._level.name
        self._level.set(command.argument)
        self._settle(command, ok=True, message=f"the log level is {command.argument} now; it was {before}")

    def _begin_reload(self, command: Command) -> None:
        self._reload(lambda ok, message: self._settle(command, ok=ok, message=message))

    # ---- helpers

    def _row(self, command: Command) -> Row | None:
        rows = {row.spec.name: row for row in self._supervisor.rows}
        row = rows.get(command.argument)
        if row is None:
            message = f"there is no process {command.argument!r} to {command.verb}; there are: {', '.join(rows)}"
            self._settle(command, ok=False, message=message)
        return row

    def _pend(self, command: Command, row: Row) -> None:
        """A command replaces an opposite one that is still in progress."""
        for pending in [pending for pending in self._pending if pending.row is row and pending.command.verb != command.verb]:
            self._pending.remove(pending)
            self._settle(pending.command, ok=False, message=f"replaced by a later command to {command.verb} {command.argument}")
        self._pending.append(Pending(command, row, row.generation, row.state))

    def _settle(self, command: Command, *, ok: bool, message: str) -> None:
        self._settled.append(Settled(id=command.id, ok=ok, message=message))


def _success_message(pending: Pending) -> str:
    name = pending.command.argument
    if pending.command.verb == DRAIN:
        return f"{name} is drained and stays stopped until {program('jobyard')} restart {name}"
    if pending.state_before is ProcessState.DRAINED:
        return f"{name} runs again, pid {pending.row.pid}"
    return f"{name} was restarted, pid {pending.row.pid}"
