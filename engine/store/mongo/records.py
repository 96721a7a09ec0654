"""Reads whole records from MongoDB for a migration (`databases.migration.Copyable`), in portions that fit in memory.

Jobs come from one cursor, a batch at a time. Their attempts are queried in portions small enough that each reply is small, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobyard.engine.jobs.job import Execution
from jobyard.engine.store.bounds import first_records
from jobyard.engine.store.mongo.documents import (
    HIDDEN,
    Document,
    cursor_of,
    document_to_execution,
    document_to_job,
    executions_in,
    past,
)
from jobyard.engine.store.mongo.outputs import MongoOutputs
from jobyard.engine.store.mongo.server import NEWEST_FIRST, MongoServer
from jobyard.engine.store.port import Record

ATTEMPTS_A_SHARE = 200
OLDEST_FIRST = [(name, -direction) for name, direction in NEWEST_FIRST]


class MongoRecords:
    """Record reads on one connection to the server."""

    def __init__(self, server: MongoServer, outputs: MongoOutputs) -> None:
        self._server = server
        self._outputs = outputs

    def read(self, *, after: str | None, limit: int, max_bytes: int) -> tuple[list[Record], str | None]:
        """See `Copyable.read_records`."""
        return first_records(self._all(after, limit, max_bytes), limit, max_bytes)

    def _all(self, after: str | None, limit: int, max_bytes: int) -> Iterator[tuple[Record, str]]:
        for share in self._shares(after, limit, max_bytes):
            yield from zip(self._whole(share), map(cursor_of, share), strict=True)

    def _shares(self, after: str | None, limit: int, max_bytes: int) -> Iterator[list[Document]]:
        share: list[Document] = []
        attempts = size = 0
        wanted = {"status": {"$nin": HIDDEN}} | past(after, "$gt")
        with self._server.call():
            for document in self._server.jobs.find(wanted).sort(OLDEST_FIRST).limit(limit).hint("newest"):
                share.append(document)
                attempts += 1 + document["attempt"]
                size += len(document["payload"]) + len(document.get("result", ""))
                if attempts >= ATTEMPTS_A_SHARE or size > max_bytes:
                    yield share
                    share, attempts, size = [], 0, 0
        if share:
            yield share

    def _whole(self, documents: Sequence[Document]) -> list[Record]:
        job_ids = [document["job_id"] for document in documents]
        with self._server.call():
            kept = list(self._server.executions.find({"job_id": {"$in": job_ids}}))
        in_jobs = [row for document in documents for row in executions_in(document)]
        rows = {row["_id"]: row for row in [*kept, *in_jobs]}
        executions: dict[str, list[Execution]] = {}
        for row in sorted(rows.values(), key=lambda row: row["attempt"]):
            executions.setdefault(row["job_id"], []).append(document_to_execution(row))
        outputs = self._outputs.of_many(job_ids)
        return [
            (document_to_job(document), executions.get(job_id, []), outputs.get(job_id, []))
            for document, job_id in zip(documents, job_ids, strict=True)
        ]
