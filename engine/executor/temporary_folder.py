"""An executor's own temporary folder: what a job leaves there is removed before the next one begins."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from jobyard.engine.world import World

FILE_CLOCK_S = 0.05


class TemporaryFolder:
    """`DATA_DIR/tmp/<pid>`."""

    def __init__(self, parent: Path, world: World) -> None:
        self.path = parent / str(os.getpid())
        self._world = world
        self._changed_ns = self._empty_since_ns = 0
        self._changed_seen_at = 0.0

    def take(self) -> None:
        """Create it, and remove those of executors that are gone."""
        with contextlib.suppress(OSError):  # a full disk, for example: tasks that need no folder can still run
            for folder in self.path.parent.glob("[0-9]*"):
                if folder == self.path or not Path("/proc", folder.name).exists():
                    shutil.rmtree(folder, ignore_errors=True)
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.tempdir = str(self.path)

    def empty(self) -> None:
        """Remove what the last job left in it."""
        tempfile.tempdir = str(self.path)
        with contextlib.suppress(OSError):
            if self._is_untouched() or not os.listdir(self.path):
                return
        self.remove()
        with contextlib.suppress(OSError):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _is_untouched(self) -> bool:
        """Whether nothing was added or removed since it was found empty, by its change time, which no task can set.

        The system's clock for files ticks every few milliseconds, so a time counts only once it has been the same for longer.
        """
        changed_ns = os.stat(self.path).st_ctime_ns
        if changed_ns == self._empty_since_ns:
            return True
        now = self._world.monotonic()
        if changed_ns != self._changed_ns:
            self._changed_ns, self._changed_seen_at = changed_ns, now
        elif now - self._changed_seen_at > FILE_CLOCK_S and not os.listdir(self.path):
            self._empty_since_ns = changed_ns
            return True
        return False
