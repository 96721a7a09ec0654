"""The folder of sockets by which the processes of one data folder find each other: `DATA_DIR/run`, mode 0700.

Each component binds `<name>.sock` (streams) and `<name>.hints` (datagrams), so the names present are the components that should be
running. A Unix socket's path is limited to 107 bytes; sockets in a folder with a longer path are reached through `/proc/self/fd`.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

MAX_PATH_BYTES = 107
CONTROL_SOCKET = "control.sock"
"""Where the control process listens (`control.protocol`); it is not a component and answers no message."""


class RunDir:
    """`DATA_DIR/run`."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "run"
        self._fd: int | None = None

    def make(self) -> None:
        """Create the folder, or make an existing one private."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def path_of(self, name: str) -> str:
        """A path by which this process can `connect` or `bind` to this name."""
        path = str(self.path / name)
        if len(os.fsencode(path)) <= MAX_PATH_BYTES:
            return path
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{name}"

    def bind(self, sock: socket.socket, name: str) -> None:
        """Bind in place of a dead predecessor, mode 0600."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / name).unlink()
        previous = os.umask(0o177)
        try:
            sock.bind(self.path_of(name))
        finally:
            os.umask(previous)

    def components(self, role: str = "") -> list[str]:
        """The names of the components that should be running, of one role or all, in order.

        None while no descriptor is free to look: what they are needed for is done again, or is only a hint.
        """
        prefix = f"{role}-" if role else ""
        try:
            return sorted(path.stem for path in self.path.glob(f"{prefix}*.sock") if path.name != CONTROL_SOCKET)
        except OSError:
            return []

    def remove(self, name: str) -> None:
        """Remove the sockets of a component that has left for good."""
        for suffix in (".sock", ".hints"):
            with contextlib.suppress(FileNotFoundError):
                (self.path / (name + suffix)).unlink()
