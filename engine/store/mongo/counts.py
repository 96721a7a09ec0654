"""Jobs by status without counting them: one document, moved along with every write that moved jobs.

A job and the counter are two documents, so a process that dies between the two leaves the counter wrong by what it had just
written, and so does a reply that is lost, or a new primary. Whoever knows of such a thing says so in the document (`is_unsure`),
and one process of each host then counts the jobs and compares. What is under way at that moment looks like a fault, so a
difference is made good only when two looks in a row see the same one and nobody moved the counter during either, or since.
So nobody looks while it moves; between looks that settle nothing the pauses double.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

from pymongo.errors import DuplicateKeyError

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs.job import Status
from jobyard.engine.store.mongo.documents import STATUSES
from jobyard.engine.store.mongo.server import COUNTS_ID, LIST_INDEXES, MongoServer

LOOK_MS = 5_000
LONGEST_PAUSE = 16

Deltas = Counter[str]


class MongoCounts:
    """One process's view of the counter."""

    def __init__(self, server: MongoServer) -> None:
        self._server = server
        self._told_losses = 0
        self._seen: Deltas | None = None
        self._is_doubted = True
        self._primary: object = None
        self._version: int | None = None
        self._pause = self._skip = 0

    def read(self) -> dict[Status, int]:
        """All seven."""
        with self._server.call():
            document = self._server.counts.find_one({"_id": COUNTS_ID}) or {}
        return {status: max(0, document.get(name, 0)) for name, status in STATUSES.items()}

    def move(self, deltas: Deltas) -> bool:
        """So many more (or fewer) of each. False: the database is away, and what was not written is counted anew by and by."""
        moved = {name: number for name, number in deltas.items() if number}
        losses = self._server.lost_writes
        if not moved and losses == self._told_losses:
            return True
        update: dict[str, Any] = {"$inc": {**moved, "version": 1}}
        if losses != self._told_losses:
            update["$set"] = {"is_unsure": True}
        try:
            with self._server.call(writes=True):
                self._server.counts.update_one({"_id": COUNTS_ID}, update, upsert=True)
            self._told_losses = losses
        except StoreUnavailable:
            self._server.lost_writes += 1
            return False
        return True

    def doubt(self) -> None:
        """Somebody cannot tell what it moved."""
        self._server.lost_writes += 1

    def mend(self, *, thorough: bool) -> None:
        """Called now and then: look, if there is reason to and it is time. `thorough`: there is."""
        self.move(Counter())  # tells of what was lost
        self._is_doubted = self._is_doubted or thorough or self._has_new_primary()
        if self._skip and not thorough:
            self._skip -= 1
            return
        with contextlib.suppress(StoreUnavailable):  # it takes too long, or the database is away: later
            before = self._document()
            is_quiet, self._version = before["version"] == self._version, before["version"]
            if thorough or (is_quiet and (self._is_doubted or before.get("is_unsure"))):
                self._look(before)
        self._skip = self._pause

    def _has_new_primary(self) -> bool:
        """The last moves may not have reached it, without a fault that anybody saw: they wait for no majority."""
        primary, before = self._server.primary(), self._primary
        self._primary = primary or before
        return before is not None and self._primary != before

    def _look(self, before: dict[str, Any]) -> None:
        self._pause = min(LONGEST_PAUSE, 2 * self._pause or 1)
        drift = Counter(self._counted())
        drift.subtract({name: before.get(name, 0) for name in STATUSES})
        drift = Counter({name: number for name, number in drift.items() if number})
        if self._document()["version"] != before["version"]:
            self._seen = None
        elif not drift or drift == self._seen:
            self._make_good(drift, before["version"])
        else:
            self._seen, self._pause = drift, 0

    def _document(self) -> dict[str, Any]:
        with self._server.call():
            return {"version": 0} | (self._server.counts.find_one({"_id": COUNTS_ID}) or {})

    def _counted(self) -> dict[str, int]:
        """From the index alone, a status at a time: what one question may take is enough for millions of one."""
        counted = {}
        for name in STATUSES:
            with self._server.call():
                counted[name] = self._server.jobs.count_documents({"status": name}, hint=LIST_INDEXES["status"], maxTimeMS=LOOK_MS)
        return counted

    def _make_good(self, drift: Deltas, version: int) -> None:
        """Unless somebody moves the counter just now."""
        unchanged = {"_id": COUNTS_ID, "version": version}
        update = {"$inc": {**drift, "version": 1}, "$unset": {"is_unsure": ""}}
        with self._server.call(writes=True), contextlib.suppress(DuplicateKeyError):
            done = self._server.counts.update_one(unchanged, update, upsert=version == 0)
            self._is_doubted = not (done.matched_count or done.upserted_id)
        self._seen, self._pause = None, 0
