"""Copies the idempotency keys that lead to another job by its unique key; see `databases.migration.RememberedKeys`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from jobyard.engine.store.port import RememberedKey
from jobyard.engine.store.sqlite import rows, statements

Context = Callable[[], AbstractContextManager[None]]

READ = """
    SELECT idempotency_key, job_id, request_digest, is_replaced FROM remembered_keys
    WHERE idempotency_key > ? ORDER BY idempotency_key LIMIT ?
"""
MISSING = """
    SELECT value FROM json_each(?)
    WHERE NOT EXISTS (SELECT 1 FROM remembered_keys WHERE idempotency_key = value)
"""


class SqliteRememberedKeys:
    """`commit` opens a transaction, `reading` translates errors."""

    def __init__(self, connection: sqlite3.Connection, *, commit: Context, reading: Context) -> None:
        self._connection = connection
        self._commit = commit
        self._reading = reading

    def read(self, *, after: str, limit: int) -> list[RememberedKey]:
        """See `RememberedKeys`."""
        with self._reading():
            return [
                RememberedKey(key=key, job_id=job_id.hex(), digest=digest, is_replaced=bool(is_replaced))
                for key, job_id, digest, is_replaced in self._connection.execute(READ, (after, limit))
            ]

    def write(self, keys: Sequence[RememberedKey]) -> None:
        """See `RememberedKeys`."""
        values = [(one.key, rows.to_blob(one.job_id), one.digest, one.is_replaced) for one in keys]
        with self._commit():
            self._connection.executemany(statements.REMEMBER_KEY, values)

    def missing(self, keys: Sequence[str]) -> list[str]:
        """See `RememberedKeys`."""
        with self._reading():
            return [key for (key,) in self._connection.execute(MISSING, (json.dumps(keys),))]
