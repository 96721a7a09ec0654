"""Makes the jobs that deliver events to hooks, in the transaction of the changes that are the events."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from jobyard.engine.hooks.events import deliveries, events_of
from jobyard.engine.hooks.hook import Hook
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.store.port import Insertion
from jobyard.engine.store.sqlite import rows, statements

VERSIONS = "SELECT name, version FROM hooks"
BODIES = "SELECT body FROM hooks ORDER BY name"


class SqliteHooks:
    """The hooks as one connection sees them. `insert` stores a job in the transaction."""

    def __init__(self, connection: sqlite3.Connection, insert: Callable[[Sequence[Job]], Insertion]) -> None:
        self._connection = connection
        self._insert = insert
        self._versions: list[tuple[str, int]] = []
        self._hooks: list[Hook] = []

    def tell(self, changes: Sequence[Change]) -> None:
        """These changes have been made in this transaction."""
        if not self._read():
            return
        for event in (event for change in changes for event in events_of(change)):
            row = self._connection.execute(statements.find(1, True), (rows.to_blob(event.job_id),)).fetchone()
            for job in [] if row is None else deliveries(self._hooks, event, rows.row_to_job(row)):
                self._insert([job])

    def _read(self) -> list[Hook]:
        versions = self._connection.execute(VERSIONS).fetchall()
        if versions != self._versions:
            self._hooks = [_decode(body) for (body,) in self._connection.execute(BODIES)]
            self._versions = versions
        return self._hooks


_decode = msgspec.json.Decoder(Hook).decode
