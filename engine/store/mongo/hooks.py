"""Makes the jobs that deliver events to hooks: the change leaves its events as a mark in the document, from which they are made.

Their ids follow from the events, so however often they are made, each exists once. A process that dies before has left the mark,
which `mend` finds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from bson import ObjectId
from pymongo import UpdateOne

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.hooks.events import Event, GroupEnd, Missed, deliveries, events_of, missed_deliveries, missed_in, wanted_by
from jobyard.engine.hooks.hook import MISSED, Hook
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.schedules.look import Look
from jobyard.engine.store.mongo.documents import Document, document_to_job
from jobyard.engine.store.mongo.server import MongoServer
from jobyard.engine.store.named_port import NamedRows
from jobyard.engine.store.port import Insertion
from jobyard.engine.world import World

KNOWN_FOR_S = 1.0
"""While there are no hooks, a new one is heeded after so long; while there are some, at once."""

LEFT_BEHIND = timedelta(seconds=5)
A_MEND = 200
MARK = "hook_events"


class MongoHooks:
    """The hooks as one process sees them. `insert` stores jobs, each request for itself."""

    def __init__(
        self, server: MongoServer, rows: NamedRows, world: World, insert: Callable[[Sequence[Sequence[Job]]], list[Insertion]], *,
        group_end: GroupEnd,
    ) -> None:  # fmt: skip
        self._group_end = group_end
        self._server = server
        self._rows = rows
        self._world = world
        self._insert = insert
        self._hooks: list[Hook] = []
        self._read_at = float("-inf")

    def marks(self, changes: Sequence[Change]) -> list[Document]:
        """What each update leaves in its document besides, in order."""
        if not self._read():
            return [{} for _ in changes]
        wanted = wanted_by(self._hooks)
        return [_mark(events_of(change, wanted)) for change in changes]

    def tell(self, changes: Sequence[Change]) -> None:
        """These changes have been made. Never fails: what is not delivered here is found by its mark."""
        if not self._hooks:
            return
        with contextlib.suppress(StoreUnavailable):
            wanted = wanted_by(self._hooks)
            self._deliver([event for change in changes for event in events_of(change, wanted)])

    def missed_in(self, look: Look, now: datetime) -> list[Missed]:
        """What this look has missed, as far as any hook asks for it; to be left as a mark in the schedule."""
        return missed_in(look, now) if look.missed and MISSED in wanted_by(self._read()) else []

    def tell_missed(self, missed: Sequence[Missed]) -> None:
        """These marks are stored. Never fails, as `tell`."""
        if missed:
            with contextlib.suppress(StoreUnavailable):
                self._deliver_missed(missed)

    def mend(self, now: datetime) -> None:
        """Deliver what a process that died has left."""
        with self._server.call():
            left = {f"{MARK}.at": {"$lt": now - LEFT_BEHIND}}
            documents = list(self._server.jobs.find(left, {MARK: 1}).limit(A_MEND))
        if documents:
            self._read(anew=True)
            self._deliver([_event(str(document["_id"]), mark) for document in documents for mark in document[MARK]])
        with self._server.call():
            schedules = list(self._server.schedules.find(left, {MARK: 1}).limit(A_MEND))
        if schedules:
            self._read(anew=True)
            self._deliver_missed([Missed(schedule=one["_id"], **mark) for one in schedules for mark in one[MARK]])

    def _deliver_missed(self, missed: Sequence[Missed]) -> None:
        jobs = missed_deliveries(self._hooks, missed)
        if jobs:
            self._insert([[job] for job in jobs])
        done = [UpdateOne({"_id": one.schedule}, {"$pull": {MARK: {"at": one.at, "reason": one.reason}}}) for one in missed]
        with self._server.call(writes=True):
            self._server.schedules.bulk_write(done, ordered=False)

    def _deliver(self, events: Sequence[Event]) -> None:
        if not events:
            return
        ids = [ObjectId(event.job_id) for event in events]
        with self._server.call():
            found = {str(document["_id"]): document_to_job(document) for document in self._server.jobs.find({"_id": {"$in": ids}})}
        jobs = [
            job
            for event in events
            if event.job_id in found
            for job in deliveries(self._hooks, event, found[event.job_id], self._group_end)
        ]
        if jobs:
            self._insert([[job] for job in jobs])
        done = [UpdateOne({"_id": ObjectId(one.job_id)}, {"$pull": {MARK: {"epoch": one.epoch}}}) for one in events]
        with self._server.call(writes=True):
            self._server.jobs.bulk_write(done, ordered=False)

    def _read(self, *, anew: bool = False) -> list[Hook]:
        now = self._world.monotonic()
        if anew or self._hooks or now - self._read_at >= KNOWN_FOR_S:
            self._hooks = [_decode(row.body) for row in self._rows.all()]
            self._read_at = now
        return self._hooks


def missed_document(missed: Missed) -> Document:
    """Its mark in the document of its schedule."""
    document: dict[str, Any] = msgspec.structs.asdict(missed)
    del document["schedule"]
    return document


def _mark(events: Iterable[Event]) -> Document:
    marks = [_document(event) for event in events]
    return {"$push": {MARK: {"$each": marks}}} if marks else {}


def _document(event: Event) -> Document:
    document: dict[str, Any] = msgspec.structs.asdict(event)
    del document["job_id"]
    return {name: value for name, value in document.items() if value is not None}


def _event(job_id: str, mark: Document) -> Event:
    return Event(job_id=job_id, **mark)


_decode = msgspec.json.Decoder(Hook).decode
