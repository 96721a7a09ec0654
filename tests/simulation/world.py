"""The world as the processes of one simulated host see it, and a log that writes to the trace."""

from __future__ import annotations

from datetime import datetime, timedelta

from jobyard.engine.logs import Log
from jobyard.engine.world import World
from tests.simulation.event_queue import EventQueue
from tests.support.world import START


class HostWorld(World):
    """One host's clocks, and random numbers and ids that depend on the seed."""

    def __init__(self, event_queue: EventQueue, *, name: str, number: int, wall_offset_s: float = 0.0) -> None:
        self._queue = event_queue
        self._name = name
        self._number = number
        self._ids = 0
        self.right_offset_s = wall_offset_s
        self.wall_offset_s = wall_offset_s

    def now(self) -> datetime:
        """Truncated to milliseconds, like the real one."""
        milliseconds = int((self._queue.now + self.wall_offset_s) * 1000 + 1e-6)
        return START + timedelta(milliseconds=milliseconds)

    def monotonic(self) -> float:
        return 1000.0 * (self._number + 1) + self._queue.now

    def jitter(self, at_most_s: float) -> float:
        return self._queue.between(0, at_most_s)

    def token(self, bits: int = 64) -> str:
        return f"{self._queue.chance.getrandbits(bits):0{bits // 4}x}"

    def host(self) -> str:
        return self._name

    def reserve_ids(self, count: int) -> str:
        first, self._ids = self._ids, self._ids + count
        return f"{'5eed':0<16}{self._number:02x}{first:06x}"


class TracedLog(Log):
    """A process's log, written to the trace."""

    is_debug = False

    def __init__(self, event_queue: EventQueue, who: str) -> None:
        self._queue = event_queue
        self._who = who

    def _write(self, level: int, event: str, fields: dict[str, object]) -> None:
        self._queue.note(self._who, f"log {event}", *(f"{name}={value}" for name, value in fields.items()))
