"""Finds the queue for watchers and workers. It may start at any time and on any port, so each attempt looks it up again."""

from __future__ import annotations

from collections.abc import Callable

from jobyard.engine.wire.hub import Network, Peer


class QueueConnector:
    """Finds the queue. `names`: the names under which one may listen; never empty."""

    def __init__(self, *, network: Network, names: Callable[[], list[str]]) -> None:
        self._network = network
        self._names = names
        self.name = names()[0]

    def connect(self) -> Peer | None:
        """Connect to the first queue that accepts, and set `name` to it; None if none does."""
        for name in self._names():
            self.name = name
            peer = self._network.connect(name)
            if peer is not None:
                return peer
        return None
