"""A worker's word to a task: one page that worker and child share says which attempt must end, and why; SIGUSR1 says: look.

So a signal that comes late, when the child is at another job already, ends nobody.
"""

from __future__ import annotations

import mmap
import struct
from enum import Enum

_WORD = struct.Struct(">c24sI")


class Why(Enum):
    """Why the attempt must end."""

    TIMEOUT = b"T"
    CANCEL = b"C"


class InterruptPage:
    """Shared with whoever is forked after it was made."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

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
