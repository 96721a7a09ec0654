"""The data folder, its locks, and the starts that are using it.

    DATA_DIR/          created with mode 0700
      lock             locked by every start on this folder: shared by single components, exclusively by start-all
      run/<who>.pid    one for each start (`start-all`, `worker-7001`): contains its pid, and is locked as long as it runs
      run/…            sockets (`RunDir`), proofs of death (`ProofsOfDeath`), the task catalog

A pid in a file that is not locked means nothing. The database in the folder belongs to the store.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from jobyard.engine.checkout import program
from jobyard.engine.errors import CannotStart
from jobyard.engine.supervisor.locks import is_locked, take_lock
from jobyard.engine.wire.run_dir import RunDir

LOCKS = 2
UNFIT_REMEDY = "make it a folder of yours, or set DATA_DIR to one that is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """A start that is using the folder; SIGTERM to its pid stops it."""

    who: str
    pid: int

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.who})"


class DataDir:
    """`DATA_DIR`, and the locks that this start holds on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_dir = RunDir(path)
        self._pid_path: Path | None = None
        self._locks: list[int] = []

    @property
    def is_taken(self) -> bool:
        """Whether this start holds its locks."""
        return len(self._locks) == LOCKS

    def make(self) -> None:
        """Create the folder and `run`, if missing; raises `CannotStart`."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.run_dir.make()
        except OSError as fault:
            raise self._unfit(fault) from fault

    def take(self, who: str, *, alone: bool) -> None:
        """Lock the folder until this process and all that inherit its descriptors end. Raises `CannotStart`, naming who uses it."""
        pid_path = self._path_of(who)
        try:
            self._locks.append(take_lock(self.path / "lock", shared=not alone))
            self._locks.append(take_lock(pid_path))
            self._pid_path = pid_path
            os.ftruncate(self._locks[-1], 0)
            os.write(self._locks[-1], f"{os.getpid()}\n".encode())
        except BlockingIOError:
            self._forget_locks()
            users = ", ".join(map(str, self.occupants())) or "another start that has just begun"
            raise CannotStart(
                f"DATA_DIR {self.path} is in use by {users}: stop it with {program('stop-all')}, or set DATA_DIR to another folder"
            ) from None
        except OSError as fault:
            self.release()
            raise self._unfit(fault) from fault
        if alone:
            self._remove_leftovers()

    def release(self) -> None:
        """Release the locks and remove the pid file."""
        if self._pid_path is not None:
            self._pid_path.unlink(missing_ok=True)
        self._forget_locks()

    def occupants(self) -> list[Occupant]:
        """The starts that are using the folder now."""
        found = [self._occupant(path) for path in sorted(self.run_dir.path.glob("*.pid"))]
        return [occupant for occupant in found if occupant is not None]

    def is_occupied_by(self, occupant: Occupant) -> bool:
        """Whether this start is still using the folder."""
        return self._occupant(self._path_of(occupant.who)) == occupant

    def _unfit(self, fault: OSError) -> CannotStart:
        is_full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "make room, or set DATA_DIR to another folder" if is_full else UNFIT_REMEDY
        return CannotStart(f"DATA_DIR {self.path} cannot be written ({fault.strerror}): {remedy}")

    def _forget_locks(self) -> None:
        while self._locks:
            os.close(self._locks.pop())

    def _path_of(self, who: str) -> Path:
        return self.run_dir.path / f"{who}.pid"

    def _occupant(self, path: Path) -> Occupant | None:
        try:
            text = path.read_text() if is_locked(path) else ""
        except OSError:
            return None
        return Occupant(who=path.stem, pid=int(text)) if text.strip().isdigit() else None

    def _remove_leftovers(self) -> None:
        """Remove the files of starts that were killed; this start holds the folder exclusively."""
        for suffix in ("sock", "hints", "pid", "spawn", "key"):
            for path in self.run_dir.path.glob(f"*.{suffix}"):
                if path != self._pid_path:
                    with contextlib.suppress(OSError):
                        path.unlink()
