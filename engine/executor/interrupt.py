"""How a worker interrupts a task: a page that worker and executor share names the attempt that must end, and why; SIGUSR1 follows.

So a signal that arrives late, when the executor already runs another job, interrupts nothing.
"""

from __future__ import annotations

import mmap
import os
import struct
from enum import Enum

_WORD = struct.Struct(">c24sI")


class Why(Enum):
    """Why the attempt must end."""

    TIMEOUT = b"T"
    CANCEL = b"C"
    RELEASE = b"R"


class InterruptPage:
    """One page of an anonymous file, shared by every process that has its descriptor."""

    def __init__(self, fd: int) -> None:
        """The caller keeps the descriptor."""
        self._page = mmap.mmap(fd, mmap.PAGESIZE)

    @staticmethod
    def make() -> int:
        """Create a page; returns its descriptor."""
        fd = os.memfd_create("interrupts", os.MFD_CLOEXEC)
        os.ftruncate(fd, mmap.PAGESIZE)
        return fd

    def ask(self, why: Why, job_id: str, attempt: int) -> None:
        """Name the attempt that must end."""
        _WORD.pack_into(self._page, 0, why.value, job_id.encode(), attempt)

    def asked_of(self, job_id: str, attempt: int) -> Why | None:
        """Why this attempt must end; None if it need not."""
        why, *named = _WORD.unpack_from(self._page)
        return Why(why) if named == [job_id.encode(), attempt] else None

    def close(self) -> None:
        """Unmap the page."""
        self._page.close()
