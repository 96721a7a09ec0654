"""Reads a request as it arrives, and tells whether a thread that served it now would have to wait for the client.

Only as much of HTTP is parsed here as is needed to find the end of a small request. A doubtful request counts as ready: the full
parser refuses it at once. A large request, or one whose length is not known, goes to one of the few slow-client threads.
"""

from __future__ import annotations

import socket
from enum import Enum

SMALL_BYTES = 64 << 10
HEAD_BYTES = 8 << 10
"""The parser's own limit for one line; a longer head is read by a slow-client thread, which refuses what is too long."""
DIGITS = 9
READ_BYTES = 8 << 10


class ReadState(Enum):
    """What to do with the connection."""

    INCOMPLETE = "incomplete"
    """Read on."""
    READY = "ready"
    """Serve it: there is nothing to wait for."""
    SLOW = "slow"
    """Serve it in a slow-client thread, which may wait for the client."""


class RequestReader:
    """What was received on one connection since its last request."""

    def __init__(self, received: bytes = b"") -> None:
        self.received = bytearray(received)
        self._scanned = 0
        self._head_size = 0
        self._size: int | None = None

    def read(self, sock: socket.socket) -> ReadState:
        """Read without blocking; nothing once a request is complete, or pipelined requests would pile up behind it."""
        if self.received and (state := self.state()) is not ReadState.INCOMPLETE:
            return state
        try:
            data = sock.recv(READ_BYTES)
        except BlockingIOError:
            return self.state()
        except OSError:
            return ReadState.READY  # the connection was lost, which the thread will find as well
        self.received += data
        return self.state() if data else ReadState.READY

    def state(self) -> ReadState:
        """The state of what was received."""
        if self._size is None:
            early = self._read_head()
            if early is not None:
                return early
        return ReadState.INCOMPLETE if len(self.received) < (self._size or 0) else ReadState.READY

    def _read_head(self) -> ReadState | None:
        """Find the request's length; the state as long as it is not known, else None."""
        end = self.received.find(b"\r\n\r\n", max(0, self._scanned - 3))
        self._scanned = len(self.received)
        head = self.received[:end].lower() if end >= 0 else self.received
        if head.count(b"\n") != head.count(b"\r\n"):
            return ReadState.READY
        if end < 0:
            return ReadState.SLOW if len(head) > HEAD_BYTES else ReadState.INCOMPLETE
        if b"\ntransfer-encoding:" in head or b"\nexpect:" in head:
            return ReadState.SLOW
        _, *lengths = head.split(b"\ncontent-length:")
        length = lengths[0].partition(b"\r")[0].strip(b" \t") if len(lengths) == 1 else b""
        if not length.isdigit():
            return ReadState.READY
        if len(length) > DIGITS or int(length) > SMALL_BYTES:
            return ReadState.SLOW
        self._head_size = end + 4
        self._size = self._head_size + int(length)
        return None

    def split(self) -> tuple[bytes, bytes] | None:
        """Head (up to its blank line) and body, when exactly one small request was received."""
        if len(self.received) != self._size:
            return None
        return bytes(self.received[: self._head_size]), bytes(self.received[self._head_size :])
