"""Proof that another host is dead, as far as its jobs go: its sign of life has not changed for LEASE_S and a margin.

    a host:       sign n ──── sign n+1 ─── (cut off) ─── 0.85 LEASE_S: ends what it runs
    an observer:              reads n+1 ──────────────────────────────── LEASE_S + margin: still n+1 ─▶ proven

Each observer measures with its own monotonic clock, from the end of the first look that saw the number to the beginning of one
that still sees it; no wall clocks are compared, so nobody is rescued by a clock step. The proof holds for the moment of the
look: whoever acts on it reads the jobs first and asks again before the write (`watcher.recovery`), because a host that comes back
gives a sign before it takes anything. An observer that has not looked for long, because it was stopped or the database was
away, starts its watch anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs.owners import parse_owner
from jobyard.engine.store.port import HostHeartbeat, Hosts
from jobyard.engine.tasks.catalog import read_catalog
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.world import World

UNKNOWN = -1
FORGET_AFTER_S = 3600.0
OLD = timedelta(days=1)
"""By whatever clock: an observer that is often started anew never sees an hour of silence."""
KNOWN_FOR_S = 2.0


def margin_s(lease_s: float) -> float:
    """For what a dying host's last steps may take."""
    return 1.0 + lease_s / 10


class OtherHosts:
    """What the other hosts' signs say: when they gave them, and their tasks, so that a job can be submitted where it cannot run.

    As of some seconds ago; while the database is away, as of when it was there.
    """

    def __init__(self, hosts: Hosts | None, world: World) -> None:
        self._hosts = hosts
        self._world = world
        self._tasks: dict[str, TaskOptions] = {}
        self._signs: list[HostHeartbeat] = []
        self._read_at = float("-inf")

    def tasks(self) -> Mapping[str, TaskOptions]:
        """Every task that some host serves."""
        self._read()
        return self._tasks

    def seen_at(self, boot: str) -> datetime | None:
        """When this host gave its last sign, by its own clock; None: nobody knows it."""
        self._read()
        return next((sign.seen_at for sign in self._signs if sign.boot == boot), None)

    def signs(self) -> Sequence[HostHeartbeat]:
        """The last of every host, our own among them where several can be."""
        self._read()
        return self._signs

    def _read(self) -> None:
        now = self._world.monotonic()
        if self._hosts is None or now - self._read_at < KNOWN_FOR_S:
            return
        self._read_at = now
        with contextlib.suppress(StoreUnavailable):
            self._signs = self._hosts.hosts()
            self._tasks = {name: options for sign in self._signs for name, options in read_catalog(sign.tasks).items()}


class FailureDetector:
    """One observer's watch over the other hosts. `is_ours`: owners of this data folder, whose deaths are known otherwise."""

    def __init__(self, *, hosts: Hosts, is_ours: Callable[[str], bool], world: World, lease_s: float, look_s: float) -> None:
        """`look_s`: how long two looks are apart at most, while all is well."""
        self._hosts = hosts
        self._is_ours = is_ours
        self._world = world
        self._lease_s = lease_s
        self._leases_s: dict[str, float] = {}
        self._old: set[str] = set()
        self._pause_s = max(look_s * 3, lease_s / 2)
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked_at = world.monotonic()

    def proven(self, owners: Iterable[str]) -> list[str]:
        """Those of the owners whose hosts are silent for long enough, by a look made now. Raises `StoreUnavailable`."""
        foreign = {owner: parse_owner(owner).boot for owner in owners if not self._is_ours(owner)}
        silent_s = self._look(set(foreign.values()))
        return [owner for owner, boot in foreign.items() if silent_s[boot] >= self._bound_s(boot)]

    def _bound_s(self, boot: str) -> float:
        """By its own setting where that is longer than ours: it lets go by its own."""
        lease_s = max(self._lease_s, self._leases_s.get(boot, 0.0))
        return lease_s + margin_s(lease_s)

    def forget_hosts(self, holding: Iterable[str]) -> None:
        """Remove the signs of hosts that hold nothing and have been silent for an hour, or for a lease if the sign is old."""
        holders = {parse_owner(owner).boot for owner in holding}
        silent_s = self._look(holders)
        for boot, (renewal, _) in list(self._seen.items()):
            if boot in holders:
                continue
            if renewal == UNKNOWN:
                del self._seen[boot]
            elif silent_s[boot] > (self._bound_s(boot) if boot in self._old else FORGET_AFTER_S):
                self._hosts.forget_host(boot, renewal=renewal)

    def _look(self, boots: set[str]) -> dict[str, float]:
        """How long each host has been silent, as far as we have seen; one that never gave a sign is watched like the others."""
        began_at = self._world.monotonic()
        if began_at - self._looked_at > self._pause_s:
            self._seen.clear()
        signs = self._hosts.hosts()
        watched = boots | {boot for boot, (renewal, _) in self._seen.items() if renewal == UNKNOWN}
        renewals = dict.fromkeys(watched, UNKNOWN) | {sign.boot: sign.renewal for sign in signs}
        self._leases_s = {sign.boot: sign.lease_s for sign in signs}
        self._old = {sign.boot for sign in signs if self._world.now() - sign.seen_at > OLD}
        self._looked_at = ended_at = self._world.monotonic()
        self._seen = {
            boot: self._seen[boot] if boot in self._seen and self._seen[boot][0] == renewal else (renewal, ended_at)
            for boot, renewal in renewals.items()
        }
        return {boot: began_at - since for boot, (_, since) in self._seen.items()}
