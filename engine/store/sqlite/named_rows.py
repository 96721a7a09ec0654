"""Small tables of named rows on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from jobyard.engine.store.named_port import NamedRow

Context = Callable[[], AbstractContextManager[None]]


class SqliteNamedRows:
    """See `NamedRows`. `commit` opens a transaction, `reading` translates errors."""

    def __init__(
        self, run: Callable[..., Any], table: str, *, commit: Context, reading: Context, in_use: str | None = None
    ) -> None:  # fmt: skip
        """`in_use`: a query that has a row where the row of a name may not be deleted."""
        self._run = run
        self._commit = commit
        self._reading = reading
        self._in_use = in_use
        self._all = f"SELECT name, version, body FROM {table} ORDER BY name"
        self._find = f"SELECT name, version, body FROM {table} WHERE name = ?"
        self._insert = f"INSERT INTO {table} (name, version, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        self._update = f"UPDATE {table} SET version = ?, body = ? WHERE name = ? AND version = ?"
        self._delete = f"DELETE FROM {table} WHERE name = ?"

    def all(self) -> list[NamedRow]:
        """See `NamedRows`."""
        with self._reading():
            return [NamedRow(*row) for row in self._run(self._all)]

    def find(self, name: str) -> NamedRow | None:
        """See `NamedRows`."""
        with self._reading():
            row = self._run(self._find, (name,)).fetchone()
        return None if row is None else NamedRow(*row)

    def save(self, row: NamedRow, *, was: int | None) -> bool:
        """See `NamedRows`."""
        with self._commit():
            if was is None:
                return bool(self._run(self._insert, row).rowcount)
            return bool(self._run(self._update, (row.version, row.body, row.name, was)).rowcount)

    def delete(self, name: str) -> bool:
        """See `NamedRows`."""
        with self._commit():
            if self._in_use is not None and self._run(self._in_use, (name,)).fetchone() is not None:
                return False
            return bool(self._run(self._delete, (name,)).rowcount)
