"""A process's title without any package: written over the arguments in its own memory, so it is at most as long as they were."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

ARGUMENTS_BEGIN, ARGUMENTS_END = 45, 46
"""Where `/proc/self/stat` has the addresses, counted from the state on."""

MAX_NAME_CHARS = 15


def set_title(title: str) -> None:
    """What `ps` shows; an executor inherits the room that its template's arguments had."""
    with contextlib.suppress(OSError, ValueError):
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        begin, end = int(fields[ARGUMENTS_BEGIN]), int(fields[ARGUMENTS_END])
        if begin < end:
            room = end - begin
            ctypes.memmove(begin, title.encode()[: room - 1].ljust(room, b"\0"), room)
        Path("/proc/self/comm").write_text(title[:MAX_NAME_CHARS])
