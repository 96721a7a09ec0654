"""Selects the SQLite library: the standard library's if it is sound, otherwise that of `pysqlite3`.

Versions 3.7.0 to 3.51.2 can lose a committed transaction when a checkpoint races a commit (the "WAL-reset" bug, fixed in 3.51.3:
https://sqlite.org/wal.html#walresetbug). Commits and checkpoints never overlap here anyway; this is a second safeguard.
"""

from __future__ import annotations

import importlib
import sqlite3 as standard
from types import ModuleType

SOUND_SINCE = (3, 51, 3)


def _choose() -> ModuleType:
    if standard.sqlite_version_info >= SOUND_SINCE:
        return standard
    try:
        return importlib.import_module("pysqlite3.dbapi2")
    except ImportError:
        return standard


def _spare_the_search(module: ModuleType) -> None:
    """Register trivial adapters. `sqlite3` looks for an adapter for each bound value except `int`, `float`, `str` and `bytearray`.

    For `None` and `bytes`, half of a job's values, that search takes a microsecond and finds nothing; an adapter ends it early.
    """
    module.register_adapter(type(None), lambda nothing: None)
    module.register_adapter(bytes, bytearray)


sqlite3 = _choose()
_spare_the_search(sqlite3)


def is_sound(version: str = sqlite3.sqlite_version) -> bool:
    """Whether the version is free of that bug."""
    return tuple(map(int, version.split("."))) >= SOUND_SINCE


def words(version: str = sqlite3.sqlite_version) -> str:
    """The version as `SQLite 3.53.4`, with a warning if it is not sound."""
    return f"SQLite {version}" + ("" if is_sound(version) else " (has the WAL-reset bug; install pysqlite3)")
