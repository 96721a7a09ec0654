"""Makes the jobs that deliver events to hooks, in the transaction of the changes that are the events."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from jobyard.engine.hooks.events import GroupEnd, deliveries, events_of, missed_deliveries, missed_in, wanted_by
from jobyard.engine.hooks.hook import Hook
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.schedules.look import Look
from jobyard.engine.store.port import Insertion
from jobyard.engine.store.sqlite import rows, statements

VERSIONS = "SELECT name, version FROM hooks"
BODIES = "SELECT body FROM hooks ORDER BY name"


class SqliteHooks:
    """The hooks as one connection sees them. `insert` stores a job in the transaction."""

    def __init__(
        self, connection: sqlite3.Connection, insert: Callable[[Sequence[Job]], Insertion], *, group_end: GroupEnd
    ) -> None:  # fmt: skip
        self._connection = connection
        self._insert = insert
        self._group_end = group_end
        self._versions: list[tuple[str, int]] = []
        self._hooks: list[Hook] = []

    def tell(self, changes: Sequence[Change]) -> None:
        """These changes have been made in this transaction."""
        if not self._read():
            return
        wanted = wanted_by(self._hooks)
        for event in (event for change in changes for event in events_of(change, wanted)):
            row = self._connection.execute(statements.find(1, True), (rows.to_blob(event.job_id),)).fetchone()
            for job in [] if row is None else deliveries(self._hooks, event, rows.row_to_job(row), self._group_end):
                self._insert([job])

    def tell_missed(self, look: Look, now: datetime) -> None:
        """What this look has missed, in this transaction."""
        for job in missed_deliveries(self._hooks, missed_in(look, now)) if look.missed and self._read() else []:
            self._insert([job])

    def _read(self) -> list[Hook]:
        versions = self._connection.execute(VERSIONS).fetchall()
        if versions != self._versions:
            self._hooks = [_decode(body) for (body,) in self._connection.execute(BODIES)]
            self._versions = versions
        return self._hooks


_decode = msgspec.json.Decoder(Hook).decode
