"""An executor's private temporary folder; files that a job leaves there are removed before the next job begins."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from jobyard.engine.world import World

FILE_CLOCK_S = 0.05
"""Longer than the resolution of the file system's timestamps."""


class TemporaryFolder:
    """`DATA_DIR/tmp/<pid>`."""

    def __init__(self, parent: Path, world: World) -> None:
        self.path = parent / str(os.getpid())
        self._world = world
        self._changed_ns = self._empty_since_ns = 0
        self._changed_seen_at = 0.0

    def create(self) -> None:
        """Create it, and remove the folders of executors that no longer exist."""
        with contextlib.suppress(OSError):  # disk full: tasks that need no folder can still run
            for folder in self.path.parent.glob("[0-9]*"):
                if folder == self.path or not Path("/proc", folder.name).exists():
                    shutil.rmtree(folder, ignore_errors=True)
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.tempdir = str(self.path)

    def empty(self) -> None:
        """Remove the files of the last job."""
        tempfile.tempdir = str(self.path)
        with contextlib.suppress(OSError):
            if self._is_untouched() or not os.listdir(self.path):
                return
        self.remove()
        with contextlib.suppress(OSError):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _is_untouched(self) -> bool:
        """Whether no entry was added or removed since it was found empty, judged by its ctime, which a task cannot set.

        Timestamps of files advance every few milliseconds, so a ctime is trusted only after it was stable for longer.
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
