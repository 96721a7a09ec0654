"""The database file at start: made when there is none, brought forward when it is older, refused when it is not sound.

Done once, by a short-lived process, before anything else opens the file. Never is a damaged file replaced by a new one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import CannotStart
from engine.store.commit_lock import CommitLock
from engine.store.sqlite_engine import sqlite3, words
from engine.store.statements import split_script

VERSION = 1
SMALL_BYTES = 64 << 20
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"})
SCHEMA = Path(__file__).with_name("schema.sql")


def prepare_file(path: Path) -> str:
    """Make, migrate or check it; what it is, in words. Raises `CannotStart` with the remedy."""
    _refuse_network_file_systems(path)
    is_new = not path.exists() or path.stat().st_size == 0
    lock = CommitLock(path.with_name(path.name + "-lock"), lambda waits: None)
    try:
        with lock, contextlib.closing(sqlite3.connect(str(path), isolation_level=None, timeout=5)) as connection:
            path.chmod(0o600)
            run = connection.execute
            run("PRAGMA journal_mode = WAL")
            _migrate(run, path, is_new)
            if not is_new:
                _check(run, path)
    except sqlite3.DatabaseError as fault:
        raise CannotStart(f"the database {path} cannot be used: {fault}; restore a backup, or move the file away") from fault
    except OSError as fault:
        raise CannotStart(f"the database {path} cannot be opened: {fault.strerror}; check DATA_DIR and its permissions") from fault
    finally:
        lock.close()
    return words()


def _migrate(run: Callable[..., Any], path: Path, is_new: bool) -> None:
    """Forward, step by step, in one transaction."""
    version = run("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise CannotStart(f"the database {path} is a newer Jobyard's (schema {version}, this one knows {VERSION}): upgrade")
    if version == 0 and not is_new and run("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        raise CannotStart(f"the database {path} is another program's: set DATA_DIR to another folder")
    run("BEGIN IMMEDIATE")
    for step in MIGRATIONS[version:]:
        for statement in split_script(step()):
            run(statement)
    run(f"PRAGMA user_version = {VERSION}")
    run("COMMIT")


MIGRATIONS: tuple[Callable[[], str], ...] = (lambda: SCHEMA.read_text("utf-8"),)
"""From version n to n + 1."""


def _check(run: Callable[..., Any], path: Path) -> None:
    """The whole file when it is small; of a large one what every process needs."""
    if path.stat().st_size > SMALL_BYTES:
        run("SELECT * FROM counts").fetchall()
        return
    verdict = run("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise CannotStart(f"the database {path} is damaged ({verdict}): restore a backup, or move the file away")


def _refuse_network_file_systems(path: Path) -> None:
    """File locks do not hold there (https://sqlite.org/wal.html: all processes must be on one host)."""
    folder = str(path.parent.resolve())
    best, kind = "", ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, mount, found_kind = line.split()[:3]
            if (folder == mount or folder.startswith(mount.rstrip("/") + "/")) and len(mount) >= len(best):
                best, kind = mount, found_kind
    if kind in NETWORK_FILE_SYSTEMS:
        raise CannotStart(f"DATA_DIR {folder} is on a network file system ({kind}), where SQLite is not safe: use a local disk")
