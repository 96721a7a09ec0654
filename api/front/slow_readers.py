"""Responses that a client does not read at once. No thread waits for it: the event loop sends the rest as the client reads.

    thread or fast path ──sends what fits──▶ all of it ──▶ next request
                              └─a rest─▶ SlowReaders ──whenever the socket takes more──▶ … ──▶ next request
                                              └─too slow, or too many bytes wait in all─▶ closed
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

C = TypeVar("C")

MAX_UNSENT_BYTES = 64 << 20
"""Bytes of all responses that wait for their clients. Beyond that, the connections that have waited longest are closed."""


class ResponseSocket:
    """A client's socket for what writes a response: sends what fits without waiting, keeps the rest; otherwise it is the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unsent: deque[memoryview] = deque()
        self.unsent_bytes = 0

    def sendall(self, data: bytes) -> None:
        """Send or keep all of it; raises `OSError` if the client is gone."""
        self._unsent.append(memoryview(data))
        self.unsent_bytes += len(data)
        if len(self._unsent) == 1:
            self.send_unsent()

    def send(self, data: bytes) -> int:
        """The same; returns the length."""
        self.sendall(data)
        return len(data)

    def send_unsent(self) -> bool:
        """Send what fits now; whether that was all. Raises `OSError` if the client is gone."""
        while self._unsent:
            try:
                sent = self._sock.send(self._unsent[0], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) if self._unsent[0] else 0
            except BlockingIOError:
                return False
            self.unsent_bytes -= sent
            self._unsent[0] = self._unsent[0][sent:]
            if not self._unsent[0]:
                self._unsent.popleft()
        return True

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


class SlowReaders(Generic[C]):
    """The connections whose clients have not read their response yet, in the order in which they began to wait."""

    def __init__(self, max_bytes: int = MAX_UNSENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._responses: dict[C, ResponseSocket] = {}

    def __iter__(self) -> Iterator[C]:
        return iter(self._responses)

    def add(self, conn: C, response: ResponseSocket) -> list[C]:
        """Wait for a client; returns the connections to close because too many bytes wait."""
        self._responses[conn] = response
        unsent_bytes = sum(other.unsent_bytes for other in self._responses.values())
        excess = []
        for other, its_response in self._responses.items():
            if unsent_bytes <= self._max_bytes:
                break
            unsent_bytes -= its_response.unsent_bytes
            excess.append(other)
        return excess

    def send(self, conn: C) -> bool:
        """Send what fits now; whether the client has been sent everything. Raises `OSError` if it is gone."""
        return self._responses[conn].send_unsent()

    def remove(self, conn: C) -> None:
        """Its response has been sent, or is abandoned."""
        del self._responses[conn]
