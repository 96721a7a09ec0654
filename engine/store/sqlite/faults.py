"""Maps SQLite's errors to Jobyard's.

    locked by another program, or the disk is full    `StoreUnavailable`: nothing was done; the call may be retried
    damaged file, I/O error                         `StoreBroken`: the process ends

An I/O error on a full disk counts as a full disk: SQLite reports one when it cannot extend its shared-memory file, and for a disk
quota that is used up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jobyard.engine.errors import StoreBroken, StoreUnavailable
from jobyard.engine.store.sqlite.engine import sqlite3

IO_ERROR = "disk I/O error"
BROKEN = (IO_ERROR, "malformed", "not a database", "corrupt")
NO_ROOM_BYTES = 64 << 10
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def told_plainly(folder: Path) -> Iterator[None]:
    """Translate SQLite's errors, for a database in this folder."""
    try:
        yield
    except sqlite3.DatabaseError as fault:
        if is_broken(fault, folder):
            raise StoreBroken(f"the database file is damaged or its disk fails: {fault}") from fault
        if isinstance(fault, sqlite3.OperationalError):
            raise StoreUnavailable(f"the database is not available: {fault}") from fault
        raise


def is_broken(fault: Exception, folder: Path) -> bool:
    """Whether the file or its disk must no longer be used."""
    return any(sign in str(fault) for sign in BROKEN) and not has_no_room(fault, folder)


def has_no_room(fault: Exception, folder: Path) -> bool:
    """Whether the disk is full."""
    return "disk is full" in str(fault) or (IO_ERROR in str(fault) and not _has_room(folder))


def is_locked(fault: Exception) -> bool:
    """Whether another program holds SQLite's own lock."""
    return "locked" in str(fault)


def is_not_writable(fault: Exception) -> bool:
    """Whether this user may not write the file or its folder."""
    return "readonly" in str(fault) or "unable to open" in str(fault)


def _has_room(folder: Path) -> bool:
    """Whether `NO_ROOM_BYTES` can be allocated. A quota does not show in the free space of the disk, so this tries."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, NO_ROOM_BYTES)
    except OSError as fault:
        return fault.errno not in NO_ROOM
    return True
