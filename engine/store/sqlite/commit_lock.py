"""The one lock behind which every commit and every checkpoint happens, in all processes of a data folder.

SQLite's own way of waiting lets the slowest of nine writers wait for seconds; behind a blocking flock they take turns. The
kernel frees it with its holder's death, so that nobody who is killed can keep it.

A holder may find that a program which is none of ours holds SQLite's own lock. He waits for it; when that was in vain, he tells all
who hold the lock after him by the file's size, so that they do not wait as long once more, one after the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType


class CommitLock:
    """A context manager; `waiting` is told before and after it has to wait for somebody else."""

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
        """For a holder: whether the last one who waited for a foreign program had to give up."""
        return os.lseek(self._fd, 0, os.SEEK_END) > 0

    def tell_next(self, *, was_in_vain: bool) -> None:
        """How the holder's own wait for a foreign program ended."""
        with contextlib.suppress(OSError):  # a disk without room: then the next one waits himself
            os.ftruncate(self._fd, int(was_in_vain))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)
