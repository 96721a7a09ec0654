"""Detects changes of the user's files, for `start-all --reload`: a stat of each file, once a second."""

from __future__ import annotations

import os
from collections.abc import Iterable

from jobyard.engine.world import World

LOOK_EVERY_S = 1.0


class FileWatch:
    """Remembers every file's state when it was first seen, or last changed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._look_at = world.monotonic()
        self._known: dict[str, tuple[int, int] | None] = {}

    def note(self, files: Iterable[str]) -> None:
        """Remember the current state of these files, which have just been read."""
        self._known |= {file: _signature(file) for file in files}

    def has_changed(self, files: Iterable[str]) -> bool:
        """Whether one of these files has changed; checked at most once a second. False for a file that was not known before."""
        now = self._world.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY_S
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
