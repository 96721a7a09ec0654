"""File locks (`flock`). The kernel releases a lock when the last process that has its descriptor ends, in whatever way.

The holder of a lock may remove the file, so a lock counts only if the file still has its name after the lock was taken.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def take_lock(path: Path, *, shared: bool = False, wait: bool = False, create: bool = True) -> int:
    """Take the lock; returns the descriptor that holds it. Raises `BlockingIOError` if it is taken and `wait` is False."""
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
        try:
            fcntl.flock(fd, mode)
            if _has_name(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def is_locked(path: Path) -> bool:
    """Whether the lock is held by any process."""
    try:
        os.close(take_lock(path, shared=True, create=False))
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _has_name(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
