"""A service manager's end of `sd_notify(3)`: what it was told, by whom and when."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

CREDENTIALS = struct.Struct("iii")


class FakeManager:
    """Listens on a socket and notes every datagram with its sender's pid."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.told: list[str] = []
        self.senders: set[int] = set()
        self._heard_at = time.monotonic()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def look(self) -> list[str]:
        """All that was told so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, credentials, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(CREDENTIALS.size))
                self.told.append(data.decode())
                self.senders.add(CREDENTIALS.unpack(credentials[0][2])[0])
                self._heard_at = time.monotonic()
        return self.told

    def silent_s(self) -> float:
        """For how long it has heard nothing."""
        self.look()
        return time.monotonic() - self._heard_at

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


@contextlib.contextmanager
def a_manager(folder: Path, *, is_abstract: bool = False) -> Iterator[FakeManager]:
    """One that listens on a name below the folder, or on an abstract one that nobody else has."""
    path = str(folder / "notify")
    manager = FakeManager(f"@{path}" if is_abstract else path)
    try:
        yield manager
    finally:
        manager.close()
