"""Proofs that an owner is dead. A job is recovered only with such a proof. There are two kinds, files in `DATA_DIR/run`:

`<boot>.dead`: the boot's supervisor appends an owner's name after it has reaped the process and nothing of its group is left.
`<boot>.lock`: locked (flock) by the boot's supervisor and inherited by all its children. If the lock can be taken, or the file is
gone, every process of that boot is dead: the kernel releases the lock with the last of them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from jobyard.engine.jobs.owners import parse_owner
from jobyard.engine.supervisor.locks import is_locked, take_lock
from jobyard.engine.wire.run_dir import RunDir

KEPT_BOOTS = 20


class ProofsOfDeath:
    """The proofs of one data folder."""

    def __init__(self, run_dir: RunDir, *, boot: str, foreign_hosts: bool) -> None:
        """`foreign_hosts`: the store is shared, so a boot unknown to this folder may be running on another host."""
        self._run_dir = run_dir
        self._boot = boot
        self._foreign_hosts = foreign_hosts
        self._dead: dict[str, tuple[int, frozenset[str]]] = {}

    def hold(self) -> int:
        """Take this boot's lock, before the first fork; every child inherits the returned descriptor."""
        return take_lock(self._run_dir.path / f"{self._boot}.lock", wait=True)

    def record(self, owner: str) -> None:
        """Record a proof: the supervisor has reaped this owner, and its process group is empty. Raises `OSError` unless the whole
        line was written."""
        line = f"\n{owner}\n".encode()  # the leading newline ends a line that a full disk truncated
        fd = os.open(self._run_dir.path / f"{self._boot}.dead", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.write(fd, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)

    def proven(self, owners: Iterable[str]) -> list[str]:
        """The owners that are proven dead."""
        return [owner for owner in owners if self._is_dead(owner)]

    def is_ours(self, owner: str) -> bool:
        """Whether this owner belongs, or belonged, to this data folder."""
        boot = parse_owner(owner).boot
        return not self._foreign_hosts or boot == self._boot or (self._run_dir.path / f"{boot}.lock").exists()

    def others_live(self) -> bool:
        """Whether a process of another boot on this folder is still running."""
        return any(is_locked(path) for path in self._run_dir.path.glob("*.lock") if path.stem != self._boot)

    def forget_old_boots(self) -> None:
        """Remove the files of boots that have ended. Without other hosts, a boot without files counts as ended.

        With other hosts, the latest few lock files are kept, because they identify a boot as belonging to this folder.
        """
        paths = sorted(self._run_dir.path.glob("*.lock"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        kept = KEPT_BOOTS if self._foreign_hosts else 0
        for number, path in enumerate(path for path in paths if path.stem != self._boot):
            self._forget(path, keep_lock=number < kept)

    def remove_files(self) -> None:
        """Remove this boot's files after all of its processes have ended; a boot without files counts as ended."""
        (self._run_dir.path / f"{self._boot}.dead").unlink(missing_ok=True)
        if not self._foreign_hosts:
            (self._run_dir.path / f"{self._boot}.lock").unlink(missing_ok=True)

    def _forget(self, path: Path, *, keep_lock: bool) -> None:
        """Remove the files while holding the lock, so that a boot that is just starting cannot lose its file."""
        try:
            fd = take_lock(path, create=False)
        except OSError:
            return
        path.with_suffix(".dead").unlink(missing_ok=True)
        if not keep_lock:
            path.unlink(missing_ok=True)
        os.close(fd)

    def _is_dead(self, owner: str) -> bool:
        boot = parse_owner(owner).boot
        return owner in self._recorded(boot) or (boot != self._boot and self._boot_is_gone(boot))

    def _recorded(self, boot: str) -> frozenset[str]:
        path = self._run_dir.path / f"{boot}.dead"
        try:
            size = path.stat().st_size
            if self._dead.get(boot, (-1, None))[0] != size:
                self._dead[boot] = (size, frozenset(path.read_text().split("\n")[:-1]))
        except FileNotFoundError:
            return frozenset()
        return self._dead[boot][1]

    def _boot_is_gone(self, boot: str) -> bool:
        path = self._run_dir.path / f"{boot}.lock"
        return not is_locked(path) if path.exists() else not self._foreign_hosts
