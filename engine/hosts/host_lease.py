"""A process's right to go on with what it holds, where several hosts share a database: its host's sign of life, renewed in time.

    renewed ── every tenth of LEASE_S ──▶ renewed ── … ── cannot ──▶ lost, 0.85 LEASE_S after the last one was sent

Other hosts recover a host's jobs once they have seen no new heartbeat for LEASE_S and a margin (`hosts.failure_detector`). A
process that could not renew for nearly that long must therefore have ended what it runs before then, by its own clock; it renews
again only when that is done, and begins nothing before its first renewal. Each process that holds jobs does this for itself. A
database that only this host uses needs no lease: there is nothing to renew and nothing to lose.
"""

from __future__ import annotations

from collections.abc import Callable

from jobyard.engine.store.port import HostHeartbeat, Hosts
from jobyard.engine.world import World

HEARTBEATS_A_LEASE = 10
LET_GO = 0.85
AGAIN_S = 0.5


def heartbeat_every_s(lease_s: float) -> float:
    """How often a living host gives a sign, at the least."""
    return lease_s / HEARTBEATS_A_LEASE


class HostLease:
    """See the module. `sign`: what this host has to say of itself."""

    def __init__(self, *, hosts: Hosts | None, sign: Callable[[], HostHeartbeat], world: World, lease_s: float) -> None:
        self._hosts = hosts
        self._sign = sign
        self._world = world
        self._lease_s = lease_s
        self._sent_at = float("-inf")
        self._next_at = world.monotonic()

    @property
    def is_shared(self) -> bool:
        """Whether there may be other hosts."""
        return self._hosts is not None

    @property
    def is_lost(self) -> bool:
        """Whether others may soon take back what we hold: nothing of it may run, and nothing may begin until `renew`."""
        return self._world.monotonic() >= self.ends_at()

    def ends_at(self) -> float:
        """When it is lost without another sign, in monotonic seconds."""
        return float("inf") if self._hosts is None else self._sent_at + LET_GO * self._lease_s

    def next_at(self) -> float:
        """When the next sign is due, in monotonic seconds."""
        return float("inf") if self._hosts is None else self._next_at

    def renew(self) -> None:
        """Give a sign if it is time. Raises `StoreUnavailable`."""
        now = self._world.monotonic()
        if self._hosts is None or now < self._next_at:
            return
        self._next_at = now + AGAIN_S
        self._hosts.renew(self._sign())
        self._sent_at = now
        every_s = heartbeat_every_s(self._lease_s)
        self._next_at = now + every_s / 2 + self._world.jitter(every_s / 2)
