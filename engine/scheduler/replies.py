"""Collects the replies to submissions that arrived together and sends them together, one frame per connection and iteration.

Each submission gets a placeholder that acts as its sender for `scheduler.group_commit`. Only `Begun` is sent immediately.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jobyard.engine.wire.hub import Peer
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Accepted, Begun, Expired, Refused, Replied, Submit, Submits


class Replies:
    """The replies of one scheduler's iteration."""

    def __init__(self) -> None:
        self._gathered: dict[Peer, list[tuple[int, Accepted | Begun | Expired | Refused]]] = {}

    def places(self, peer: Peer, together: Submits) -> Iterator[tuple[Peer, Submit]]:
        """Each submission with the placeholder that receives its reply."""
        for number, submit in enumerate(together.submits, together.first_number):
            yield _Place(self, peer, number), submit

    def gather(self, peer: Peer, number: int, reply: Message) -> None:
        """Keep the reply for the next `send`; `Begun` is sent immediately."""
        assert isinstance(reply, Accepted | Begun | Expired | Refused)
        if isinstance(reply, Begun):
            peer.send(Replied(replies=[(number, reply)]))
        else:
            self._gathered.setdefault(peer, []).append((number, reply))

    def send(self) -> None:
        """Send all collected replies."""
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
