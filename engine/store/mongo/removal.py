"""Removes jobs from MongoDB with all that is stored about them.

A job is first marked, in one guarded write. So one that is half removed when its process dies is no longer visible, gives back what
it held, and is removed later.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from bson import ObjectId

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.lifecycle import is_terminal
from jobyard.engine.store.mongo.counts import MongoCounts
from jobyard.engine.store.mongo.documents import PURGED, Document
from jobyard.engine.store.mongo.outputs import MongoOutputs
from jobyard.engine.store.mongo.server import MongoServer
from jobyard.engine.store.mongo.workflows import MongoWorkflows

GIVEN_BACK = ("idempotency_key", "finished_at", "held_key", "fire_at", "tags", "error_kind")
"""What a marked job no longer has: its keys, and its places in the partial indexes."""


class MongoRemoval:
    """On one connection to the server."""

    def __init__(self, server: MongoServer, counts: MongoCounts, outputs: MongoOutputs, workflows: MongoWorkflows) -> None:
        self._server = server
        self._workflows = workflows
        self._counts = counts
        self._outputs = outputs

    def purge(self, before: datetime, limit: int, statuses: Sequence[Status]) -> int:
        """See `Store.purge`."""
        marked = 0
        for status in statuses:
            marked += self._mark_old(before, limit - marked, status) if marked < limit else 0
        with self._server.call(writes=True):
            gone = [document["_id"] for document in self._server.jobs.find({"status": PURGED}, {"_id": 1}).limit(limit)]
            self._remove(gone)
        return marked

    def _mark_old(self, before: datetime, limit: int, status: Status) -> int:
        holds_none = [{"held_key": None}, {"held_until": {"$lt": before}}]
        old = {"finished_at": {"$lt": before}, "status": status.value, "$or": holds_none}
        with self._server.call():
            old_ones = self._server.jobs.find(old, {"is_awaited": 1, "group": 1}).sort("finished_at", 1)
            found = [document["_id"] for document in itertools.islice(self._workflows.unread(old_ones), limit)]
        return len(self._mark({"_id": {"$in": found}, **old}, dict.fromkeys(found, status.value)))

    def delete(self, jobs: Sequence[Job]) -> list[bool]:
        """See `Store.delete`."""
        ended = [job for job in jobs if is_terminal(job) and (job.is_awaited is None or self._workflows.reader(job) is None)]
        same = [{"_id": ObjectId(job.job_id), "status": job.status.value, "epoch": job.epoch} for job in ended]
        statuses = {ObjectId(job.job_id): job.status.value for job in ended}
        gone = self._mark({"$or": same}, statuses)
        with self._server.call(writes=True):
            self._remove(gone)
        return [ObjectId(job.job_id) in set(gone) for job in jobs]

    def _mark(self, wanted: Document, statuses: Mapping[ObjectId, str]) -> list[ObjectId]:
        """Mark these jobs where they are still as wanted; those that were. `statuses`: of all of them."""
        if not statuses:
            return []
        stamp = ObjectId()
        change = {"$set": {"status": PURGED, "stamp": stamp}, "$unset": dict.fromkeys(GIVEN_BACK, "")}
        marked = list(statuses)
        with self._server.call(writes=True):
            number = self._server.jobs.update_many(wanted, change).modified_count
            if number < len(marked):
                marked = [d["_id"] for d in self._server.jobs.find({"_id": {"$in": marked}, "stamp": stamp}, {"_id": 1})]
        if len(marked) < number:  # another process that purges has removed some since
            self._counts.doubt()
        self._counts.move(Counter({name: -n for name, n in Counter(statuses[job_id] for job_id in marked).items()}))
        return marked

    def _remove(self, gone: Sequence[ObjectId]) -> None:
        """Remove marked jobs for good, last of all the job itself."""
        if gone:
            ids = [str(job_id) for job_id in gone]
            self._server.executions.delete_many({"job_id": {"$in": ids}})
            self._outputs.remove(ids)
            self._server.remembered_keys.delete_many({"job_id": {"$in": ids}})
            self._server.jobs.delete_many({"_id": {"$in": list(gone)}, "status": PURGED})
