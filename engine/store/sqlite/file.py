"""Prepares the database file at startup: creates a missing one, upgrades an older one, rejects an unsound one.

Done once, by a short-lived process, before anything else opens the file. An existing file is first examined on a connection that
cannot write: a rejected file (damaged, another program's, or from a newer Jobyard) and its log stay unchanged. A file is never
replaced by a new one.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jobyard.engine.errors import CannotStart
from jobyard.engine.jobs.error_kind import kind_of
from jobyard.engine.store.sqlite import statements
from jobyard.engine.store.sqlite.commit_lock import CommitLock
from jobyard.engine.store.sqlite.engine import sqlite3, words
from jobyard.engine.store.sqlite.faults import has_no_room, is_locked, is_not_writable
from jobyard.engine.store.sqlite.statements import split_script

VERSION = 3
MAGIC = b"SQLite format 3\0"
TABLES = frozenset({"jobs", "job_executions", "counts"})
SMALL_BYTES = 64 << 20
FOREIGN_LOCK_S = 5.0
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"})
MOUNTS = Path("/proc/mounts")
SCHEMA = Path(__file__).with_name("schema.sql")
UPGRADES = {version: Path(__file__).with_name(f"upgrade_{version}.sql") for version in range(2, VERSION + 1)}
"""For each version, the script that upgrades from the one before."""

Run = Callable[..., Any]


def prepare_file(path: Path, *, by_queue: bool = False, mounts: Path = MOUNTS, patience_s: float = FOREIGN_LOCK_S) -> str:
    """Create, upgrade or check the file; returns a description. Raises `CannotStart` with the remedy.

    `by_queue`: claims will be made for some queues only.
    """
    _refuse_network_file_systems(path, mounts)
    try:
        with contextlib.closing(CommitLock(path.with_name(path.name + "-lock"), lambda waits: None)) as lock, lock:
            _refuse_what_is_none(path)
            if _size(path):
                with _connection(path, "rw" if _size(path, "-journal") else "ro", patience_s) as run:
                    _look(run, path)
            with _connection(path, "rwc", patience_s) as run:
                path.chmod(0o600)
                _bring_forward(run)
                run(statements.MAKE_QUEUE_INDEX if by_queue else statements.DROP_QUEUE_INDEX)
    except sqlite3.DatabaseError as fault:
        raise _explained(path, fault) from fault
    except OSError as fault:
        raise CannotStart(f"the database {path} cannot be opened: {fault.strerror}; {_remedy(fault)}") from fault
    return words()


def examine_file(path: Path, *, mounts: Path = MOUNTS) -> str:
    """The same checks without creating or changing anything, even while Jobyard runs. Raises `CannotStart`."""
    _refuse_network_file_systems(path, mounts)
    try:
        _refuse_what_is_none(path)
        if not _size(path):
            return f"{words()}, no database yet"
        with _connection(path, "ro", FOREIGN_LOCK_S) as run:
            _look(run, path)
    except sqlite3.DatabaseError as fault:
        raise _explained(path, fault) from fault
    except OSError as fault:
        raise CannotStart(f"the database {path} cannot be opened: {fault.strerror}; {_remedy(fault)}") from fault
    looked = "schema and counts checked" if _size(path) > SMALL_BYTES else "fully checked"
    return f"{words()}, {_size(path) / 2**20:.1f} MiB, {looked}"


@contextlib.contextmanager
def _connection(path: Path, mode: str, patience_s: float) -> Iterator[Run]:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=patience_s)) as connection:
        connection.create_function("kind_of", 1, kind_of, deterministic=True)
        yield connection.execute


# ---- examining


def _refuse_what_is_none(path: Path) -> None:
    """Reject a lost file whose log remains, and a file of a few bytes: SQLite itself would create a new database in their place.

    A rollback journal remains only if a process was killed while creating the file; SQLite recovers from that.
    """
    if path.exists() and not path.is_file():
        raise CannotStart(f"the database {path} is not a file: move it away, or set DATA_DIR to another folder")
    if _size(path, "-wal") and not _size(path):
        raise CannotStart(f"the database {path} is missing or empty, but its log {path.name}-wal is not: restore a backup of both")
    if _size(path) and not _size(path, "-journal") and not _begins_with(path, MAGIC):
        raise CannotStart(f"the database {path} is not a database: restore a backup, or move the file away")


def _look(run: Run, path: Path) -> None:
    """Check the whole of a small file; of a large one, what every process needs."""
    version = run("PRAGMA user_version").fetchone()[0]
    tables = {name for (name,) in run("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not version and not tables:
        return  # a process was killed while creating it
    if not tables >= TABLES:
        raise CannotStart(f"the database {path} belongs to another program: set DATA_DIR to another folder")
    if version > VERSION:
        raise CannotStart(f"the database {path} is from a newer Jobyard (schema {version}, this one supports {VERSION}): upgrade")
    run("SELECT * FROM counts").fetchall()
    verdict = "ok" if _size(path) > SMALL_BYTES else run("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        told = " ".join(verdict.split())
        raise CannotStart(f"the database {path} is damaged ({told}): restore a backup, or move the file away")


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _size(path: Path, suffix: str = "") -> int:
    """The file's size; 0 if it does not exist."""
    try:
        return path.with_name(path.name + suffix).stat().st_size
    except FileNotFoundError:
        return 0


def _refuse_network_file_systems(path: Path, mounts: Path) -> None:
    """Reject network file systems, where file locks are unreliable (https://sqlite.org/wal.html: one host only)."""
    folder = str(path.parent.resolve())
    best, kind = "", ""
    with contextlib.suppress(OSError):
        for line in mounts.read_text().splitlines():
            _, mount, found_kind = line.split()[:3]
            if (folder == mount or folder.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
                best, kind = mount, found_kind
    if kind in NETWORK_FILE_SYSTEMS:
        raise CannotStart(f"DATA_DIR {folder} is on a network file system ({kind}), where SQLite is not safe: use a local disk")


# ---- creating


def _bring_forward(run: Run) -> None:
    """Initialize a new file, or upgrade an older one version by version, in one transaction."""
    run("PRAGMA journal_mode = WAL")
    version = run("PRAGMA user_version").fetchone()[0]
    if version == VERSION:
        return
    run("BEGIN IMMEDIATE")
    for script in [UPGRADES[to] for to in range(version + 1, VERSION + 1)] if version else [SCHEMA]:
        for statement in split_script(script.read_text("utf-8")):
            run(statement)
    run(f"PRAGMA user_version = {VERSION}")
    run("COMMIT")


# ---- error messages


def _explained(path: Path, fault: Exception) -> CannotStart:
    if is_locked(fault):
        return CannotStart(f"the database {path} is locked by another program: end that program first")
    if has_no_room(fault, path.parent):
        return CannotStart(f"the database {path} cannot be used: its disk is full; make room, or set DATA_DIR to another folder")
    if is_not_writable(fault):
        return CannotStart(f"the database {path} cannot be opened: {fault}; check DATA_DIR and its permissions")
    return CannotStart(f"the database {path} cannot be used: {fault}; restore a backup, or move the file away")


def _remedy(fault: OSError) -> str:
    return "make room" if fault.errno == errno.ENOSPC else "check DATA_DIR and its permissions"
