"""A supervisor's two connections to control, which never wait: for the roster and outcomes, and for commands.

    first connection:  roster.write (when it changed), commands.settle          second: commands.take, answered when there is one

A new control process gets the roster again. A command is carried out even if its outcome cannot be reported.
"""

from __future__ import annotations

from collections import deque

import msgspec

from jobyard.engine.control.channel import Channel
from jobyard.engine.control.protocol import COMMANDS, ROSTER
from jobyard.engine.control.snapshot import RosterRow


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """`verb`: restart, drain, log-level or reload; `argument`: of which component, or which level."""

    id: str
    verb: str
    argument: str = ""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a command."""

    id: str
    ok: bool
    message: str


class ControlLink:
    """The connections of one supervisor."""

    def __init__(self, reports: Channel, commands: Channel, *, supervisor: str) -> None:
        self._reports = reports
        self._commands = commands
        self._supervisor = supervisor
        self._roster: list[RosterRow] = []
        self._sent_roster: list[RosterRow] = []
        self._connection = 0
        self._settled: deque[Settled] = deque()

    @property
    def wakeup_fds(self) -> tuple[int, int]:
        """Descriptors for the loop to watch."""
        return self._reports.wakeup_fd, self._commands.wakeup_fd

    @property
    def is_roster_published(self) -> bool:
        """Whether control has acknowledged the latest roster."""
        is_current = self._sent_roster == self._roster and self._connection == self._reports.connections
        return is_current and self._reports.is_free

    def tick(self, *, is_readable: bool) -> list[Command]:
        """Proceed if a wake-up descriptor is readable or a retry is due; returns the commands that arrived."""
        if not is_readable and self.sleep_s() > 0:
            return []
        self._reports.tick()
        self._reports.answers()
        self._commands.tick()
        arrived = [msgspec.convert(answer, Command) for answer in self._commands.answers() if answer is not None]
        if self._commands.is_free:
            self._commands.ask(COMMANDS, "take", self._supervisor)
        return arrived

    def report(self, roster: list[RosterRow], settled: list[Settled]) -> None:
        """Report the state after an iteration of the supervisor's loop; only changes are sent."""
        self._settled.extend(settled)
        self._roster = roster
        if not self._reports.is_free:
            return
        if self._sent_roster != roster or self._connection != self._reports.connections:
            self._connection, self._sent_roster = self._reports.connections, roster
            self._reports.ask(ROSTER, "write", self._supervisor, roster)
        elif self._settled:
            done = self._settled.popleft()
            self._reports.ask(COMMANDS, "settle", done.id, done.ok, done.message)

    def sleep_s(self) -> float:
        """The longest time until the next `tick`."""
        return min(self._reports.sleep_s(), self._commands.sleep_s())

    def close(self) -> None:
        """Remove this supervisor from the roster, and close both connections."""
        if self._reports.is_free:
            self._reports.ask(ROSTER, "remove", self._supervisor)
        self._reports.close()
        self._commands.close()
