"""A simulated process that runs a role as `supervisor.role_loop.live` does: ticks, sleep, drain, death.

Only a message or the end of its sleep wakes a process: a role that forgets to ask for its next tick stalls. The process may die at
any `side_effect`: a call of the store, or a message that it sends. What it did before has happened; what comes after has not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from jobyard.engine.errors import StoreBroken
from jobyard.engine.supervisor.role_loop import Role
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.messages import Ready
from tests.simulation.event_queue import EventQueue, Violation

if TYPE_CHECKING:
    from tests.simulation.children import SimulatedHandle
    from tests.simulation.network import End

Answer = TypeVar("Answer")

TICK_S = 0.00002
MAX_TICKS_PER_SECOND = 4000


class Killed(BaseException):
    """Raised within a process that has died; nothing in it may catch this."""


class Process:
    """See the module."""

    def __init__(
        self, event_queue: EventQueue, *, name: str, owner: str, on_death: Callable[[Process], object],
        paused: Callable[[], object],
    ) -> None:  # fmt: skip
        self.event_queue = event_queue
        self.name = name
        self.owner = owner
        self.who = owner.split(":", 2)[0] + ":" + owner.split(":", 2)[2]
        self.role: Role | None = None
        self.is_alive = True
        self.listens = False
        self.has_stopped = False
        self.ends: list[End] = []
        self.readable: dict[int, Callable[[], bool]] = {}
        self.sources: dict[int, Callable[[], bool]] = {}
        self.handles: dict[int, SimulatedHandle] = {}
        self.crash_rate = 0.0
        self.began_at = event_queue.now
        self.ticks = 0
        self.paused = paused
        self._on_death = on_death
        self._inbox: list[Envelope] = []
        self._is_busy = False
        self._wake_at = math.inf
        self._paused_until = 0.0
        self._is_asked_to_stop = False
        self._drains = False
        self._recent_ticks: deque[float] = deque()

    def begin(self, build: Callable[[], Role]) -> None:
        """Build the role, and schedule its first tick."""
        try:
            self.role = self._guarded(build)
        except Killed:
            return
        self.listens = True
        self.wake(0.0)

    # ---- called from outside

    def deliver(self, envelope: Envelope) -> None:
        """Add a message for the next tick."""
        if self.is_alive:
            self._inbox.append(envelope)
            self.wake(self.event_queue.between(0, 0.0001))

    def new_fd(self, is_readable: Callable[[], bool]) -> int:
        """A descriptor that it may watch."""
        fd = 1_000_000 + len(self.sources)
        self.sources[fd] = is_readable
        return fd

    def wake(self, delay_s: float) -> None:
        """Tick after this delay, unless a tick is due sooner."""
        at = max(self.event_queue.now + delay_s, self._paused_until)
        if at < self._wake_at:
            self._wake_at = at
            self.event_queue.at(at, self._tick_if_due)

    def pause(self, seconds: float) -> None:
        """The process is stopped, or gets no CPU time."""
        self.paused()
        self._paused_until = max(self._paused_until, self.event_queue.now + seconds)
        self._wake_at = math.inf
        self.wake(0.0)

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        self._is_asked_to_stop = True
        self.wake(0.0)

    def kill(self, how: str = "killed") -> None:
        """SIGKILL. Its peers see the connections end, after everything that it has sent."""
        if not self.is_alive:
            return
        self.event_queue.note(self.who, how)
        self.is_alive = self.listens = False
        for end in self.ends:
            end.end()
        self._on_death(self)

    # ---- called from the process itself

    def side_effect(self, what: str) -> None:
        """Called before anything that others can see; the process may die here."""
        if self.is_alive and self.event_queue.happens(self.crash_rate):
            self.kill(f"dies before {what}")
        if not self.is_alive:
            raise Killed

    def pass_time(self, seconds: float) -> None:
        """Wait in the middle of a tick; the process may be dead afterwards."""
        self.event_queue.pass_time(seconds)
        if self._paused_until > self.event_queue.now:
            self.event_queue.pass_time(self._paused_until - self.event_queue.now)
        if not self.is_alive:
            raise Killed

    def _tick_if_due(self) -> None:
        if self.is_alive and self.role is not None and not self._is_busy and self.event_queue.now >= self._wake_at:
            try:
                sleep_s = self._guarded(self._tick)
            except Killed:
                return
            self._sleep(sleep_s)

    def _tick(self) -> float:
        assert self.role is not None
        self._check_spinning()
        envelopes, self._inbox = self._inbox, []
        envelopes += [Envelope(None, Ready(fd=fd)) for fd, is_readable in self.readable.items() if is_readable()]
        if self._is_asked_to_stop and not self._drains:
            self._drains = True
            self.role.drain()
        sleep_s = self.role.tick(envelopes)
        if self._drains and self.role.drained:
            self.role.close()
            self.has_stopped = True
            self.kill("has stopped")
            raise Killed
        return max(0.0, sleep_s)

    def _sleep(self, sleep_s: float) -> None:
        self._wake_at = math.inf
        is_called = bool(self._inbox) or any(is_readable() for is_readable in self.readable.values())
        self.wake(TICK_S + (0.0 if is_called else sleep_s))

    def _guarded(self, act: Callable[[], Answer]) -> Answer:
        """A damaged database ends the process; any other exception is a bug."""
        self._is_busy = True
        try:
            return act()
        except StoreBroken:
            self.kill("ends because the database is broken")
            raise Killed from None
        except Exception as bug:
            raise Violation(f"{self.who} failed: {bug!r}") from bug
        finally:
            self._is_busy = False

    def _check_spinning(self) -> None:
        self.ticks += 1
        self._recent_ticks.append(self.event_queue.now)
        while self._recent_ticks[0] < self.event_queue.now - 1:
            self._recent_ticks.popleft()
        if len(self._recent_ticks) > MAX_TICKS_PER_SECOND:
            raise Violation(f"{self.who} spins: {len(self._recent_ticks)} ticks in a second")
