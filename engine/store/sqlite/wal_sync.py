"""Makes what was committed durable, from outside the commit lock: whoever syncs the log keeps nobody else from committing.

SQLite's own `synchronous = FULL` syncs the log within the commit, so that all the others wait for the disk, one after the
other. In `NORMAL` a commit writes its frames to the log and leaves them to the system; a sync of the same file afterwards,
before anybody is told, is worth the same. A checkpoint that comes between the two has synced log and database itself before it
empties the log.
"""

from __future__ import annotations

import os
from pathlib import Path


class WalSync:
    """The log of one database, held open beside SQLite's own descriptor: no lock depends on that file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def sync(self) -> None:
        """Come back when everything that was written to the log is on the disk. Raises `OSError`."""
        if self._fd is None or not os.path.samestat(os.fstat(self._fd), self._path.stat()):
            self.close()
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Let go of it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
