"""A network without sockets: tests can read what a role sends."""

from __future__ import annotations

import socket
from collections.abc import Callable

from jobyard.engine.wire.frames import decode
from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Closed


class FakePeer:
    """Records what was sent to it."""

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
        """A message from this peer."""
        return Envelope(self, message)

    def hangs_up(self) -> Envelope:
        """The message that reports its disconnect."""
        self.open = False
        return Envelope(self, Closed())

    def take(self, kind: type[Message] = Message) -> list[Message]:
        """The messages of this kind since the last call."""
        taken = [message for message in self.received if isinstance(message, kind)]
        self.received = [message for message in self.received if not isinstance(message, kind)]
        return taken


class FakeNetwork:
    """Peers by address; connecting to an unknown address gives None."""

    def __init__(self) -> None:
        self.peers: dict[str, FakePeer] = {}
        self.hints: list[tuple[str, Message]] = []
        self.watched: set[int] = set()

    def add(self, address: str) -> FakePeer:
        """Add a peer that listens at this address."""
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
