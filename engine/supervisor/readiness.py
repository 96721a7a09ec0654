"""Notifies a service manager of readiness, liveness and stopping, with the protocol of `sd_notify(3)`.

    supervisor ──SupervisorHeartbeat (shared memory)──▶ guard ──datagrams──▶ $NOTIFY_SOCKET

Only the guard sends: it is the process that the manager started, so `NotifyAccess=main` excludes all others, such as tasks. It
sends a watchdog ping only if the supervisor has completed an iteration since the last one: if either of them hangs the pings stop,
and the manager restarts the service. Without a manager nothing is sent, and the guard does not wake up for it.
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
PINGS_PER_TIMEOUT = 4
POLL_S = 0.05
"""How often the guard checks whether the supervisor has become ready."""

RETRY_S = 1.0
"""When to retry after the manager did not receive a notification."""

TICK_SLOT, READY_SLOT = 0, 1


class SupervisorHeartbeat:
    """The supervisor's state as its guard sees it; a shared page that is created before the fork."""

    def __init__(self, world: World) -> None:
        self._page = HeartbeatPage(2)
        self.tick = self._page.slot(TICK_SLOT, world)
        self.ready = self._page.slot(READY_SLOT, world)

    def last_tick(self) -> float:
        """Monotonic time of the supervisor's last tick in seconds; 0 before the first."""
        return self._page.last_beat(TICK_SLOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySocket:
    """The manager's socket address (empty if there is no manager), and its watchdog timeout in seconds, if any."""

    address: str
    watchdog_s: float | None

    def send(self, notification: bytes) -> bool:
        """Send without blocking; whether it was delivered."""
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(notification, address)
        except OSError:  # the manager is gone or reads too slowly; this must not affect the service
            return False
        return True


def take_notify_socket(environment: MutableMapping[str, str]) -> NotifySocket:
    """The socket of the service manager that started this process. It is removed from the environment, because gunicorn and tasks
    would use it too."""
    address, microseconds, _ = (environment.pop(name, "") for name in (SOCKET, WATCHDOG, WATCHED))
    watchdog_s = int(microseconds) / 1e6 if re.fullmatch("[0-9]{1,18}", microseconds) else 0
    return NotifySocket(address=address, watchdog_s=watchdog_s or None)


class ReadinessNotifier:
    """Sends notifications according to the supervisor's heartbeat; run by the guard."""

    def __init__(self, notify_socket: NotifySocket, heartbeat: SupervisorHeartbeat, world: World) -> None:
        self._socket = notify_socket
        self._heartbeat = heartbeat
        self._world = world
        self._ready_sent = self._stopping_sent = not notify_socket.address
        watchdog_s = notify_socket.watchdog_s if notify_socket.address else None
        self._ping_every_s = watchdog_s / PINGS_PER_TIMEOUT if watchdog_s else None
        self._ping_at = world.monotonic()
        self._acknowledged_tick = 0.0

    def update(self) -> float | None:
        """Send what has become due; returns the longest time until the next call in seconds, None if none is needed."""
        if not self._ready_sent and self._heartbeat.ready.has_begun():
            self._ready_sent = self._socket.send(READY)
        if self._ping_every_s is not None:
            self._ping(self._ping_every_s)
        return self._next_update_s()

    def stop(self) -> None:
        """Send that the system is stopping."""
        if not self._stopping_sent:
            self._ready_sent = True
            self._stopping_sent = self._socket.send(STOPPING)

    def _ping(self, every_s: float) -> None:
        tick, now = self._heartbeat.last_tick(), self._world.monotonic()
        if tick > self._acknowledged_tick and now >= self._ping_at and self._socket.send(ALIVE):
            self._acknowledged_tick = tick
            self._ping_at = now + every_s

    def _next_update_s(self) -> float | None:
        if not self._ready_sent:
            return RETRY_S if self._heartbeat.ready.has_begun() else POLL_S
        if self._ping_every_s is None:
            return None
        return max(POLL_S, self._ping_at - self._world.monotonic())
