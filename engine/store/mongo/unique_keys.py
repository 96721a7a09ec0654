"""Unique keys on MongoDB: who has them in `held_key`, and the guarded writes that take one away or bring a holder newer data.

A unique index on `held_key` decides between submitters; every write here is guarded by what was read, and is decided again when it
matches nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from bson import ObjectId
from pymongo.errors import BulkWriteError

from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.unique import Verdict, is_held
from jobyard.engine.store.mongo.documents import SMALL, STAGED, document_to_job, guard_of, update_of
from jobyard.engine.store.mongo.server import MongoServer
from jobyard.engine.store.unique_plan import Replacing

KEYS_A_QUESTION = 5_000


class Holder(NamedTuple):
    """The job that has a key; `batch` as long as its request is unfinished."""

    job_id: str
    job: Job | None
    batch: str | None


class Remembered(NamedTuple):
    """An idempotency key whose request was answered with another job, by its unique key."""

    key: str
    job_id: str
    digest: bytes | None
    verdict: Verdict


class MongoUniqueKeys:
    """The unique keys of one process."""

    def __init__(self, server: MongoServer) -> None:
        self._server = server

    def holders(self, keys: Iterable[str]) -> dict[str, Holder]:
        """The jobs that have these keys, by key."""
        found: dict[str, Holder] = {}
        listed = list(keys)
        for start in range(0, len(listed), KEYS_A_QUESTION):
            with self._server.call():
                for document in self._server.jobs.find({"held_key": {"$in": listed[start : start + KEYS_A_QUESTION]}}, SMALL):
                    is_staged = document["status"] == STAGED
                    job = None if is_staged else document_to_job(document)
                    found[document["held_key"]] = Holder(str(document["_id"]), job, document["batch"] if is_staged else None)
        return found

    def drop(self, holder: Job) -> None:
        """Take the key from a job that holds it no longer, or loses it."""
        with self._server.call(writes=True):
            self._server.jobs.update_one(
                {"_id": ObjectId(holder.job_id), "held_key": holder.held_key, "epoch": holder.epoch}, {"$unset": {"held_key": ""}}
            )  # fmt: skip

    def replace(self, replacing: Replacing) -> bool:
        """Bring the holder the newer data, if it is still as it was read and still has the key."""
        change = replacing.change()
        guard = guard_of(change) | {"held_key": replacing.holder.held_key}
        with self._server.call(writes=True):
            return bool(self._server.jobs.update_one(guard, update_of(change, ObjectId())).matched_count)

    def free(self, key: str, now: datetime) -> Job | None:
        """See `Store.free_key`."""
        holder = self.holders([key]).get(key)
        if holder is None or holder.job is None or is_held(holder.job, now):
            return None if holder is None else holder.job
        self.drop(holder.job)
        return None

    def remember(self, remembered: Sequence[Remembered]) -> None:
        """Remember the idempotency keys of such requests; one that is known already stays as it is."""
        documents = [
            {"_id": one.key, "job_id": one.job_id, "digest": one.digest, "is_replaced": one.verdict is Verdict.REPLACE}
            for one in remembered
        ]
        if documents:
            with self._server.call(writes=True), contextlib.suppress(BulkWriteError):
                self._server.remembered_keys.insert_many(documents, ordered=False)

    def remembered(self, keys: Sequence[str]) -> list[Remembered]:
        """Those of the idempotency keys that are remembered."""
        with self._server.call():
            return [
                Remembered(
                    found["_id"], found["job_id"], found.get("digest"), Verdict.REPLACE if found["is_replaced"] else Verdict.RETURN
                )
                for found in self._server.remembered_keys.find({"_id": {"$in": list(keys)}})
            ]
