"""A service manager's end of `sd_notify(3)`: the messages that it got, from which process, and when."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

CREDENTIALS = struct.Struct("iii")


class FakeManager:
    """Listens on a socket and records every datagram with its sender's pid."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.told: list[str] = []
        self.senders: set[int] = set()
        self._heard_at = time.monotonic()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def look(self) -> list[str]:
        """All messages so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, credentials, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
                self.told.append(data.decode())
                self.senders.add(CREDENTIALS.unpack(credentials[0][2])[0])
                self._heard_at = time.monotonic()
        return self.told

    def silent_s(self) -> float:
        """The time since the last message."""
        self.look()
        return time.monotonic() - self._heard_at

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@contextlib.contextmanager
def a_manager(folder: Path, *, is_abstract: bool = False) -> Iterator[FakeManager]:
    """A manager that listens at a path in the folder, or at a unique abstract address."""
    path = str(folder / "notify")
    manager = FakeManager(f"@{path}" if is_abstract else path)
    try:
        yield manager
    finally:
        manager.close()
