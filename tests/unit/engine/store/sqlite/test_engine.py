"""Which SQLite is used, and that an old one is told."""

from __future__ import annotations

import sqlite3 as standard

import pytest

from jobyard.engine.store.sqlite import engine as sqlite_engine
from jobyard.engine.store.sqlite.engine import SOUND_SINCE, words


def test_the_one_in_use_has_not_the_wal_reset_bug() -> None:
    assert sqlite_engine.sqlite3.sqlite_version_info >= SOUND_SINCE
    assert words() == f"SQLite {sqlite_engine.sqlite3.sqlite_version}"


def test_the_standard_one_is_used_where_it_is_sound() -> None:
    assert (sqlite_engine.sqlite3 is standard) == (standard.sqlite_version_info >= SOUND_SINCE)


@pytest.mark.parametrize("version", ["3.9.1", "3.51.2"])
def test_an_old_one_is_told_with_what_to_do(version: str) -> None:
    assert words(version) == f"SQLite {version} (has the WAL-reset bug; install pysqlite3)"


@pytest.mark.parametrize("version", ["3.51.3", "3.100.0", "4.0.0"])
def test_a_sound_one_is_told_by_its_version(version: str) -> None:
    assert words(version) == f"SQLite {version}"
