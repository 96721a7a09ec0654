"""A network without sockets: what a role sends is there to be read."""

from __future__ import annotations

import socket
from collections.abc import Callable

from jobyard.engine.wire.frames import decode
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.messages import Closed, Message


class FakePeer:
    """Remembers what it was sent."""

    def __init__(self, name: str = "peer") -> None:
        self.name = name
        self.received: list[Message] = []
        self.open = True

    def send(self, message: Message) -> bool:
        if self.open:
            self.received.append(message)
        return self.open

    def close(self) -> None:
        self.open = False

    def says(self, message: Message) -> Envelope:
        """A letter from this peer."""
        return Envelope(self, message)

    def hangs_up(self) -> Envelope:
        """The letter that tells of its end."""
        self.open = False
        return Envelope(self, Closed())

    def take(self, kind: type[Message] = Message) -> list[Message]:
        """What it got of this kind since the last look."""
        taken = [message for message in self.received if isinstance(message, kind)]
        self.received = [message for message in self.received if not isinstance(message, kind)]
        return taken


class FakeNetwork:
    """Peers by address; an address nobody listens on answers None."""

    def __init__(self) -> None:
        self.peers: dict[str, FakePeer] = {}
        self.hints: list[tuple[str, Message]] = []
        self.watched: set[int] = set()

    def add(self, address: str) -> FakePeer:
        """Somebody listens under this name."""
        self.peers[address] = FakePeer(address)
        return self.peers[address]

    def connect(self, address: str) -> FakePeer | None:
        return self.peers.get(address)

    def hint(self, address: str, message: Message) -> None:
        self.hints.append((address, message))

    def adopt(self, sock: socket.socket, max_bytes: int | None = None, decoder: Callable[[bytes], Message] = decode) -> FakePeer:
        raise NotImplementedError

    def watch(self, fd: int) -> None:
        self.watched.add(fd)

    def forget(self, fd: int) -> None:
        self.watched.discard(fd)
