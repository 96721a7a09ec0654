"""Detects changes to the user's files for `start-all --reload`, by calling stat on each once a second."""

from __future__ import annotations

import os
from collections.abc import Iterable

from jobyard.engine.world import World

CHECK_EVERY_S = 1.0


class FileWatch:
    """Remembers modification time and size of every file."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._next_check_at = world.monotonic()
        self._known: dict[str, tuple[int, int] | None] = {}

    def note(self, files: Iterable[str]) -> None:
        """These files have just been read."""
        self._known |= {file: _signature(file) for file in files}

    def has_changed(self, files: Iterable[str]) -> bool:
        """Whether one of these files has changed; checked at most once a second. A file seen for the first time has not changed."""
        now = self._world.monotonic()
        if now < self._next_check_at:
            return False
        self._next_check_at = now + CHECK_EVERY_S
        found = {file: _signature(file) for file in files}
        changed = any(self._known.get(file, signature) != signature for file, signature in found.items())
        self._known |= found
        return changed


def _signature(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
