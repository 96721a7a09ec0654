"""A request that is still on its way: what has come of it, and whether a thread that took it now would have to wait.

Only as much of HTTP is read here as tells where a small request ends. Whatever is doubtful is called whole: the parser behind
refuses it at once. What cannot be told, or is large, needs patience: a thread of the few that may wait for a client.
"""

from __future__ import annotations

import socket
from enum import Enum

SMALL_BYTES = 64 << 10
HEAD_BYTES = 8 << 10
"""The parser's own limit of one line; a longer head is read by a patient thread, which refuses what is too long."""
DIGITS = 9
READ_BYTES = 8 << 10


class ReadState(Enum):
    """What is to be done with the connection."""

    MORE = "more"
    """Listen on."""
    NOTHING = "nothing"
    """Serve it: nothing must be waited for."""
    PATIENCE = "patience"
    """Serve it where waiting for the client holds up nobody else."""


class RequestReader:
    """What has come on one connection since its last request."""

    def __init__(self, came: bytes = b"") -> None:
        self.came = bytearray(came)
        self._searched = 0
        self._head_size = 0
        self._size: int | None = None

    def read(self, sock: socket.socket) -> ReadState:
        """Take what is there, without waiting for it; nothing while a request is whole: what is behind it would grow and grow."""
        if self.came and (need := self.need()) is not ReadState.MORE:
            return need
        try:
            data = sock.recv(READ_BYTES)
        except BlockingIOError:
            return self.need()
        except OSError:
            return ReadState.NOTHING  # broken off; the thread finds the same
        self.came += data
        return self.need() if data else ReadState.NOTHING

    def need(self) -> ReadState:
        """See `ReadState`."""
        if self._size is None:
            waits_for = self._read_head()
            if waits_for is not None:
                return waits_for
        return ReadState.MORE if len(self.came) < (self._size or 0) else ReadState.NOTHING

    def _read_head(self) -> ReadState | None:
        """None once it is known how long the request is."""
        end = self.came.find(b"\r\n\r\n", max(0, self._searched - 3))
        self._searched = len(self.came)
        head = self.came[:end].lower() if end >= 0 else self.came
        if head.count(b"\n") != head.count(b"\r\n"):
            return ReadState.NOTHING
        if end < 0:
            return ReadState.PATIENCE if len(head) > HEAD_BYTES else ReadState.MORE
        if b"\ntransfer-encoding:" in head or b"\nexpect:" in head:
            return ReadState.PATIENCE
        _, *lengths = head.split(b"\ncontent-length:")
        length = lengths[0].partition(b"\r")[0].strip(b" \t") if len(lengths) == 1 else b""
        if not length.isdigit():
            return ReadState.NOTHING
        if len(length) > DIGITS or int(length) > SMALL_BYTES:
            return ReadState.PATIENCE
        self._head_size = end + 4
        self._size = self._head_size + int(length)
        return None

    def apart(self) -> tuple[bytes, bytes] | None:
        """Head, up to its blank line, and body, when exactly one small request is here."""
        if len(self.came) != self._size:
            return None
        return bytes(self.came[: self._head_size]), bytes(self.came[self._head_size :])
