"""Which watcher may begin how much at which worker: each place that a worker offers is granted to one watcher at a time.

    worker ── Want ──▶ free places ── grant ──▶ reserved by a watcher ── push ──▶ the worker has it
                           ▲                         │
                           └── given back · gone ────┘

A worker counts what it accepts from the start of its connection, and so does this; whatever crosses on the way, a place is never
granted twice. A watcher that knows of more due jobs gets everything that is free; one that only prepares for the next job gets a
share. If nothing is free for the former, watchers that hold places which they do not use are woken to claim for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from jobyard.engine.wire.capacity import SLOT_UNITS, Offer
from jobyard.engine.wire.hub import Peer


@dataclass(slots=True)
class Units:
    """Places in units: in free slots, and ahead; see `wire.capacity`."""

    free: int = 0
    ahead: int = 0

    def add(self, other: Units) -> None:
        """These, too."""
        self.free += other.free
        self.ahead += other.ahead

    def subtract(self, other: Units) -> None:
        """Without these."""
        self.free -= other.free
        self.ahead -= other.ahead

    def part(self, units: int) -> Units:
        """Of these, what so many units take: those in free slots first."""
        free = min(units, self.free)
        return Units(free, min(units - free, self.ahead))


@dataclass(slots=True, eq=False)
class WorkerRoom:
    """What a worker accepts and has been sent, in units since its connection was made; `granted` is reserved by watchers."""

    owner: str
    limit: int = 0
    short_limit: int = 0
    sent: int = 0
    granted: Units = field(default_factory=Units)
    is_closed: bool = True

    def unreserved(self) -> Units:
        """What is neither used nor reserved."""
        if self.is_closed:
            return Units()
        ahead = min(self.short_limit - self.sent, self.short_limit - self.limit) - self.granted.ahead
        return Units(max(0, self.limit - self.sent - self.granted.free), max(0, ahead))


@dataclass(slots=True, eq=False)
class WatcherRoom:
    """What a watcher has reserved, in units by worker, and what it waits for."""

    owner: str
    reserved: dict[WorkerRoom, Units] = field(default_factory=dict)
    least: int = 0
    """The units of a due job that it has no room for; 0: it only prepares."""
    waits: bool = False
    was_woken: bool = False
    returned: int = 0
    """How often it returned what it had reserved."""
    pushes: int = 0
    unconfirmed_bytes: int = 0
    costs: dict[str, int] = field(default_factory=dict)
    """The changed costs that it has not been sent yet."""

    def has_unused(self, least: int) -> bool:
        """Whether it has places that it has not used, of the kind that a job of so many units takes."""
        return any(units.free or (least < SLOT_UNITS and units.ahead) for units in self.reserved.values())


class Grants:
    """All workers' places and all watchers' reservations."""

    def __init__(self) -> None:
        self.workers: dict[Peer, WorkerRoom] = {}
        self.watchers: dict[Peer, WatcherRoom] = {}
        self._costs: dict[str, int] = {}

    # ---- workers

    def offer(self, peer: Peer, *, owner: str, limit: int, short_limit: int, costs: Mapping[str, int]) -> None:
        """The worker accepts so much in all."""
        room = self.workers.setdefault(peer, WorkerRoom(owner))
        room.limit, room.short_limit, room.is_closed = limit, short_limit, False
        self._costs.update(costs)
        for watcher in self.watchers.values():
            watcher.costs.update(costs)

    def limit(self, peer: Peer, limit: int, short_limit: int) -> None:
        """The worker's limits have changed."""
        room = self.workers.get(peer)
        if room is not None:
            room.limit, room.short_limit = limit, short_limit

    def close(self, peer: Peer) -> list[Peer]:
        """The worker accepts nothing more; returns the watchers that had places there."""
        room = self.workers.get(peer)
        if room is None:
            return []
        room.is_closed, room.granted = True, Units()
        return [watcher for watcher, reserving in self.watchers.items() if reserving.reserved.pop(room, None)]

    def remove_worker(self, peer: Peer) -> list[Peer]:
        """The worker's connection has ended; returns the watchers that had places there."""
        concerned = self.close(peer)
        self.workers.pop(peer, None)
        return concerned

    def worker(self, owner: str) -> tuple[Peer, WorkerRoom] | None:
        """The connected worker with this owner name."""
        return next(((peer, room) for peer, room in self.workers.items() if room.owner == owner), None)

    # ---- watchers

    def reserve(self, peer: Peer, *, owner: str, least: int) -> None:
        """The watcher wants places, for a due job of `least` units or to have them at hand; it waits until there are some."""
        watcher = self.watchers.setdefault(peer, WatcherRoom(owner, costs=dict(self._costs)))
        watcher.least, watcher.waits = least, True
        for other in self.watchers.values() if least else []:
            other.was_woken = False

    def leave(self, peer: Peer, *, owner: str) -> WatcherRoom:
        """The watcher wants nothing more, and what it had reserved is free again; it may still push."""
        watcher = self.watchers.setdefault(peer, WatcherRoom(owner, costs=dict(self._costs)))
        self.give_back(peer)
        return watcher

    def give_back(self, peer: Peer) -> None:
        """What the watcher had reserved is free again."""
        watcher = self.watchers.get(peer)
        if watcher is not None:
            for room, units in watcher.reserved.items():
                room.granted.subtract(units)
            watcher.reserved.clear()
            watcher.waits = False
            watcher.returned += 1

    def remove_watcher(self, peer: Peer) -> str | None:
        """The watcher's connection has ended; returns its owner name."""
        self.give_back(peer)
        watcher = self.watchers.pop(peer, None)
        return None if watcher is None else watcher.owner

    def use(self, peer: Peer, room: WorkerRoom, units: int) -> None:
        """The watcher has begun this much at the worker."""
        watcher = self.watchers.get(peer)
        room.sent += units
        if watcher is not None and room in watcher.reserved:
            used = watcher.reserved[room].part(units)
            watcher.reserved[room].subtract(used)
            room.granted.subtract(used)
            watcher.was_woken = False

    # ---- matching

    def match(self) -> Iterator[tuple[Peer, WatcherRoom, list[Offer]]]:
        """Grant what is free to the watchers that wait for it; first to those that know of due jobs, the longest waiting first."""
        waiting = [(peer, watcher) for peer, watcher in self.watchers.items() if watcher.waits]
        for peer, watcher in sorted(waiting, key=lambda pair: not pair[1].least):
            offers = self._take_all(watcher) if watcher.least else self._take_share(watcher)
            if offers:
                watcher.waits = False
                self.watchers[peer] = self.watchers.pop(peer)
                yield peer, watcher, offers

    def holders_to_wake(self) -> list[Peer]:
        """The watchers to wake, once each, because another one knows of due jobs and nothing is free for it."""
        least = min((watcher.least for watcher in self.watchers.values() if watcher.waits and watcher.least), default=0)
        if not least:
            return []
        idle = [peer for peer, watcher in self.watchers.items() if watcher.has_unused(least) and not watcher.was_woken]
        for peer in idle:
            self.watchers[peer].was_woken = True
        return idle

    def _take_all(self, watcher: WatcherRoom) -> list[Offer]:
        """Everything that is free, if a worker has room for the job that waits."""
        rooms = {room: room.unreserved() for room in self.workers.values()}
        least = watcher.least
        if not any(units.free >= least or (least < SLOT_UNITS and units.ahead >= least) for units in rooms.values()):
            return []
        return self._take(watcher, rooms)

    def _take_share(self, watcher: WatcherRoom) -> list[Offer]:
        """A share of each worker's free slots."""
        slots = {room: math.ceil(room.unreserved().free // SLOT_UNITS / len(self.watchers)) for room in self.workers.values()}
        return self._take(watcher, {room: Units(count * SLOT_UNITS) for room, count in slots.items()})

    def _take(self, watcher: WatcherRoom, rooms: Mapping[WorkerRoom, Units]) -> list[Offer]:
        offers = []
        for room, units in rooms.items():
            if units.free or units.ahead:
                room.granted.add(units)
                watcher.reserved.setdefault(room, Units()).add(units)
                offers.append(Offer(owner=room.owner, free=units.free, ahead=units.ahead))
        return offers
