"""Which watcher may begin how much at which worker: each place that a worker offers is granted to one watcher at a time.

    worker ── Want ──▶ free places ── grant ──▶ reserved by a watcher ── push ──▶ the worker has it
                           ▲                         │
                           └── given back · gone ────┘

A worker counts what it accepts from the start of its connection, and so does this; whatever crosses on the way, a place is never
granted twice. A watcher that knows of more due jobs gets everything that is free; one that only prepares for the next job gets a
share. If nothing is free for the former, watchers that hold places which they do not use are woken to claim for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from jobyard.engine.wire.capacity import SLOT_UNITS, Offer
from jobyard.engine.wire.hub import Peer


@dataclass(slots=True, eq=False)
class WorkerRoom:
    """What a worker accepts and has been sent, in units since its connection was made; `granted` is reserved by watchers."""

    owner: str
    limit: int = 0
    short_limit: int = 0
    sent: int = 0
    granted: int = 0
    is_closed: bool = True

    def free(self) -> tuple[int, int]:
        """The units in free slots and those ahead that are neither used nor reserved."""
        if self.is_closed:
            return 0, 0
        taken = self.sent + self.granted
        free = max(0, self.limit - taken)
        return free, max(0, self.short_limit - taken - free)


@dataclass(slots=True, eq=False)
class WatcherRoom:
    """What a watcher has reserved, in units by worker, and what it waits for."""

    owner: str
    reserved: dict[WorkerRoom, int] = field(default_factory=dict)
    is_more_due: bool = False
    waits: bool = False
    was_woken: bool = False
    pushes: int = 0
    costs: dict[str, int] = field(default_factory=dict)
    """The changed costs that it has not been sent yet."""

    @property
    def holds(self) -> bool:
        """Whether it has places that it has not used."""
        return any(self.reserved.values())


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

    def close(self, peer: Peer) -> list[Peer]:
        """The worker accepts nothing more; returns the watchers that had places there."""
        room = self.workers.get(peer)
        if room is None:
            return []
        room.is_closed, room.granted = True, 0
        return [watcher for watcher, reserving in self.watchers.items() if reserving.reserved.pop(room, 0)]

    def remove_worker(self, peer: Peer) -> list[Peer]:
        """The worker's connection has ended; returns the watchers that had places there."""
        concerned = self.close(peer)
        self.workers.pop(peer, None)
        return concerned

    def worker(self, owner: str) -> tuple[Peer, WorkerRoom] | None:
        """The connected worker with this owner name."""
        return next(((peer, room) for peer, room in self.workers.items() if room.owner == owner), None)

    # ---- watchers

    def reserve(self, peer: Peer, *, owner: str, is_more_due: bool) -> None:
        """The watcher wants places; it waits until there are some."""
        watcher = self.watchers.setdefault(peer, WatcherRoom(owner, costs=dict(self._costs)))
        watcher.is_more_due, watcher.waits, watcher.was_woken = is_more_due, True, False

    def give_back(self, peer: Peer) -> None:
        """What the watcher had reserved is free again."""
        watcher = self.watchers.get(peer)
        if watcher is not None:
            for room, units in watcher.reserved.items():
                room.granted -= units
            watcher.reserved.clear()
            watcher.waits = False

    def remove_watcher(self, peer: Peer) -> str | None:
        """The watcher's connection has ended; returns its owner name."""
        self.give_back(peer)
        watcher = self.watchers.pop(peer, None)
        return None if watcher is None else watcher.owner

    def use(self, peer: Peer, room: WorkerRoom, units: int) -> None:
        """The watcher has begun this much at the worker."""
        watcher = self.watchers.get(peer)
        reserved = min(units, watcher.reserved.get(room, 0)) if watcher is not None else 0
        if watcher is not None and reserved:
            watcher.reserved[room] -= reserved
            watcher.was_woken = False
        room.granted -= reserved
        room.sent += units

    # ---- matching

    def match(self) -> Iterator[tuple[Peer, WatcherRoom, list[Offer]]]:
        """Grant what is free to the watchers that wait for it; first to those that know of due jobs, the longest waiting first."""
        waiting = [(peer, watcher) for peer, watcher in self.watchers.items() if watcher.waits]
        for peer, watcher in sorted(waiting, key=lambda pair: not pair[1].is_more_due):
            offers = self._take(watcher, share=1 if watcher.is_more_due else len(self.watchers))
            if offers:
                watcher.waits = False
                self.watchers[peer] = self.watchers.pop(peer)
                yield peer, watcher, offers

    def holders_to_wake(self) -> list[Peer]:
        """The watchers to wake, once each, because another one knows of due jobs and nothing is free for it."""
        if not any(watcher.waits and watcher.is_more_due for watcher in self.watchers.values()):
            return []
        idle = [peer for peer, watcher in self.watchers.items() if watcher.holds and not watcher.was_woken]
        idle = [peer for peer in idle if not (self.watchers[peer].waits and self.watchers[peer].is_more_due)]
        for peer in idle:
            self.watchers[peer].was_woken = True
        return idle

    def _take(self, watcher: WatcherRoom, *, share: int) -> list[Offer]:
        """A share of each worker's places, in whole slots where it is not everything."""
        offers = []
        for room in self.workers.values():
            free, ahead = room.free()
            if share > 1:
                free, ahead = -(-free // SLOT_UNITS // share) * SLOT_UNITS if free >= SLOT_UNITS else 0, 0
            if free or ahead:
                room.granted += free + ahead
                watcher.reserved[room] = watcher.reserved.get(room, 0) + free + ahead
                offers.append(Offer(owner=room.owner, free=free, ahead=ahead))
        return offers
