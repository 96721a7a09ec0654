"""The one lock that every commit and checkpoint takes, in all processes of a data folder.

With SQLite's own busy waiting, the slowest of nine writers can wait for seconds; a blocking flock is fair. The kernel releases it
when its holder dies, so a killed process cannot keep it.

The holder may find SQLite's own lock held by a foreign program and wait for it. If that wait times out, the file's size tells
the next holders, so that they do not all wait as long, one after another.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType


class CommitLock:
    """A context manager; `waiting` is called before and after a wait for another holder."""

    def __init__(self, path: Path, waiting: Callable[[bool], None]) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._waiting = waiting

    def __enter__(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._waiting(True)
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            self._waiting(False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def was_in_vain(self) -> bool:
        """For the holder: whether the last wait for a foreign program timed out."""
        return os.lseek(self._fd, 0, os.SEEK_END) > 0

    def tell_next(self, *, was_in_vain: bool) -> None:
        """Record how the holder's own wait for a foreign program ended."""
        with contextlib.suppress(OSError):  # the disk is full: the next holder waits for itself
            os.ftruncate(self._fd, int(was_in_vain))

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
