"""A worker's connection to one template: packets with file descriptors; no call blocks."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from jobyard.engine.executor.packets import receive_with_descriptors, send_packet
from jobyard.engine.template import messages


class TemplateLine(Protocol):
    """What a worker needs of a connection; tests and the simulation provide other implementations."""

    def fileno(self) -> int:
        """A descriptor that is readable if there is something to receive, or the template has died."""

    def send(self, message: messages.Message, fds: Sequence[int] = ()) -> bool:
        """Send a packet; False if the template does not read. Raises `OSError` if it has died."""

    def receive(self) -> Iterator[tuple[messages.Message | None, list[int]]]:
        """The received packets with their descriptors; None as the last item if the template has died."""

    def refuse(self, pid_fd: int) -> None:
        """Nobody waits for this executor any more: kill it."""

    def close(self) -> None:
        """Close the connection."""


class TemplateConnector(Protocol):
    """Finds the current template; see `SocketConnector`."""

    def listening(self) -> int:
        """A number that identifies the template that listens now. Raises `OSError` if none does."""

    def connect(self) -> TemplateLine:
        """Connect to it; raises `OSError`."""


class SocketLine:
    """A connection over a Unix socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        """See `TemplateLine`."""
        return self._sock.fileno()

    def send(self, message: messages.Message, fds: Sequence[int] = ()) -> bool:
        """See `TemplateLine`."""
        return send_packet(self._sock, messages.encode(message), fds)

    def receive(self) -> Iterator[tuple[messages.Message | None, list[int]]]:
        """See `TemplateLine`."""
        while True:
            try:
                packet, fds = receive_with_descriptors(self._sock)
            except BlockingIOError:
                return
            except OSError:
                packet, fds = b"", []
            yield (messages.decode(packet), fds) if packet else (None, [])
            if not packet:
                return

    def refuse(self, pid_fd: int) -> None:
        """See `TemplateLine`."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pid_fd, signal.SIGKILL)
        os.close(pid_fd)

    def close(self) -> None:
        """See `TemplateLine`."""
        self._sock.close()


class SocketConnector:
    """`path`: the socket on which templates listen, one after the other."""

    def __init__(self, path: Callable[[], str]) -> None:
        self._path = path

    def listening(self) -> int:
        """See `TemplateConnector`."""
        status = os.stat(self._path())
        return hash((status.st_ino, status.st_ctime_ns))

    def connect(self) -> TemplateLine:
        """See `TemplateConnector`."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.setblocking(False)
        try:
            sock.connect(self._path())
        except OSError:
            sock.close()
            raise
        return SocketLine(sock)
