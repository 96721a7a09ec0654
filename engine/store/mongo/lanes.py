"""Jobs in lanes on MongoDB; see `store.sqlite.lanes`. A unique index on `slot` decides between claimers."""

from __future__ import annotations

from datetime import datetime, timedelta

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from jobyard.engine.jobs.job import Status
from jobyard.engine.store.mongo.documents import Document
from jobyard.engine.store.mongo.server import MongoServer
from jobyard.engine.store.port import Served

LOOK = 2_000
EMPTY_FOR = timedelta(seconds=0.5)
FIELDS = ("task", "lane", "lane_priority", "scheduled_at", "slot", "lost_count", "epoch")
PENDING = Status.PENDING.value


class MongoLanes:
    """The lanes as one process sees them."""

    def __init__(self, server: MongoServer) -> None:
        self._server = server
        self._empty_at: datetime | None = None

    def were_empty(self, now: datetime) -> bool:
        """Whether no job was in any lane when a claim looked, just before: then a claim that finds other jobs need not ask."""
        return self._empty_at is not None and timedelta() <= now - self._empty_at < EMPTY_FOR

    def heads(self, served: Served, now: datetime | None = None) -> list[Document]:
        """Of each lane the job that may be claimed next, by priority; only so many jobs are looked at. `now`: of a claim."""
        wanted: Document = {"lane": {"$gt": ""}, "status": PENDING}
        wanted |= {"task": {"$in": list(served.tasks)}} if served.tasks is not None else {}
        wanted |= {"queue": {"$in": list(served.queues)}} if served.queues is not None else {}
        with self._server.call():
            order = [("lane", 1), ("scheduled_at", 1), ("_id", 1)]
            waiting = list(self._server.jobs.find(wanted, FIELDS).sort(order).hint("in_lanes").limit(LOOK))
            self._empty_at = None if waiting else now or self._empty_at
            if not waiting:
                return []
            lanes = {document["lane"] for document in waiting}
            taken = {document["slot"] for document in self._server.jobs.find({"slot": {"$in": list(lanes)}}, {"slot": 1})}
        first: dict[str, Document] = {}
        for document in waiting:
            if document["lane"] not in taken or "slot" in document:
                first.setdefault(document["lane"], document)
        return sorted(first.values(), key=lambda one: (-one["lane_priority"], one["scheduled_at"], one["_id"]))

    def claim(self, head: Document, update: Document) -> Document | None:
        """Claim one and give it its slot; its document, or None if somebody else was first."""
        guard = {"_id": head["_id"], "status": PENDING, "epoch": head["epoch"]}
        taken = {**update, "$set": {**update["$set"], "slot": head["lane"]}}
        with self._server.call(writes=True):
            try:
                return self._server.jobs.find_one_and_update(guard, taken, return_document=ReturnDocument.AFTER)
            except DuplicateKeyError:  # another job of the lane has the slot
                return None

    def next_due(self, served: Served) -> datetime | None:
        """When the first of the heads is due."""
        return min((head["scheduled_at"] for head in self.heads(served)), default=None)
