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

    def __init__(self, tells: Channel, hears: Channel, *, supervisor: str) -> None:
        self._tells = tells
        self._hears = hears
        self._supervisor = supervisor
        self._roster: list[RosterRow] = []
        self._told: list[RosterRow] = []
        self._connection = 0
        self._settled: deque[Settled] = deque()

    @property
    def bells(self) -> tuple[int, int]:
        """Descriptors for the loop to watch."""
        return self._tells.bell, self._hears.bell

    @property
    def is_told(self) -> bool:
        """Whether control has acknowledged the latest roster."""
        return self._tells.is_free and self._told == self._roster and self._connection == self._tells.connections

    def turn(self, *, rang: bool) -> list[Command]:
        """Proceed if a bell is readable or a retry is due; the commands that arrived."""
        if not rang and self.sleep_s() > 0:
            return []
        self._tells.turn()
        self._tells.answers()
        self._hears.turn()
        came = [msgspec.convert(answer, Command) for answer in self._hears.answers() if answer is not None]
        if self._hears.is_free:
            self._hears.ask(COMMANDS, "take", self._supervisor)
        return came

    def tell(self, roster: list[RosterRow], settled: list[Settled]) -> None:
        """Report the state after a tick; only changes are sent."""
        self._settled.extend(settled)
        self._roster = roster
        if not self._tells.is_free:
            return
        if self._told != roster or self._connection != self._tells.connections:
            self._connection, self._told = self._tells.connections, roster
            self._tells.ask(ROSTER, "write", self._supervisor, roster)
        elif self._settled:
            done = self._settled.popleft()
            self._tells.ask(COMMANDS, "settle", done.id, done.ok, done.message)

    def sleep_s(self) -> float:
        """The longest time until the next call."""
        return min(self._tells.sleep_s(), self._hears.sleep_s())

    def close(self) -> None:
        """Remove this supervisor from the roster and close."""
        if self._tells.is_free:
            self._tells.ask(ROSTER, "remove", self._supervisor)
        self._tells.close()
        self._hears.close()
