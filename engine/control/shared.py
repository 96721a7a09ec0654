"""The shared objects of the manager; their methods are called from many threads.

Nothing is persisted: supervisors and components publish everything again to a new control process.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

TAKE_S = 30.0
MOST_OUTCOMES = 200
Row = dict[str, Any]


class Roster:
    """The processes: each supervisor writes the complete list of its own whenever one of them changes."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {}

    def write(self, supervisor: str, rows: list[Row]) -> None:
        """Replace the rows of this supervisor; the first is its own."""
        self._rows[supervisor] = rows

    def remove(self, supervisor: str) -> None:
        """The supervisor and its processes are gone."""
        self._rows.pop(supervisor, None)

    def read(self) -> list[Row]:
        """The processes of all supervisors."""
        return [row for rows in list(self._rows.values()) for row in rows]


class Counters:
    """The latest counters of each component, with the pid that published them and the monotonic time."""

    def __init__(self) -> None:
        self._of: dict[str, Row] = {}

    def publish(self, name: str, pid: int, at: float, parts: dict[str, str]) -> None:
        """Store the parts that changed; a new process sends all of them."""
        before = self._of.get(name)
        known = before["parts"] if before is not None and before["pid"] == pid else {}
        self._of[name] = {"pid": pid, "at": at, "parts": {**known, **parts}}

    def read(self, parts: list[str]) -> dict[str, Row]:
        """These parts of all components."""
        return {
            name: {**one, "parts": {part: text for part, text in one["parts"].items() if part in parts}}
            for name, one in list(self._of.items())
        }  # fmt: skip


class Overview:
    """Roster and counters in one call."""

    def __init__(self, roster: Roster, counters: Counters) -> None:
        self._roster = roster
        self._counters = counters

    def read(self, parts: list[str]) -> dict[str, object]:
        """The processes, and these parts of the counters."""
        return {"roster": self._roster.read(), "counters": self._counters.read(parts)}


class Commands:
    """Commands to supervisors, and their outcomes for the programs that gave them."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._given: dict[str, deque[Row]] = {}
        self._takes: dict[str, int] = {}
        self._outcomes: dict[str, Row] = {}

    def give(self, supervisor: str, command: Row) -> None:
        """`command` has a unique `id`, chosen by the caller."""
        with self._changed:
            self._given.setdefault(supervisor, deque()).append(command)
            self._note(command["id"], {"state": "given"})
            self._changed.notify_all()

    def withdraw(self, supervisor: str, command_id: str) -> bool:
        """Remove it unless it was taken; whether it was removed."""
        with self._changed:
            given = self._given.get(supervisor, deque())
            left = deque(command for command in given if command["id"] != command_id)
            self._given[supervisor] = left
            return len(left) < len(given)

    def take(self, supervisor: str) -> Row | None:
        """The next command, or None after `TAKE_S`. A second call for the same supervisor ends the first one."""
        give_up_at = self._monotonic() + TAKE_S
        with self._changed:
            mine = self._takes[supervisor] = self._takes.get(supervisor, 0) + 1
            self._changed.notify_all()
            given = self._given.setdefault(supervisor, deque())
            while not given and self._takes[supervisor] == mine and self._monotonic() < give_up_at:
                self._changed.wait(give_up_at - self._monotonic())
                given = self._given[supervisor]
            if not given or self._takes[supervisor] != mine:
                return None
            command = given.popleft()
            self._note(command["id"], {"state": "taken"})
            return command

    def settle(self, command_id: str, ok: bool, message: str) -> None:
        """Record the outcome."""
        with self._changed:
            self._note(command_id, {"state": "done" if ok else "failed", "message": message})

    def outcome(self, command_id: str) -> Row:
        """`state` is given, taken, done, failed, or unknown: a control process does not know the commands of its predecessor."""
        with self._changed:
            return self._outcomes.get(command_id, {"state": "unknown"})

    def _note(self, command_id: str, outcome: Row) -> None:
        self._outcomes.pop(command_id, None)
        self._outcomes[command_id] = outcome
        while len(self._outcomes) > MOST_OUTCOMES:
            del self._outcomes[next(iter(self._outcomes))]
