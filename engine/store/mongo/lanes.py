"""Jobs in lanes on MongoDB; see `store.sqlite.lanes`. A unique index on `slot` decides between claimers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from jobyard.engine.jobs.job import Status
from jobyard.engine.store.mongo.documents import Document
from jobyard.engine.store.mongo.server import MongoServer
from jobyard.engine.store.port import Served

LOOK = 2_000
FIELDS = ("task", "queue", "lane", "lane_priority", "scheduled_at", "slot", "attempt", "epoch")
PENDING = Status.PENDING.value


class MongoLanes:
    """The lanes as one process sees them."""

    def __init__(self, server: MongoServer) -> None:
        self._server = server

    def heads(self, served: Served, limits: Sequence[int]) -> list[Document]:
        """Of each lane the job that may be claimed next, by priority; only so many jobs are looked at."""
        wanted: Document = {"lane": {"$gt": ""}, "status": PENDING}
        wanted |= {"task": {"$in": list(served.tasks)}} if served.tasks is not None else {}
        wanted |= {"queue": {"$in": list(served.queues)}} if served.queues is not None else {}
        with self._server.call():
            order = [("lane", 1), ("scheduled_at", 1), ("_id", 1)]
            waiting = list(self._server.jobs.find(wanted, FIELDS).sort(order).hint("in_lanes").limit(LOOK))
            if not waiting:
                return []
            lanes = {document["lane"] for document in waiting}
            taken = {document["slot"] for document in self._server.jobs.find({"slot": {"$in": list(lanes)}}, {"slot": 1})}
        first: dict[str, Document] = {}
        for document in waiting:
            if document["lane"] not in taken or "slot" in document:
                first.setdefault(document["lane"], document)
        left = list(limits)
        found = []
        for document in sorted(first.values(), key=lambda one: (-one["lane_priority"], one["scheduled_at"], one["_id"])):
            if left[document["lane_priority"]] > 0:
                left[document["lane_priority"]] -= 1
                found.append(document)
        return found

    def claim(self, heads: Sequence[Document], update: Document) -> list[Document]:
        """Claim each; the documents of those that were won."""
        won = []
        for head in heads:
            guard = {"_id": head["_id"], "status": PENDING, "epoch": head["epoch"]}
            claimed = {"$set": {**update["$set"], "slot": head["lane"]}, "$inc": update["$inc"]}
            document = self._claim(guard, claimed)
            if document is not None:
                won.append(document)
        return won

    def _claim(self, guard: Document, update: Document) -> Document | None:
        with self._server.call(writes=True):
            try:
                return self._server.jobs.find_one_and_update(
                    guard, update, projection=FIELDS, return_document=ReturnDocument.AFTER
                )  # fmt: skip
            except DuplicateKeyError:  # another job of the lane has the slot
                return None

    def next_due(self, served: Served, limits: Sequence[int]) -> datetime | None:
        """When the first of the heads is due."""
        return min((head["scheduled_at"] for head in self.heads(served, limits)), default=None)
