"""Locks on files (`flock`): the kernel lets go of one with the last process that holds its descriptor, however that one ends.

Whoever holds a lock may remove its file; so a lock counts only when the file still has that name once it is taken.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def take_lock(path: Path, *, shared: bool = False, wait: bool = False, create: bool = True) -> int:
    """The descriptor that holds the lock; raises `BlockingIOError` when somebody else has it and we do not wait."""
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
    """Whether somebody holds the lock now."""
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
