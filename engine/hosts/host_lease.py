"""A process's right to keep the jobs it holds when hosts share a database: its host's lease, renewed by heartbeats.

    renewed ── every tenth of LEASE_S ──▶ renewed ── … ── cannot ──▶ lost, 0.85 LEASE_S after the last heartbeat was sent

Other hosts recover a host's jobs once they have seen no new heartbeat for LEASE_S plus a margin (`hosts.failure_detector`). A
process that could not renew for nearly that long must therefore end its jobs before then, by its own clock. It renews again only
after that, and starts nothing before the first renewal succeeds. Every process that holds jobs does this independently. A database
that only this host uses needs no lease: there is nothing to renew or to lose.
"""

from __future__ import annotations

from collections.abc import Callable

from jobyard.engine.store.port import HostHeartbeat, Hosts
from jobyard.engine.world import World

HEARTBEATS_A_LEASE = 10
LET_GO = 0.85
AGAIN_S = 0.5


def heartbeat_every_s(lease_s: float) -> float:
    """The interval between the heartbeats of a live host."""
    return lease_s / HEARTBEATS_A_LEASE


class HostLease:
    """The lease of this process. `sign` returns the heartbeat to send."""

    def __init__(self, *, hosts: Hosts | None, sign: Callable[[], HostHeartbeat], world: World, lease_s: float) -> None:
        self._hosts = hosts
        self._sign = sign
        self._world = world
        self._lease_s = lease_s
        self._sent_at = float("-inf")
        self._next_at = world.monotonic()

    @property
    def is_shared(self) -> bool:
        """Whether other hosts may share the database."""
        return self._hosts is not None

    @property
    def is_lost(self) -> bool:
        """Whether other hosts may soon recover our jobs: this process must end them, and start none until `renew` succeeds."""
        return self._world.monotonic() >= self.ends_at()

    def ends_at(self) -> float:
        """When the lease is lost without another heartbeat, in monotonic seconds."""
        return float("inf") if self._hosts is None else self._sent_at + LET_GO * self._lease_s

    def next_at(self) -> float:
        """When the next heartbeat is due, in monotonic seconds."""
        return float("inf") if self._hosts is None else self._next_at

    def renew(self) -> None:
        """Send a heartbeat if one is due. Raises `StoreUnavailable`."""
        now = self._world.monotonic()
        if self._hosts is None or now < self._next_at:
            return
        self._next_at = now + AGAIN_S
        self._hosts.renew(self._sign())
        self._sent_at = now
        every_s = heartbeat_every_s(self._lease_s)
        self._next_at = now + every_s / 2 + self._world.jitter(every_s / 2)
