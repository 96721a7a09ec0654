"""Sets the process title without a package, by overwriting the arguments in memory; it is at most as long as they were."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

ARGUMENTS_BEGIN, ARGUMENTS_END = 45, 46
"""Fields of `/proc/self/stat` that hold the addresses, counted from the state field."""

MAX_NAME_CHARS = 15


def set_title(title: str) -> None:
    """Set what `ps` shows; an executor inherits the space of its template's arguments."""
    with contextlib.suppress(OSError, ValueError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        begin, end = int(fields[ARGUMENTS_BEGIN]), int(fields[ARGUMENTS_END])
        if begin < end:
            room = end - begin
            ctypes.memmove(begin, title.encode()[: room - 1].ljust(room, b"\0"), room)
        Path("/proc/self/comm").write_text(title[:MAX_NAME_CHARS])
