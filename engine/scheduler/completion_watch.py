"""Notifies clients that wait for jobs to end, with one query of the store for all of them together.

    front ─ WatchCompletion ─▶ scheduler ─ Ended ─▶ front

Nothing happens while no client waits. Otherwise the store is asked every `LOOK_S` whether anything was committed at all, which
takes a few microseconds, and is queried only then; a store that cannot tell is queried every `SLOW_LOOK_S`. After each query, at
least `SHARE` times its duration passes before the next, so that waiting clients never keep a scheduler from its work.
"""

from __future__ import annotations

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.store.port import Store
from jobyard.engine.wire.hub import Peer
from jobyard.engine.wire.messages import Ended, WatchCompletion
from jobyard.engine.world import World

LOOK_S = 0.02
SLOW_LOOK_S = 0.1
AWAY_S = 1.0
SHARE = 20
NOTHING = object()


class CompletionWatch:
    """The waiting clients of one scheduler."""

    def __init__(self, store: Store, world: World) -> None:
        self._store = store
        self._world = world
        self._wanted: dict[str, set[Peer]] = {}
        self._fresh: set[str] = set()
        self._seen: object = NOTHING
        self._look_at = 0.0

    def take(self, peer: Peer, message: WatchCompletion) -> None:
        """Start watching these jobs for the peer, and stop watching those in `no_longer`."""
        for job_id in message.job_ids:
            self._wanted.setdefault(job_id, set()).add(peer)
            self._fresh.add(job_id)
        for job_id in message.no_longer:
            self._release(job_id, peer)

    def drop(self, peer: Peer) -> None:
        """Forget a peer that is gone."""
        for job_id in [job_id for job_id, peers in self._wanted.items() if peer in peers]:
            self._release(job_id, peer)

    def look(self) -> None:
        """Check newly watched jobs and, if it is time, all others; notify the peers of those that have ended."""
        try:
            if self._fresh:
                fresh, self._fresh = self._fresh, set()
                self._tell(self._store.ended(list(fresh)))
            if self._wanted and self._world.monotonic() >= self._look_at:
                self._look_at_all()
        except StoreUnavailable:
            self._seen = NOTHING
            self._look_at = self._world.monotonic() + AWAY_S

    def _look_at_all(self) -> None:
        began_at = self._world.monotonic()
        version = self._store.version()
        if version is None or version != self._seen:
            self._tell(self._store.ended(list(self._wanted)))
        self._seen = version
        ended_at = self._world.monotonic()
        self._look_at = ended_at + max(LOOK_S if version is not None else SLOW_LOOK_S, SHARE * (ended_at - began_at))

    def next_look_s(self) -> float:
        """The time until the next check."""
        return max(0.0, self._look_at - self._world.monotonic()) if self._wanted else float("inf")

    def _tell(self, job_ids: list[str]) -> None:
        told: dict[Peer, list[str]] = {}
        for job_id in job_ids:
            for peer in self._wanted.pop(job_id, ()):
                told.setdefault(peer, []).append(job_id)
        for peer, ended in told.items():
            peer.send(Ended(job_ids=ended))

    def _release(self, job_id: str, peer: Peer) -> None:
        peers = self._wanted.get(job_id)
        if peers is not None:
            peers.discard(peer)
            if not peers:
                del self._wanted[job_id]
