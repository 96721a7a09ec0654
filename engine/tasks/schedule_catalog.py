"""Which schedules and limits the task modules of this data folder declare: files that the supervisor writes and watchers read."""

from __future__ import annotations

import os
from collections.abc import Mapping

import msgspec

from jobyard.engine.wire.run_dir import RunDir

FILE, LIMITS_FILE = "schedules.json", "limits.json"
MOST_TOLD = 1_000


def write_schedules(run_dir: RunDir, bodies: Mapping[str, object], *, file: str = FILE) -> None:
    """Replace the file whole. `bodies`: those of the requests that would store them, by name."""
    path = run_dir.path / file
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(msgspec.json.encode(bodies))
    fresh.replace(path)


def forget_schedules(run_dir: RunDir) -> None:
    """The modules are about to be imported anew."""
    for file in (FILE, LIMITS_FILE):
        (run_dir.path / file).unlink(missing_ok=True)


class ScheduleCatalog:
    """One of the files, read again when it was replaced."""

    def __init__(self, run_dir: RunDir, *, file: str = FILE) -> None:
        self._path = run_dir.path / file
        self._read: tuple[int, int] | None = None
        self._names: tuple[str, ...] | None = None

    def news(self) -> dict[str, bytes] | None:
        """The bodies by name, if they were written since the last call that returned them and `keep`."""
        try:
            found = self._path.stat()
            if self._read == (found.st_mtime_ns, found.st_ino):
                return None
            bodies = msgspec.json.decode(self._path.read_bytes(), type=dict[str, msgspec.Raw])
        except FileNotFoundError:
            return None
        self._read = (found.st_mtime_ns, found.st_ino)
        return {name: bytes(body) for name, body in bodies.items()}

    def names(self) -> tuple[str, ...] | None:
        """The names of all of them; None while they are not known, or are too many to be told again and again."""
        if (bodies := self.news()) is not None:
            self._names = tuple(sorted(bodies)) if len(bodies) <= MOST_TOLD else None
        return self._names if self._path.exists() else None

    def again(self) -> None:
        """They could not be stored: return them once more."""
        self._read = None
