"""Jobs by status without counting them: one document, moved along with every write that moved jobs.

A job and the counter are two documents, so a process that dies between the two leaves the counter wrong by what it had just
written. `check` finds that: it counts the jobs and compares. What is under way at that moment looks like a fault, so a
difference is made good only when two checks in a row see the same one and nobody moved the counter during either, or since.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

from pymongo.errors import DuplicateKeyError

from engine.errors import StoreUnavailable
from engine.job import Status
from engine.store.mongo_documents import STATUSES
from engine.store.mongo_server import COUNTS_ID, LIST_INDEXES, MongoServer

Deltas = Counter[str]


class MongoCounts:
    """One process's view of the counter, and what it could not write yet."""

    def __init__(self, server: MongoServer) -> None:
        self._server = server
        self._unsaved: Deltas = Counter()
        self._seen: Deltas | None = None
        self.is_checked = False

    def read(self) -> dict[Status, int]:
        """All seven."""
        with self._server.call():
            document = self._server.counts.find_one({"_id": COUNTS_ID}) or {}
        return {status: max(0, document.get(name, 0)) for name, status in STATUSES.items()}

    def move(self, deltas: Deltas) -> None:
        """So many more (or fewer) of each. Never fails: what cannot be written now is written with the next move."""
        self._unsaved.update(deltas)
        moved = {name: number for name, number in self._unsaved.items() if number}
        if not moved:
            return
        try:
            with self._server.call(writes=True):
                self._server.counts.update_one({"_id": COUNTS_ID}, {"$inc": {**moved, "version": 1}}, upsert=True)
        except StoreUnavailable as fault:
            self.is_checked = False
            if fault.may_be_stored:
                self._unsaved.clear()
            return
        self._unsaved.clear()

    def check(self) -> None:
        """One look; `is_checked` once there was nothing to make good."""
        before = self._document()
        drift = Counter(self._counted())
        drift.subtract({name: before.get(name, 0) for name in STATUSES})
        drift = Counter({name: number for name, number in drift.items() if number})
        if self._document()["version"] != before["version"]:
            self._seen = None
        elif not drift:
            self._seen, self.is_checked = None, True
        elif drift == self._seen:
            self._make_good(drift, before["version"])
        else:
            self._seen = drift

    def _document(self) -> dict[str, Any]:
        with self._server.call():
            return {"version": 0} | (self._server.counts.find_one({"_id": COUNTS_ID}) or {})

    def _counted(self) -> dict[str, int]:
        """From the index alone."""
        pipeline = [{"$group": {"_id": "$status", "jobs": {"$sum": 1}}}]
        with self._server.call():
            groups = self._server.jobs.aggregate(pipeline, hint=LIST_INDEXES["status"])
            return {group["_id"]: group["jobs"] for group in groups if group["_id"] in STATUSES}

    def _make_good(self, drift: Deltas, version: int) -> None:
        unchanged = {"_id": COUNTS_ID, "version": version}
        with self._server.call(writes=True), contextlib.suppress(DuplicateKeyError):
            self._server.counts.update_one(unchanged, {"$inc": {**drift, "version": 1}}, upsert=version == 0)
        self._seen = None
