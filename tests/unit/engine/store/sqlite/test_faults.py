"""Which of SQLite's errors end a process, and which only refuse a request."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from jobyard.engine.errors import StoreBroken, StoreUnavailable
from jobyard.engine.store.sqlite.engine import sqlite3
from jobyard.engine.store.sqlite.faults import told_plainly

IO_ERROR = sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (sqlite3.OperationalError("database or disk is full"), StoreUnavailable), (IO_ERROR, StoreBroken),
        (sqlite3.OperationalError("database is locked"), StoreUnavailable),
        (sqlite3.DatabaseError("database disk image is malformed"), StoreBroken),
    ],
)  # fmt: skip
def test_a_damaged_file_ends_the_process_and_a_full_or_locked_one_does_not(
    tmp_path: Path, fault: Exception, told: type[Exception]
) -> None:
    with pytest.raises(told), told_plainly(tmp_path):
        raise fault


@pytest.mark.parametrize(
    ("number", "told"), [(errno.EDQUOT, StoreUnavailable), (errno.ENOSPC, StoreUnavailable), (errno.EIO, StoreBroken)]
)
def test_a_quota_that_is_used_up_is_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, told: type[Exception]
) -> None:
    """SQLite reports it as an I/O error, and the disk itself may have room."""

    def refuse(*of: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)

    with pytest.raises(told), told_plainly(tmp_path):
        raise IO_ERROR
