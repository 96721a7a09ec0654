"""Copies the idempotency keys that lead to another job by its unique key; see `databases.migration.RememberedKeys`."""

from __future__ import annotations

from collections.abc import Sequence

from jobyard.engine.jobs.unique import Verdict
from jobyard.engine.store.mongo.server import MongoServer
from jobyard.engine.store.mongo.unique_keys import MongoUniqueKeys, Remembered
from jobyard.engine.store.port import RememberedKey


class MongoRememberedKeys:
    """The keys on one connection to the server."""

    def __init__(self, server: MongoServer) -> None:
        self._server = server
        self._keys = MongoUniqueKeys(server)

    def read(self, *, after: str, limit: int) -> list[RememberedKey]:
        """See `RememberedKeys`."""
        with self._server.call():
            found = list(self._server.remembered_keys.find({"_id": {"$gt": after}}).sort("_id", 1).limit(limit))
        return [
            RememberedKey(key=one["_id"], job_id=one["job_id"], digest=one.get("digest"), is_replaced=one["is_replaced"])
            for one in found
        ]

    def write(self, keys: Sequence[RememberedKey]) -> None:
        """See `RememberedKeys`."""
        verdict = {True: Verdict.REPLACE, False: Verdict.RETURN}
        self._keys.remember([Remembered(one.key, one.job_id, one.digest, verdict[one.is_replaced]) for one in keys])

    def missing(self, keys: Sequence[str]) -> list[str]:
        """See `RememberedKeys`."""
        there = {one.key for one in self._keys.remembered(keys)}
        return [key for key in keys if key not in there]
