"""Limits on MongoDB: the definitions, and what is in use of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from pymongo.errors import DuplicateKeyError

from jobyard.engine.limits.limit import Limit, PartUsage, Usage
from jobyard.engine.limits.rules import (
    PartState,
    from_micros,
    is_implicit,
    limit_of,
    micros,
    next_token,
    partition_of,
)
from jobyard.engine.store.limit_port import MOST_PARTITIONS, WAITING_LOOK, PartHolders
from jobyard.engine.store.mongo.documents import Document
from jobyard.engine.store.mongo.lanes import PENDING, MongoLanes, limit_document, limit_from, state_of
from jobyard.engine.store.mongo.limit_upkeep import EPOCH, MongoLimitUpkeep
from jobyard.engine.store.mongo.server import MongoServer

MOST_LANES = 2_000


class MongoLimits:
    """See `LimitStore`."""

    effective_within_s = 1

    def __init__(self, server: MongoServer, lanes: MongoLanes) -> None:
        self._server = server
        self._lanes = lanes
        self._upkeep = MongoLimitUpkeep(server, lanes)

    def all(self) -> list[Limit]:
        """See `LimitStore`."""
        with self._server.call():
            return [limit_from(document) for document in self._server.limits.find().sort("_id", 1)]

    def find(self, name: str) -> Limit | None:
        """See `LimitStore`."""
        with self._server.call():
            document = self._server.limits.find_one({"_id": name})
        return None if document is None else limit_from(document)

    def save(self, limit: Limit, *, was: int | None) -> bool:
        """See `LimitStore`."""
        document = limit_document(limit)
        with self._server.call(writes=True):
            if was is not None:
                if not self._server.limits.replace_one({"_id": limit.name, "version": was}, document).matched_count:
                    return False
            else:
                try:
                    self._server.limits.insert_one(document)
                except DuplicateKeyError:
                    return False
        self._changed(limit.name, is_new=was is None)
        return True

    def delete(self, name: str) -> bool:
        """See `LimitStore`."""
        with self._server.call(writes=True):
            if not self._server.limits.delete_one({"_id": name}).deleted_count:
                return False
            self._server.parts.update_many(_parts_of(name), {"$set": {"tat": 0}})
            if is_implicit(name):
                self._server.parts.delete_many({"_id": name})
        self._changed(name, is_new=True)
        return True

    def _changed(self, name: str, *, is_new: bool) -> None:
        self._lanes.look(again=True)
        waits = {"$or": [{"blocked_on": f"={name}"}, _parts_of(name, "blocked_on")]}
        again = {"$set": {"ready_at": EPOCH}, "$unset": {"blocked_on": "", "blocked_at": ""}, "$inc": {"rev": 1}}
        with self._server.call(writes=True):
            self._server.lanes.update_many(waits, again)
        if is_new and is_implicit(name):
            self._upkeep.begin_relaning()
            self._upkeep.fill([name] if name in self._lanes.limits else [])

    def hold_parts(self, parts: Sequence[str], until: datetime) -> None:
        """See `LimitStore`."""
        for part in parts:
            new: Document = {"slots": [], "tat": 0}
            with self._server.call(writes=True):
                held = {"$max": {"hold_until": until}, "$setOnInsert": new}
                self._server.parts.update_one({"_id": part}, held, upsert=True)

    # ---- what is in use

    def usage(self, limit: Limit, *, now: datetime, is_whole: bool) -> Usage:
        """See `LimitStore`."""
        with self._server.call():
            parts = list(self._server.parts.find(_parts_of(limit.name)))
        states = {document["_id"]: state_of(document) for document in parts}
        waiting, is_exact = self._waiting(limit.name, now)
        next_at = {part: at for part, state in states.items() if (at := _next_at(limit, state.tat, now)) is not None}
        used = {part for part in {*states, *waiting} if waiting[part] or states.get(part, PartState()).running}
        fullest = sorted(used, key=lambda part: (-states.get(part, PartState()).running, -waiting[part], part))
        partitions = [
            PartUsage(
                partition=partition_of(part), running=states.get(part, PartState()).running, waiting=waiting[part],
                waiting_is_exact=is_exact, next_at=next_at.get(part),
            )
            for part in fullest[:MOST_PARTITIONS]
            if partition_of(part) is not None
        ]  # fmt: skip
        return Usage(
            running=sum(state.running for state in states.values()), waiting=min(WAITING_LOOK, waiting.total()),
            waiting_is_exact=is_exact, next_at=next_at.get(limit.name), partitions=tuple(partitions) if is_whole else (),
        )  # fmt: skip

    def _waiting(self, name: str, now: datetime) -> tuple[Counter[str], bool]:
        """The due jobs of each of the limit's parts, and whether these are all."""
        with self._server.call():
            lanes = {
                document["lane"]: [part for part in document["parts"] if limit_of(part) == name]
                for document in self._server.lanes.find(_parts_of(name, "parts"), {"lane": 1, "parts": 1}).limit(MOST_LANES + 1)
            }
            due = {"lane": {"$in": list(lanes)}, "status": PENDING, "scheduled_at": {"$lte": now}}
            found = list(self._server.jobs.find(due, {"lane": 1}).limit(WAITING_LOOK + 1)) if lanes else []
            waiting = Counter(part for document in found for part in lanes[document["lane"]])
        return waiting, len(lanes) <= MOST_LANES and waiting.total() <= WAITING_LOOK

    def parts(self, parts: Sequence[str]) -> Mapping[str, PartHolders]:
        """See `LimitStore`."""
        found = dict.fromkeys(parts, PartHolders(PartState(), ()))
        with self._server.call():
            for document in self._server.parts.find({"_id": {"$in": list(parts)}}):
                holders = tuple(slot["job_id"] for slot in document.get("slots", ())[:MOST_PARTITIONS])
                found[document["_id"]] = PartHolders(state_of(document), holders)
        return found

    # ---- upkeep

    def relane(self, *, now: datetime, limit: int) -> bool:
        """See `LimitStore`."""
        return self._upkeep.relane(now, limit)

    def tidy(self, *, now: datetime, limit: int) -> None:
        """See `LimitStore`."""
        self._upkeep.tidy(now, limit)


def _parts_of(name: str, field: str = "_id") -> Document:
    """The filter for a limit and its partitions."""
    whole: Document = {field: name}
    return whole if is_implicit(name) else {"$or": [whole, {field: {"$regex": f"^{re.escape(name)}/"}}]}


def _next_at(limit: Limit, tat: int, now: datetime) -> datetime | None:
    if limit.numbers.count is None:
        return None
    at = next_token(limit.numbers, tat, micros(now))
    return from_micros(at) if at > micros(now) else None
