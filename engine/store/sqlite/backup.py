"""Copies the database file as of one moment, whether or not Jobyard is running.

The copy is read in one transaction on a connection that cannot write, so no writer waits and no commit is copied in part. It is one
file without a log, checked and synced before it gets its name; to restore it, put it in the database's place.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from jobyard.engine.errors import CannotStart
from jobyard.engine.store.sqlite.engine import sqlite3

PATIENCE_S = 5.0
PART = ".part"


def back_up(path: Path, target: Path) -> int:
    """Copy the database to a file that must not exist yet; returns the number of jobs. Raises `CannotStart` and leaves no file."""
    if not path.is_file():
        raise CannotStart(f"there is no database at {path}")
    if target.exists():
        raise CannotStart(f"{target} already exists: name a new file")
    part = target.with_name(target.name + PART)
    try:
        jobs = _copy(path, part)
        _sync(part)
        os.link(part, target)  # unlike a rename, a link never replaces a file that appeared meanwhile
        _sync(target.parent)
        return jobs
    except (sqlite3.DatabaseError, OSError) as fault:
        raise CannotStart(f"the database {path} cannot be copied to {target}: {fault}") from fault
    finally:
        part.unlink(missing_ok=True)


def _copy(path: Path, part: Path) -> int:
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=PATIENCE_S)
    with contextlib.closing(source):
        source.execute("VACUUM INTO ?", (str(part),))
    copy = sqlite3.connect(f"{part.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    with contextlib.closing(copy):
        verdict = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise CannotStart(f"the database {path} is damaged ({' '.join(verdict.split())}): the copy was not kept")
        return int(copy.execute("SELECT count(*) FROM jobs").fetchone()[0])


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
