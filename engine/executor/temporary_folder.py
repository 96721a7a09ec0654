"""An executor's private temporary folder; files that a job leaves there are removed before the next job begins.

    DATA_DIR/tmp/<PID namespace>-<pid>/      locked (flock) by the executor for as long as it lives

Several PID namespaces (containers) may share a data folder, so a folder of another namespace is removed only if its lock is free.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from jobyard.engine.world import World

ATTEMPTS = 5
FILE_CLOCK_S = 0.05
"""Longer than the resolution of the file system's timestamps."""
MAX_PATH_BYTES = 70
"""A socket below a longer path, such as `multiprocessing.Manager` creates, would exceed the limit of 107 bytes."""


class TemporaryFolder:
    """The folder of this process. `visible_path`: for tasks; through `/proc` if the real path is too long for sockets."""

    def __init__(self, parent: Path, world: World) -> None:
        self._namespace = f"{os.stat('/proc/self/ns/pid').st_ino:x}"
        self.path = parent / f"{self._namespace}-{os.getpid()}"
        self.visible_path = str(self.path)
        self._fd: int | None = None
        self._world = world
        self._changed_ns = self._empty_since_ns = 0
        self._changed_seen_at = 0.0

    def create(self) -> None:
        """Create it, and remove the folders of executors that no longer exist."""
        with contextlib.suppress(OSError):  # disk full: tasks that need no folder can still run
            for folder in self.path.parent.glob("*"):
                if self._is_abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)
            self._make()
        tempfile.tempdir = self.visible_path

    def empty(self) -> None:
        """Remove the files of the last job."""
        tempfile.tempdir = self.visible_path
        with contextlib.suppress(OSError):
            if self._is_untouched() or not os.listdir(self.path):
                return
        _remove_contents(self.path)
        if not self.path.is_dir():
            with contextlib.suppress(OSError):
                self._make()

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _is_abandoned(self, folder: Path) -> bool:
        namespace, dash, pid = folder.name.rpartition("-")
        if namespace in (self._namespace, ""):  # without a namespace: of an earlier version
            return folder == self.path or not pid.isdigit() or not Path("/proc", pid).exists()
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def _make(self) -> None:
        """Create and lock the folder. Its descriptor stays open; tasks see a path through it if the real one is too long."""
        for _ in range(ATTEMPTS):  # a cleaner of another namespace may remove it before it is locked
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if self._fd is not None:
                os.dup2(fd, self._fd, inheritable=False)
                os.close(fd)
            self._fd = fd = fd if self._fd is None else self._fd
            fcntl.flock(fd, fcntl.LOCK_SH)
            if self.path.is_dir() and os.path.samestat(os.stat(self.path), os.fstat(fd)):
                break
        if len(os.fsencode(str(self.path))) > MAX_PATH_BYTES:
            self.visible_path = f"/proc/{os.getpid()}/fd/{fd}"

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


def _remove_contents(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
