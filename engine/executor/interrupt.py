"""Interrupt requests from a worker to a task: a shared page names the attempt and the reason, and SIGUSR1 makes the child read it.

A signal that arrives late, when the child already runs another job, therefore interrupts nothing.
"""

from __future__ import annotations

import mmap
import os
import struct
from enum import Enum

_REQUEST = struct.Struct(">c24sI")


class Why(Enum):
    """The reason for an interrupt."""

    TIMEOUT = b"T"
    CANCEL = b"C"
    RELEASE = b"R"


class InterruptPage:
    """A page of an anonymous file, shared by all processes that have its descriptor."""

    def __init__(self, fd: int) -> None:
        """The caller keeps ownership of the descriptor."""
        self._page = mmap.mmap(fd, mmap.PAGESIZE)

    @staticmethod
    def make() -> int:
        """Create a page; returns its descriptor."""
        fd = os.memfd_create("interrupts", os.MFD_CLOEXEC)
        os.ftruncate(fd, mmap.PAGESIZE)
        return fd

    def ask(self, why: Why, job_id: str, attempt: int) -> None:
        """Request that this attempt ends."""
        _REQUEST.pack_into(self._page, 0, why.value, job_id.encode(), attempt)

    def request_for(self, job_id: str, attempt: int) -> Why | None:
        """The reason why this attempt must end, or None."""
        why, *named = _REQUEST.unpack_from(self._page)
        return Why(why) if named == [job_id.encode(), attempt] else None

    def close(self) -> None:
        """Unmap the page."""
        self._page.close()
