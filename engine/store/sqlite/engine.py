"""Which SQLite is used: the standard library's where it is sound, else the one that comes with `pysqlite3`.

Versions 3.7.0 to 3.51.2 can lose a committed transaction when a checkpoint races a commit (the "WAL-reset" bug, fixed in 3.51.3:
https://sqlite.org/wal.html#walresetbug). Commits and checkpoints never overlap here anyhow; this is the second line.
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
    """The module searches each value that is bound for a way to adapt it, but for `int`, `float`, `str` and `bytearray`.

    For `None` and `bytes`, half of what a job consists of, the search takes a microsecond and finds none. So it is given one.
    """
    module.register_adapter(type(None), lambda nothing: None)
    module.register_adapter(bytes, bytearray)


sqlite3 = _choose()
_spare_the_search(sqlite3)


def is_sound(version: str = sqlite3.sqlite_version) -> bool:
    """Whether it is without that bug."""
    return tuple(map(int, version.split("."))) >= SOUND_SINCE


def words(version: str = sqlite3.sqlite_version) -> str:
    """`SQLite 3.53.4`, and what is to be said of an old one."""
    return f"SQLite {version}" + ("" if is_sound(version) else " (has the WAL-reset bug; install pysqlite3)")
