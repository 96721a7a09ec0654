"""The connection to the one scheduler that watches for all waiting clients of an HTTP worker."""

from __future__ import annotations

from jobyard.api.front.round_robin import RoundRobin
from jobyard.engine.wire.hub import Mailbox, Peer

RECONNECT_S = 0.25


class SchedulerLink:
    """It leads to another scheduler when this one is gone or unhealthy."""

    def __init__(self, *, network: Mailbox, round_robin: RoundRobin) -> None:
        self._network = network
        self._round_robin = round_robin
        self._name = ""
        self._retry_at = 0.0
        self.peer: Peer | None = None

    def note_closed(self) -> None:
        """The connection is lost."""
        self.peer = None

    def keep(self, now: float, *, is_needed: bool) -> bool:
        """Leave an unhealthy scheduler, and connect to one if it is needed; whether the connection is a new one."""
        if self.peer is not None and self._round_robin.should_avoid(self._name):
            self.peer.close()
            self.peer = None
        if self.peer is not None or not is_needed or now < self._retry_at:
            return False
        self._retry_at = now + RECONNECT_S
        self._name = next(iter(self._round_robin.next()), "")
        self.peer = self._network.connect(self._name) if self._name else None
        return self.peer is not None

    def next_try_at(self, *, is_needed: bool) -> float:
        """When `keep` has something to do, in monotonic seconds."""
        return self._retry_at if is_needed and self.peer is None else float("inf")
