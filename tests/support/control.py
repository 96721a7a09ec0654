"""Control without a process: its shared objects, called directly; and rows of a roster."""

from __future__ import annotations

import json
import os
from typing import Any

import msgspec

from jobyard.engine.control.publisher import LATEST, MINUTES
from jobyard.engine.control.server import shared_objects
from jobyard.engine.control.snapshot import RosterRow
from jobyard.engine.errors import Unavailable
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.world import World

SUPERVISOR = "supervisor"


class FakeControl:
    """A `Control` whose server is here; what it is told goes through JSON, as over the socket."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._shared = shared_objects(world)
        self.is_away = False

    def call(self, name: str, method: str, *arguments: object) -> Any:
        """See `Control`."""
        if self.is_away:
            raise Unavailable("unavailable", "control is away: told to be")
        said = json.loads(msgspec.json.encode(arguments))
        return json.loads(json.dumps(getattr(self._shared[name], method)(*said)))

    def restart(self) -> None:
        """Another process, which nobody has told anything."""
        self._shared = shared_objects(self._world)

    def publish(self, name: str, counters: ComponentCounters, *, pid: int | None = None) -> None:
        """As a component does."""
        minutes, counters.minutes = counters.minutes, []
        parts = {LATEST: msgspec.json.encode(counters).decode(), MINUTES: msgspec.json.encode(minutes).decode()}
        self.call("counters", "publish", name, pid or os.getpid(), self._world.monotonic(), parts)

    def write(self, rows: list[RosterRow]) -> None:
        """As a supervisor does."""
        self.call("roster", "write", SUPERVISOR, rows)


def a_row(name: str, **given: Any) -> RosterRow:
    """A process that runs: this one, whoever it is said to be."""
    good: dict[str, Any] = {
        "supervisor": os.getpid(), "name": name, "role": name.rpartition("-")[0] or name, "pid": os.getpid(), "generation": 1,
        "state": "running", "since": 1.0, "started_at": 1.0, "restarts": 0,
    }  # fmt: skip
    return RosterRow(**good | given)
