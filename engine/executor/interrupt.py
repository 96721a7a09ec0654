"""A worker's word to a task: one page that worker and child share says which attempt must end, and why; SIGUSR1 says: look.

So a signal that comes late, when the child is at another job already, ends nobody.
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
    """A page of an anonymous file; whoever has its descriptor shares it."""

    def __init__(self, fd: int) -> None:
        """The descriptor stays the caller's."""
        self._page = mmap.mmap(fd, mmap.PAGESIZE)

    @staticmethod
    def make() -> int:
        """A new one: its descriptor."""
        fd = os.memfd_create("interrupts", os.MFD_CLOEXEC)
        os.ftruncate(fd, mmap.PAGESIZE)
        return fd

    def ask(self, why: Why, job_id: str, attempt: int) -> None:
        """This attempt must end."""
        _WORD.pack_into(self._page, 0, why.value, job_id.encode(), attempt)

    def asked_of(self, job_id: str, attempt: int) -> Why | None:
        """Why this attempt must end, if it must."""
        why, *named = _WORD.unpack_from(self._page)
        return Why(why) if named == [job_id.encode(), attempt] else None

    def close(self) -> None:
        """Let go of it."""
        self._page.close()
