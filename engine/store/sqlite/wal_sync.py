"""Makes commits durable outside the commit lock, so that syncing the log does not block other writers.

SQLite's `synchronous = FULL` syncs the log within the commit, so all writers wait for the disk one after another. In `NORMAL` mode
a commit writes its frames to the log and leaves them to the operating system; syncing the same file afterwards, before anyone is
told of the commit, is equally safe. A checkpoint between the two has itself synced log and database before it resets the log.
"""

from __future__ import annotations

import os
from pathlib import Path


class WalSync:
    """The log of one database, open in addition to SQLite's own descriptor; closing it affects no lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def sync(self) -> None:
        """Return once everything written to the log is on disk. Raises `OSError`."""
        if self._fd is None or not os.path.samestat(os.fstat(self._fd), self._path.stat()):
            self.close()
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
