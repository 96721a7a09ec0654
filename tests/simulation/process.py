"""A process that lives a role, as `supervisor.role_loop.live` does it: turns, sleep, drain, death.

Nothing but a letter or the end of its sleep wakes a process: a role that forgets to ask for its next turn stands still. It may
die at any `effect`: a call of the store, a letter that it sends. What it did before has happened, what comes after has not.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from jobyard.engine.errors import StoreBroken
from jobyard.engine.supervisor.role_loop import Role
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.messages import Message, Ready
from tests.simulation.agenda import Agenda, Violation

if TYPE_CHECKING:
    from tests.simulation.children import PlayedHandle
    from tests.simulation.network import End

Answer = TypeVar("Answer")

TURN_S = 0.00002
MOST_TURNS_A_SECOND = 4000


class Killed(BaseException):
    """The process that does this is dead; nothing in it may catch that."""


class Process:
    """See the module."""

    def __init__(
        self, agenda: Agenda, *, name: str, owner: str, died: Callable[[Process], object], told: Callable[[Message], object],
        stood_still: Callable[[], object],
    ) -> None:  # fmt: skip
        self.agenda = agenda
        self.name = name
        self.owner = owner
        self.who = owner.split(":", 2)[0] + ":" + owner.split(":", 2)[2]
        self.role: Role | None = None
        self.is_alive = True
        self.listens = False
        self.has_left = False
        self.ends: list[End] = []
        self.readable: dict[int, Callable[[], bool]] = {}
        self.sources: dict[int, Callable[[], bool]] = {}
        self.handles: dict[int, PlayedHandle] = {}
        self.crash_rate = 0.0
        self.began_at = agenda.now
        self.turns = 0
        self.told = told
        self.stood_still = stood_still
        self._died = died
        self._inbox: list[Envelope] = []
        self._is_busy = False
        self._wake_at = math.inf
        self._paused_until = 0.0
        self._is_asked_to_leave = False
        self._drains = False
        self._lately: deque[float] = deque()

    def begin(self, build: Callable[[], Role]) -> None:
        """From the fork to the first turn."""
        try:
            self.role = self._guarded(build)
        except Killed:
            return
        self.listens = True
        self.wake(0.0)

    # ---- what others do to it

    def arrive(self, envelope: Envelope) -> None:
        """Something for its next turn."""
        if self.is_alive:
            self._inbox.append(envelope)
            self.wake(self.agenda.between(0, 0.0001))

    def new_fd(self, is_readable: Callable[[], bool]) -> int:
        """A descriptor that it may watch."""
        fd = 1_000_000 + len(self.sources)
        self.sources[fd] = is_readable
        return fd

    def wake(self, delay_s: float) -> None:
        """A turn after so long, unless one comes sooner."""
        at = max(self.agenda.now + delay_s, self._paused_until)
        if at < self._wake_at:
            self._wake_at = at
            self.agenda.at(at, self._turn_if_due)

    def pause(self, seconds: float) -> None:
        """It is stopped, or its machine gives it no time."""
        self.stood_still()
        self._paused_until = max(self._paused_until, self.agenda.now + seconds)
        self._wake_at = math.inf
        self.wake(0.0)

    def ask_to_leave(self) -> None:
        """SIGTERM."""
        self._is_asked_to_leave = True
        self.wake(0.0)

    def kill(self, how: str = "killed") -> None:
        """SIGKILL. The others see its connections end, after all that it has sent."""
        if not self.is_alive:
            return
        self.agenda.note(self.who, how)
        self.is_alive = self.listens = False
        for end in self.ends:
            end.end()
        self._died(self)

    # ---- its own life

    def effect(self, what: str) -> None:
        """It is about to change something outside; maybe it does not live to."""
        if self.is_alive and self.agenda.happens(self.crash_rate):
            self.kill(f"dies before {what}")
        if not self.is_alive:
            raise Killed

    def pass_time(self, seconds: float) -> None:
        """It waits in the middle of its turn, and may not see the end of it."""
        self.agenda.pass_time(seconds)
        if self._paused_until > self.agenda.now:
            self.agenda.pass_time(self._paused_until - self.agenda.now)
        if not self.is_alive:
            raise Killed

    def _turn_if_due(self) -> None:
        if self.is_alive and self.role is not None and not self._is_busy and self.agenda.now >= self._wake_at:
            try:
                sleep_s = self._guarded(self._turn)
            except Killed:
                return
            self._sleep(sleep_s)

    def _turn(self) -> float:
        assert self.role is not None
        self._look_whether_it_spins()
        envelopes, self._inbox = self._inbox, []
        envelopes += [Envelope(None, Ready(fd=fd)) for fd, is_readable in self.readable.items() if is_readable()]
        if self._is_asked_to_leave and not self._drains:
            self._drains = True
            self.role.drain()
        sleep_s = self.role.tick(envelopes)
        if self._drains and self.role.drained:
            self.role.close()
            self.has_left = True
            self.kill("has left")
            raise Killed
        return max(0.0, sleep_s)

    def _sleep(self, sleep_s: float) -> None:
        self._wake_at = math.inf
        is_called = bool(self._inbox) or any(is_readable() for is_readable in self.readable.values())
        self.wake(TURN_S + (0.0 if is_called else sleep_s))

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

    def _look_whether_it_spins(self) -> None:
        self.turns += 1
        self._lately.append(self.agenda.now)
        while self._lately[0] < self.agenda.now - 1:
            self._lately.popleft()
        if len(self._lately) > MOST_TURNS_A_SECOND:
            raise Violation(f"{self.who} spins: {len(self._lately)} turns in a second")
