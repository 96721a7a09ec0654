"""Jobs by status without counting them: one document, updated with every write that moves jobs.

A job and the counter are two documents, so the counter becomes wrong if a process dies between the two writes, if a reply is lost,
or if a new primary takes over. A process that notices sets `is_unsure` in the document, and one process of each host then counts
the jobs and compares. Writes in progress look like errors too, so a difference is corrected only if two counts in a row agree on it
and no one moved the counter during either or since. So no one counts while it moves; after inconclusive counts the pauses double.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs.job import Status
from jobyard.engine.store.mongo.documents import STATUSES
from jobyard.engine.store.mongo.server import COUNTS_ID, LIST_INDEXES, MongoServer

LOOK_MS = 5_000
LONGEST_PAUSE = 16

Deltas = Counter[str]


class MongoCounts:
    """One process's access to the counter."""

    def __init__(self, server: MongoServer) -> None:
        self._server = server
        self._told_losses = 0
        self.blocked = 1
        """How many jobs were blocked after the last move; at least one, as far as this process knows, before the first."""
        self._seen: Deltas | None = None
        self._is_doubted = True
        self._primary: object = None
        self._version: int | None = None
        self._pause = self._skip = 0

    def read(self) -> dict[Status, int]:
        """All eight."""
        with self._server.call():
            document = self._server.counts.find_one({"_id": COUNTS_ID}) or {}
        return {status: max(0, document.get(name, 0)) for name, status in STATUSES.items()}

    def move(self, deltas: Deltas) -> bool:
        """Add the deltas. False: the database is unreachable, and what was not written is recounted later."""
        moved = {name: number for name, number in deltas.items() if number}
        losses = self._server.lost_writes
        if not moved and losses == self._told_losses:
            return True
        update: dict[str, Any] = {"$inc": {**moved, "version": 1}}
        if losses != self._told_losses:
            update["$set"] = {"is_unsure": True}
        try:
            with self._server.call(writes=True):
                after = self._server.counts.find_one_and_update(
                    {"_id": COUNTS_ID}, update, {"blocked": 1}, upsert=True, return_document=ReturnDocument.AFTER
                )  # fmt: skip
            self.blocked = (after or {}).get("blocked", 0)
            self._told_losses = losses
        except StoreUnavailable:
            self._server.lost_writes += 1
            return False
        return True

    def doubt(self) -> None:
        """Mark the counter as unsure: some process cannot tell what it moved."""
        self._server.lost_writes += 1

    def mend(self, *, thorough: bool) -> None:
        """Called periodically: recount if there is a reason to and it is time. `thorough` is a reason."""
        self.move(Counter())  # writes a pending doubt
        self._is_doubted = self._is_doubted or thorough or self._has_new_primary()
        if self._skip and not thorough:
            self._skip -= 1
            return
        with contextlib.suppress(StoreUnavailable):  # the count takes too long or the database is unreachable: try later
            before = self._document()
            is_quiet, self._version = before["version"] == self._version, before["version"]
            if thorough or (is_quiet and (self._is_doubted or before.get("is_unsure"))):
                self._look(before)
        self._skip = self._pause

    def _has_new_primary(self) -> bool:
        """The last moves may not have reached a new primary, without any visible error, since they do not wait for a majority."""
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
        """Counted in the index alone, one status at a time, so that millions of one status stay within the query's time limit."""
        counted = {}
        for name in STATUSES:
            with self._server.call():
                counted[name] = self._server.jobs.count_documents({"status": name}, hint=LIST_INDEXES["status"], maxTimeMS=LOOK_MS)
        return counted

    def _make_good(self, drift: Deltas, version: int) -> None:
        """Correct the counter, unless another process is moving it."""
        unchanged = {"_id": COUNTS_ID, "version": version}
        update = {"$inc": {**drift, "version": 1}, "$unset": {"is_unsure": ""}}
        with self._server.call(writes=True), contextlib.suppress(DuplicateKeyError):
            done = self._server.counts.update_one(unchanged, update, upsert=version == 0)
            self._is_doubted = not (done.matched_count or done.upserted_id)
        self._seen, self._pause = None, 0
