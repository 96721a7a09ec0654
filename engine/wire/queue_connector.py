"""How watchers and workers find the queue: it may be started at any time and on any port, so it is looked up at each try."""

from __future__ import annotations

from collections.abc import Callable

from jobyard.engine.wire.hub import Network, Peer


class QueueConnector:
    """Where the queue is found. `names`: those under which there may be one; never none."""

    def __init__(self, *, network: Network, names: Callable[[], list[str]]) -> None:
        self._network = network
        self._names = names
        self.name = names()[0]

    def connect(self) -> Peer | None:
        """A stream to the first that answers, which gives us its `name`; None when nobody does."""
        for name in self._names():
            self.name = name
            peer = self._network.connect(name)
            if peer is not None:
                return peer
        return None
