"""Whether the client whose request a thread serves is still connected, so that nothing is computed for one that has gone."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class ClientWatch:
    """One client for each thread that serves a request."""

    def __init__(self) -> None:
        self._local = threading.local()

    @contextlib.contextmanager
    def watch(self, sock: socket.socket | None) -> Iterator[None]:
        """While this thread serves the client at the other end; None: it is not known."""
        self._local.sock = sock
        try:
            yield
        finally:
            self._local.sock = None

    def is_gone(self) -> bool:
        """Whether this thread's client has closed its connection."""
        sock: socket.socket | None = getattr(self._local, "sock", None)
        return sock is not None and is_gone(sock)


def is_gone(sock: socket.socket) -> bool:
    """Whether the client has closed its connection. What it sent meanwhile stays where it is."""
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
