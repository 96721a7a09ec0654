"""A worker's connection to one template: packets with descriptors, nothing that waits."""

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
    """See `SocketLine`; tests and the simulation have others."""

    def fileno(self) -> int:
        """Readable when there is something to receive, or the template is gone."""

    def send(self, message: messages.Message, fds: Sequence[int] = ()) -> bool:
        """False when it does not read; raises `OSError` when it is gone."""

    def receive(self) -> Iterator[tuple[messages.Message | None, list[int]]]:
        """What has come, with descriptors; None last, when it is gone."""

    def refuse(self, pid_fd: int) -> None:
        """Nobody waits for this executor any more: it ends."""

    def close(self) -> None:
        """End it."""


class TemplateConnector(Protocol):
    """See `SocketConnector`."""

    def listening(self) -> int:
        """Which template listens now: another number for another one. Raises `OSError` when none does."""

    def connect(self) -> TemplateLine:
        """To that one; raises `OSError`."""


class SocketLine:
    """Over a socket."""

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
    """`path`: where templates listen, one after the other."""

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
