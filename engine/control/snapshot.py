"""Snapshots of roster and counters; the last known values are kept while control is down or a new one is not complete yet.

`stale_since` marks values that are no longer updated.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import msgspec

from jobyard.engine.control.protocol import OVERVIEW
from jobyard.engine.control.publisher import LATEST, MINUTES
from jobyard.engine.errors import Unavailable
from jobyard.engine.metrics import ComponentCounters, Minute
from jobyard.engine.world import World

GONE = ("", "Z")


class RosterRow(msgspec.Struct, frozen=True, kw_only=True):
    """A process as its supervisor (a pid) describes it; times are monotonic. `silent_since`: last heartbeat, if overdue."""

    supervisor: int
    name: str
    role: str
    pid: int | None
    generation: int
    state: str
    since: float
    started_at: float
    restarts: int
    last_words: str | None = None
    silent_since: float | None = None

    def uptime_s(self, now: float) -> float:
        """How long it has been running."""
        return 0.0 if self.pid is None else round(now - self.started_at, 3)


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the roster. `last_words`: how its predecessor ended; `silent_s`: time since its last heartbeat, if overdue."""

    name: str
    role: str
    pid: int | None
    generation: int
    state: str
    since: datetime
    uptime_s: float
    restarts: int
    last_words: str | None
    silent_s: float | None


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """The last publication of process `pid`, at this monotonic time; see `publisher` for the parts."""

    pid: int
    at: float
    parts: dict[str, str]


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `overview.read`."""

    roster: list[RosterRow]
    counters: dict[str, Published]


def read_overview(answer: object) -> Read:
    """The answer of `overview.read`."""
    return msgspec.convert(answer, Read)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """The counters of a component; `stale_since`: the monotonic time since which they are not updated."""

    counters: ComponentCounters
    stale_since: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """`away_since`: control is down, and this is its state at that time."""

    rows: Sequence[RosterRow]
    components: Mapping[str, Component]
    away_since: float | None

    def is_up(self, name: str) -> bool:
        """Whether this process runs and its heartbeat is not overdue."""
        return any(row.name == name and row.state == "running" and row.silent_since is None for row in self.rows)


class Calls(Protocol):
    """The part of `Control` that snapshots use."""

    def call(self, name: str, method: str, *arguments: object) -> Any:
        """Raises `Unavailable` when control is away."""


class Snapshots:
    """Takes snapshots, one call each; shared by the threads of a front."""

    def __init__(self, control: Calls, world: World) -> None:
        self._control = control
        self._world = world
        self._lock = threading.Lock()
        self._rows: dict[int, list[RosterRow]] = {}
        self._published: dict[str, Published] = {}
        self._seen_at: dict[str, float] = {}
        self._taken_at: float | None = None

    def take(self, *parts: str) -> Snapshot:
        """With these parts of the counters, by default the latest; raises `Unavailable` if control has never been reached."""
        asked = parts or (LATEST,)
        try:
            read = read_overview(self._control.call(OVERVIEW, "read", asked))
        except Unavailable:
            if self._taken_at is None:
                raise
            return self._show(away_since=self._taken_at)
        with self._lock:
            self._learn(read)
            return self._show(away_since=None)

    def _learn(self, read: Read) -> None:
        self._taken_at = self._world.monotonic()
        current: dict[int, list[RosterRow]] = {}
        for row in read.roster:
            current.setdefault(row.supervisor, []).append(row)
        self._rows = {pid: rows for pid, rows in (self._rows | current).items() if self._world.state_of(pid) not in GONE}
        for name, published in read.counters.items():
            before = self._published.get(name)
            known = before.parts if before is not None and before.pid == published.pid else {}
            self._published[name] = msgspec.structs.replace(published, parts=known | published.parts)
            self._seen_at[name] = self._taken_at

    def _show(self, *, away_since: float | None) -> Snapshot:
        rows = [row for of_one in list(self._rows.values()) for row in of_one]
        components = {}
        for row in rows:
            published = self._published.get(row.name)
            if published is not None and LATEST in published.parts:
                stale_since = away_since or self._stale_since(row, published)
                components[row.name] = Component(counters=_decode(published.parts), stale_since=stale_since)
        return Snapshot(rows=rows, components=components, away_since=away_since)

    def _stale_since(self, row: RosterRow, published: Published) -> float | None:
        seen_at = self._seen_at[row.name]
        if seen_at != self._taken_at:  # it has not published to the new control process yet
            return seen_at
        return row.silent_since if row.pid == published.pid else row.since


def _decode(parts: Mapping[str, str]) -> ComponentCounters:
    counters = msgspec.json.decode(parts[LATEST], type=ComponentCounters)
    counters.minutes = msgspec.json.decode(parts[MINUTES], type=list[Minute]) if MINUTES in parts else []
    return counters


def stats_of(counters: ComponentCounters, now: float) -> dict[str, Any]:
    """The fields of `/stats`: start times become durations."""
    stats = counters.stats | {"uptime_s": round(now - counters.started_at, 3)}
    if "executors" in stats:
        stats["executors"] = [_executor(shown, now) for shown in stats["executors"]]
    return stats


def _executor(shown: Mapping[str, Any], now: float) -> dict[str, Any]:
    since = shown["running_since"]
    running_s = 0 if since is None else round(now - since, 3)
    return {name: value for name, value in shown.items() if name != "running_since"} | {"running_s": running_s}


def processes_in(read: object, world: World) -> list[Process]:
    """The roster of one call."""
    now, at = world.monotonic(), world.now()
    return [
        Process(
            name=row.name, role=row.role, pid=row.pid, generation=row.generation, state=row.state, restarts=row.restarts,
            since=at - timedelta(seconds=now - row.since), uptime_s=row.uptime_s(now), last_words=row.last_words,
            silent_s=None if row.silent_since is None else round(now - row.silent_since, 3),
        )
        for row in read_overview(read).roster
    ]  # fmt: skip


def counters_in(read: object, world: World) -> dict[str, dict[str, Any]]:
    """The counters of one call, as `/stats` on each port shows them."""
    counters = read_overview(read).counters
    return {
        name: stats_of(_decode(one.parts), world.monotonic()) for name, one in sorted(counters.items()) if LATEST in one.parts
    }  # fmt: skip
