"""Attempts' outputs on MongoDB: one document per attempt that printed anything, identified by its execution's id.

It is written just before the attempt's end is. A process that dies between the two leaves the output of a lost attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pymongo import ReplaceOne

from jobyard.engine.jobs.job import Output, Progress
from jobyard.engine.jobs.lifecycle import execution_id
from jobyard.engine.store.bounds import UNBOUNDED, latest_outputs
from jobyard.engine.store.mongo.server import MongoServer

Document = dict[str, Any]


class MongoOutputs:
    """One process's access to the collection."""

    def __init__(self, server: MongoServer) -> None:
        self._server = server

    def write(self, outputs: Sequence[Output]) -> None:
        """Store the outputs; storing the same ones again changes nothing."""
        if outputs:
            documents = map(_to_document, outputs)
            with self._server.call():
                replacements = [ReplaceOne({"_id": document["_id"]}, document, upsert=True) for document in documents]
                self._server.outputs.bulk_write(replacements, ordered=False)

    def drop(self, output: Output) -> None:
        """Remove one output."""
        with self._server.call():
            self._server.outputs.delete_one({"_id": execution_id(output.job_id, output.attempt)})

    def read(self, job_id: str, max_bytes: int) -> list[Output]:
        """See `Store.outputs`."""
        with self._server.call():
            return latest_outputs(map(_to_output, self._server.outputs.find({"job_id": job_id}).sort("attempt", -1)), max_bytes)

    def of_many(self, job_ids: Sequence[str]) -> dict[str, list[Output]]:
        """All outputs of these jobs, oldest first."""
        found: dict[str, list[Output]] = {}
        with self._server.call():
            documents = list(self._server.outputs.find({"job_id": {"$in": list(job_ids)}}))
        for output in latest_outputs(sorted(map(_to_output, documents), key=lambda one: -one.attempt), UNBOUNDED):
            found.setdefault(output.job_id, []).append(output)
        return found

    def remove(self, job_ids: Iterable[str]) -> None:
        """Remove the outputs of removed jobs; runs inside the caller's `MongoServer.call`."""
        self._server.outputs.delete_many({"job_id": {"$in": list(job_ids)}})


def _to_document(output: Output) -> Document:
    document: Document = {
        "_id": execution_id(output.job_id, output.attempt), "job_id": output.job_id, "attempt": output.attempt,
        "output": output.text, "is_cut": output.is_cut,
    }  # fmt: skip
    told = output.progress
    return document | ({"progress": {"fraction": told.fraction, "note": told.note, "at": told.at}} if told is not None else {})


def _to_output(document: Mapping[str, Any]) -> Output:
    told = document.get("progress")
    return Output(
        job_id=document["job_id"], attempt=document["attempt"], text=document["output"], is_cut=document["is_cut"],
        progress=Progress(**told) if told else None,
    )  # fmt: skip
