"""Proves that another host is dead as far as its jobs go: its heartbeat has not changed for LEASE_S plus a margin.

    a host:       beat n ──── beat n+1 ─── (cut off) ─── 0.85 LEASE_S: ends its jobs
    an observer:              reads n+1 ──────────────────────────────── LEASE_S + margin: still n+1 ─▶ proven

Each observer measures with its own monotonic clock, from the end of the first read that saw the number to the start of a read
that still sees it. No wall clocks are compared, so a clock step cannot cause a recovery. A proof holds only at the moment of the
read: the caller reads the jobs first and asks for the proof again before it writes (`watcher.recovery`), because a host that
comes back sends a heartbeat before it takes any job. An observer that has not read for long, because it was stopped or the
database was unreachable, starts its measurement over. Where the store has several servers, a deposed one could answer with an old
number; so before anything is proven, a read that only the real primary can answer confirms it.
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
"""By either host's clock. Needed because an observer that restarts often never sees an hour of silence."""
KNOWN_FOR_S = 2.0


def margin_s(lease_s: float) -> float:
    """Allowance for the last steps of a failing host."""
    return 1.0 + lease_s / 10


class OtherHosts:
    """The other hosts' heartbeats: their times and tasks, so that a job can be submitted on a host that cannot run it.

    Up to a few seconds old; while the database is unreachable, as of the last read.
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
        """The time of this host's last heartbeat, by its own clock; None if the host is unknown."""
        self._read()
        return next((sign.seen_at for sign in self._signs if sign.boot == boot), None)

    def signs(self) -> Sequence[HostHeartbeat]:
        """The last heartbeat of every host, including our own; empty if the database is not shared."""
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
    """One observer's watch over the other hosts. `is_ours`: owners of this data folder, whose deaths are proven otherwise."""

    def __init__(self, *, hosts: Hosts, is_ours: Callable[[str], bool], world: World, lease_s: float, look_s: float) -> None:
        """`look_s`: the longest interval between two reads in normal operation."""
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
        """The owners whose hosts have been silent for long enough, based on a read made now. Raises `StoreUnavailable`."""
        foreign = {owner: parse_owner(owner).boot for owner in owners if not self._is_ours(owner)}
        silent = self._silent(foreign, confirmed=False)
        return list(self._silent(silent, confirmed=True)) if silent else []

    def _silent(self, foreign: Mapping[str, str], *, confirmed: bool) -> dict[str, str]:
        """Those of the owners (with their boots) that are silent by a read made now."""
        silent_s = self._look(set(foreign.values()), confirmed=confirmed)
        return {owner: boot for owner, boot in foreign.items() if silent_s[boot] >= self._bound_s(boot)}

    def _bound_s(self, boot: str) -> float:
        """Uses the host's own LEASE_S if it is longer than ours, because the host ends its jobs by its own."""
        lease_s = max(self._lease_s, self._leases_s.get(boot, 0.0))
        return lease_s + margin_s(lease_s)

    def forget_hosts(self, holding: Iterable[str]) -> None:
        """Remove hosts that hold nothing and have been silent for an hour, or for one lease if their heartbeat is old."""
        holders = {parse_owner(owner).boot for owner in holding}
        silent_s = self._look(holders)
        for boot, (renewal, _) in list(self._seen.items()):
            if boot in holders:
                continue
            if renewal == UNKNOWN:
                del self._seen[boot]
            elif silent_s[boot] > (self._bound_s(boot) if boot in self._old else FORGET_AFTER_S):
                self._hosts.forget_host(boot, renewal=renewal)

    def _look(self, boots: set[str], *, confirmed: bool = False) -> dict[str, float]:
        """How long each host has been silent, as observed here; hosts that never sent a heartbeat are measured alike."""
        began_at = self._world.monotonic()
        if began_at - self._looked_at > self._pause_s:
            self._seen.clear()
        signs = self._hosts.hosts(confirmed=confirmed)
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
