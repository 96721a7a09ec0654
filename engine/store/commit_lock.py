"""The one lock behind which every commit and every checkpoint happens, in all processes of a data folder.

SQLite's own way of waiting lets the slowest of nine writers wait for seconds; behind a blocking flock they take turns. The
kernel frees it with its holder's death, so that nobody who is killed can keep it.
"""

from __future__ import annotations

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

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)
