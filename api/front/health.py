"""Health checks of the schedulers: a ping every second (two when idle), four times a second while an answer is due.

    healthy ──its connection is refused or lost──▶ gone   ──▶ healthy again once it answers a ping or any other request
       └──── a ping unanswered for SILENT_S ─────▶ silent ──┘

A scheduler that is merely busy answers between two commits and stays healthy. A ping stays pending over several rounds, so a hung
scheduler has one outstanding ping at a time and does not delay the checks of the others. `front.load_balancer` uses the result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from jobyard.engine.logs import Log
from jobyard.engine.wire.caller import SILENT_S, Call, Caller, NoAnswer
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Ping, Refused
from jobyard.engine.world import World

CHECK_EVERY_S = 1.0
IDLE_CHECK_S = 2.0
CHECK_SOON_S = 0.25
CHECK_S = 0.25


@dataclass(frozen=True, slots=True)
class PendingPing:
    """A ping without an answer yet."""

    call: Call
    sent_at: float


class Health:
    """The health of all schedulers as one front process sees it; shared by its threads."""

    def __init__(self, caller: Caller, *, schedulers: Callable[[], list[str]], world: World, log: Log) -> None:
        self._caller = caller
        self._schedulers = schedulers
        self._world = world
        self._log = log
        self._names: list[str] = []
        self._is_used = True
        self._unhealthy: frozenset[str] = frozenset()
        self._pings: dict[str, PendingPing] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def schedulers(self) -> list[str]:
        """All schedulers that exist, as of the last check."""
        if not self._names:
            self._names = self._schedulers()
        return self._names

    def is_healthy(self, name: str) -> bool:
        """Whether requests should go to it."""
        self._is_used = True
        return name not in self._unhealthy

    def note_answer(self, name: str) -> None:
        """It has just answered."""
        if name in self._unhealthy:
            self._set_healthy(name, is_healthy=True)

    def note_disconnect(self, name: str) -> None:
        """Its connection was refused or lost."""
        self._set_healthy(name, is_healthy=False)
        self._wake.set()

    def run(self) -> None:
        """Check for ever; the main function of a thread."""
        while True:
            self._wake.wait(self._pause_s())
            self._wake.clear()
            self.check_or_log()

    def _pause_s(self) -> float:
        """An idle service is checked less often: a ping wakes a scheduler and this process."""
        was_used, self._is_used = self._is_used, False
        if self._unhealthy or self._pings:
            return CHECK_SOON_S
        return CHECK_EVERY_S if was_used else IDLE_CHECK_S

    def check_or_log(self) -> None:
        """Check once; a fault, such as having no descriptor left for a moment, may be gone the next time."""
        try:
            self.check()
        except Exception as error:
            self._log.error("health_check_failed", error=repr(error))

    def check(self) -> None:
        """Ping every scheduler without a pending ping, then collect answers for a moment."""
        self._names = self._schedulers()
        for name in set(self._pings) - set(self._names):
            self._pings.pop(name).call.drop()
        for name in set(self._names) - set(self._pings):
            self._ping(name)
        deadline = self._world.monotonic() + CHECK_S
        for name in list(self._pings):
            self._collect(name, deadline)

    def _ping(self, name: str) -> None:
        try:
            self._pings[name] = PendingPing(self._caller.begin(name, Ping()), self._world.monotonic())
        except NoAnswer:
            self._set_healthy(name, is_healthy=False)

    def _collect(self, name: str, deadline: float) -> None:
        pending_ping = self._pings[name]
        try:
            answer = pending_ping.call.wait(deadline - self._world.monotonic())
        except NoAnswer:
            del self._pings[name]
            self._set_healthy(name, is_healthy=False)
            return
        if answer is not None:
            del self._pings[name]
            self._set_healthy(name, is_healthy=not _is_down(answer))
        elif self._world.monotonic() - pending_ping.sent_at >= SILENT_S:
            self._set_healthy(name, is_healthy=False)

    def _set_healthy(self, name: str, *, is_healthy: bool) -> None:
        with self._lock:
            self._unhealthy = self._unhealthy - {name} if is_healthy else self._unhealthy | {name}


def _is_down(answer: Message) -> bool:
    """A scheduler whose database is unavailable stays in use: its error tells clients more than "no scheduler" would."""
    return isinstance(answer, Refused) and answer.code != "database_unavailable"
