"""Notifies a service manager, in the protocol of `sd_notify(3)`: ready, alive, stopping.

    supervisor ──Signs (shared memory)──▶ guard ──datagrams──▶ $NOTIFY_SOCKET

Only the guard notifies: it is the process that the manager started, so `NotifyAccess=main` excludes all others, tasks included. It
reports the system alive only if the supervisor has ticked since its last report: if either of the two hangs, the reports stop, and
the manager restarts everything. Without a manager nothing is sent, and the guard never wakes for it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass

from jobyard.engine.supervisor.heartbeat import HeartbeatPage
from jobyard.engine.world import World

SOCKET, WATCHDOG, WATCHED = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
READY, ALIVE, STOPPING = b"READY=1", b"WATCHDOG=1", b"STOPPING=1"
PINGS_IN_A_WATCHDOGS_TIME = 4
LOOK_EVERY_S = 0.05
"""The interval of looks for what the supervisor has not reported yet."""

TRY_AGAIN_S = 1.0
"""The retry interval when the manager did not accept a message."""

TURN_SLOT, READY_SLOT = 0, 1


class SupervisorSigns:
    """What the supervisor reports to its guard: a shared page, created before the fork."""

    def __init__(self, world: World) -> None:
        self._page = HeartbeatPage(2)
        self.turn = self._page.slot(TURN_SLOT, world)
        self.ready = self._page.slot(READY_SLOT, world)

    def last_turn(self) -> float:
        """Monotonic seconds of the supervisor's last tick; 0 before the first."""
        return self._page.last_beat(TURN_SLOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySocket:
    """The address of its socket (empty: there is no manager), and its watchdog interval."""

    address: str
    watchdog_s: float | None

    def tell(self, word: bytes) -> bool:
        """Send a message; whether it was accepted. Never blocks."""
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(word, address)
        except OSError:  # the manager does not read, or too slowly: the service goes on without it
            return False
        return True


def take_notify_socket(environment: MutableMapping[str, str]) -> NotifySocket:
    """The manager that started this process. Removes it from the environment: gunicorn and tasks would notify it, too."""
    address, microseconds, _ = (environment.pop(name, "") for name in (SOCKET, WATCHDOG, WATCHED))
    watchdog_s = int(microseconds) / 1e6 if re.fullmatch("[0-9]{1,18}", microseconds) else 0
    return NotifySocket(address=address, watchdog_s=watchdog_s or None)


class ReadinessNotifier:
    """Sends each notification when the supervisor's report makes it true."""

    def __init__(self, notify_socket: NotifySocket, signs: SupervisorSigns, world: World) -> None:
        self._socket = notify_socket
        self._signs = signs
        self._world = world
        self._ready_told = self._stopping_told = not notify_socket.address
        watchdog_s = notify_socket.watchdog_s if notify_socket.address else None
        self._ping_every_s = watchdog_s / PINGS_IN_A_WATCHDOGS_TIME if watchdog_s else None
        self._ping_at = world.monotonic()
        self._turn_told = 0.0

    def look(self) -> float | None:
        """Send what is new; returns the longest time until the next call, None if there will be nothing more."""
        if not self._ready_told and self._signs.ready.has_begun():
            self._ready_told = self._socket.tell(READY)
        if self._ping_every_s is not None:
            self._ping(self._ping_every_s)
        return self._next_look_s()

    def stop(self) -> None:
        """The stop has begun."""
        if not self._stopping_told:
            self._ready_told = True
            self._stopping_told = self._socket.tell(STOPPING)

    def _ping(self, every_s: float) -> None:
        turn, now = self._signs.last_turn(), self._world.monotonic()
        if turn > self._turn_told and now >= self._ping_at and self._socket.tell(ALIVE):
            self._turn_told = turn
            self._ping_at = now + every_s

    def _next_look_s(self) -> float | None:
        if not self._ready_told:
            return TRY_AGAIN_S if self._signs.ready.has_begun() else LOOK_EVERY_S
        if self._ping_every_s is None:
            return None
        return max(LOOK_EVERY_S, self._ping_at - self._world.monotonic())
