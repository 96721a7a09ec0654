"""Replies to submissions that came together: they go back together, one frame a connection and turn.

Each has a place of its own that is its sender as far as `scheduler.group_commit` knows. Only `Begun` cannot wait for the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jobyard.engine.wire.hub import Peer
from jobyard.engine.wire.messages import Accepted, Begun, Expired, Message, Refused, Replied, Submit, Submits


class Replies:
    """Those of one scheduler's turn."""

    def __init__(self) -> None:
        self._gathered: dict[Peer, list[tuple[int, Accepted | Begun | Expired | Refused]]] = {}

    def places(self, peer: Peer, together: Submits) -> Iterator[tuple[Peer, Submit]]:
        """Each with the place where its reply goes."""
        for number, submit in enumerate(together.submits, together.first_number):
            yield _Place(self, peer, number), submit

    def gather(self, peer: Peer, number: int, reply: Message) -> None:
        """It goes with the next `send`, `Begun` at once."""
        assert isinstance(reply, Accepted | Begun | Expired | Refused)
        if isinstance(reply, Begun):
            peer.send(Replied(replies=[(number, reply)]))
        else:
            self._gathered.setdefault(peer, []).append((number, reply))

    def send(self) -> None:
        """All that was gathered."""
        gathered, self._gathered = self._gathered, {}
        for peer, replies in gathered.items():
            peer.send(Replied(replies=replies))


@dataclass(frozen=True, slots=True)
class _Place:
    """See `Peer`."""

    replies: Replies
    peer: Peer
    number: int

    def send(self, message: Message) -> bool:
        self.replies.gather(self.peer, self.number, message)
        return True

    def close(self) -> None:
        self.peer.close()
