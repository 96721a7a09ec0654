"""Limits on MongoDB: the definitions, what is in use of them, and the upkeep of lanes and slots."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from jobyard.engine.jobs.job import Status
from jobyard.engine.jobs.lifecycle import TERMINAL
from jobyard.engine.limits.limit import Limit, PartUsage, Usage
from jobyard.engine.limits.rules import (
    QUEUE,
    TASK,
    PartState,
    from_micros,
    is_implicit,
    is_kept,
    limit_of,
    micros,
    next_token,
    obstacle,
    partition_of,
)
from jobyard.engine.store.limit_port import MOST_PARTITIONS, WAITING_LOOK, PartHolders
from jobyard.engine.store.mongo.documents import Document
from jobyard.engine.store.mongo.lanes import LANE_FIELDS, PENDING, MongoLanes, limit_document, limit_from, slot_key, state_of
from jobyard.engine.store.mongo.server import MongoServer

EPOCH = datetime.min.replace(year=1970)
IN_DOUBT_FOR = timedelta(seconds=1)
"""A slot whose job has not begun may be that of a begin under way."""
RELANED_AGAIN = timedelta(seconds=2)
"""A pass over the pending jobs goes on so long after the limit was made, since others may not have known of it yet."""
CLOCK_SLACK = timedelta(seconds=1)
MOST_LANES = 2_000
LANES_ID = "lanes"
RUNNING = Status.RUNNING.value
ENDED = [status.value for status in TERMINAL]


class MongoLimits:
    """See `LimitStore`."""

    effective_within_s = 1

    def __init__(self, server: MongoServer, lanes: MongoLanes) -> None:
        self._server = server
        self._lanes = lanes
        self._after = ""
        self._tidied_at: datetime | None = None
        self._passed: tuple[datetime, ObjectId] | None = None

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
                anew = {"$set": {"since": None, "at": None, "id": None}}
                self._server.limit_state.update_one({"_id": LANES_ID}, anew, upsert=True)
        if is_new and name in self._lanes.limits and is_implicit(name):
            self._fill([name], EPOCH)

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
        with self._server.call():
            state = self._server.limit_state.find_one({"_id": LANES_ID})
        if state is None:
            return False
        self._lanes.look()
        place = None if state.get("id") is None else (state["at"], state["id"])
        place, is_over = self._pass(place, limit)
        since = state.get("since") or now
        with self._server.call(writes=True):
            if is_over and now - since >= RELANED_AGAIN:
                self._server.limit_state.delete_one({"_id": LANES_ID, "since": since})
                return False
            at, last = (None, None) if place is None else place
            changed = {"since": since, "at": at, "id": last}
            self._server.limit_state.update_one({"_id": LANES_ID, "since": state.get("since")}, {"$set": changed})
        return not is_over

    def _pass(self, place: tuple[datetime, ObjectId] | None, limit: int) -> tuple[tuple[datetime, ObjectId] | None, bool]:
        """Give some pending jobs their lanes, in the order of creation; where it stopped, and whether that was the end."""
        wanted: Document = {"status": PENDING}
        if place is not None:
            at, last = place
            wanted |= {"created_at": {"$gte": at}, "$or": [{"created_at": {"$gt": at}}, {"created_at": at, "_id": {"$gt": last}}]}
        with self._server.call():
            order = [("created_at", 1), ("_id", 1)]
            found = list(self._server.jobs.find(wanted, {**LANE_FIELDS, "created_at": 1}).sort(order).limit(limit))
        wrong = [document for document in found if self._is_misplaced(document)]
        self._lanes.place(wrong)
        if not found:
            return place, True
        return (found[-1]["created_at"], found[-1]["_id"]), len(found) < limit

    def _is_misplaced(self, document: Document) -> bool:
        names = (QUEUE + document["queue"], TASK + document["task"], "*")
        lane = document.get("lane", "[]")
        return any((f'"{name}"' in lane) != (name in self._lanes.implicit) for name in names)

    def tidy(self, *, now: datetime, limit: int) -> None:
        """See `LimitStore`. Also finds slots that a death left without a running job."""
        self._lanes.look()
        if self._tidied_at is not None and now < self._tidied_at - CLOCK_SLACK:  # nobody waits for the time that it was before
            with self._server.call(writes=True):
                self._server.lanes.update_many({"ready_at": {"$gt": now}}, {"$set": {"ready_at": now}, "$inc": {"rev": 1}})
        self._tidied_at = now
        with self._server.call():
            found = self._server.parts.find({"_id": {"$gt": self._after}, "slots.0": {"$exists": True}}).sort("_id", 1)
            parts = list(found.limit(limit))
        self._after = parts[-1]["_id"] if len(parts) == limit else ""
        self._remove_stale(parts, now)
        self._fill(sorted(self._lanes.implicit), now)
        self._wake_stuck(now, limit)
        if self._lanes.implicit:  # somebody who did not know of the limit may have left a job without its lane
            self._passed, is_over = self._pass(self._passed, limit)
            self._passed = None if is_over else self._passed

    def _remove_stale(self, parts: Sequence[Document], now: datetime) -> None:
        """A slot whose job does not run at its epoch is nobody's. A job that has not begun yet must not begin with it any more."""
        slots = [(document["_id"], slot) for document in parts for slot in document["slots"] if now - slot["at"] >= IN_DOUBT_FOR]
        ids = list({ObjectId(slot["job_id"]) for _, slot in slots})
        if not ids:
            return
        with self._server.call():
            found = self._server.jobs.find({"_id": {"$in": ids}}, {"status": 1, "epoch": 1, "attempt": 1})
            jobs = {str(job["_id"]): job for job in found}
        for part, slot in slots:
            job = jobs.get(slot["job_id"])
            if _is_valid(part, slot, job):
                continue
            if job is not None and job["status"] == PENDING and slot["key"] == slot_key(slot["job_id"], job["epoch"] + 2):
                with self._server.call(writes=True):
                    guard = {"_id": job["_id"], "status": PENDING, "epoch": job["epoch"]}
                    if not self._server.jobs.update_one(guard, {"$inc": {"epoch": 1}}).matched_count:
                        continue
            with self._server.call(writes=True):
                self._server.parts.update_one({"_id": part}, {"$pull": {"slots": {"key": slot["key"]}}})
            self._lanes.wake(part, 1, now)

    def _fill(self, names: Sequence[str], now: datetime) -> None:
        """What runs counts for limits that apply by themselves, also what began before they were made."""
        if not names:
            return
        with self._server.call(writes=True):
            ran = self._server.jobs.find({"status": RUNNING}, {"task": 1, "queue": 1, "epoch": 1, "last_run_at": 1})
            running = list(ran)
            updates = []
            for job in running:
                key = slot_key(str(job["_id"]), job["epoch"])
                slot = {"key": key, "job_id": str(job["_id"]), "at": job["last_run_at"]}
                for name in (QUEUE + job["queue"], TASK + job["task"], "*"):
                    if name in names:
                        updates.append(UpdateOne({"_id": name, "slots.key": {"$ne": key}}, {"$push": {"slots": slot}}))
            for name in names:
                self._server.parts.update_one({"_id": name}, {"$setOnInsert": {"slots": [], "tat": 0}}, upsert=True)
            if updates:
                self._server.parts.bulk_write(updates, ordered=False)

    def _wake_stuck(self, now: datetime, limit: int) -> None:
        """Wake lanes that wait for a part that is free, as when a process died between the two."""
        with self._server.call():
            waits = self._server.lanes.find({"blocked_on": {"$exists": True}, "ready_at": {"$exists": False}}, {"blocked_on": 1})
            parts = {document["blocked_on"] for document in waits.limit(limit) if not document["blocked_on"].startswith("=")}
        states = self._lanes.states(parts)
        for part in sorted(parts):
            if obstacle((part,), limits=self._lanes.limits, state=lambda part: states[part], now=now) is None:
                self._lanes.wake(part, 1, now)


def _parts_of(name: str, field: str = "_id") -> Document:
    """The filter for a limit and its partitions."""
    whole: Document = {field: name}
    return whole if is_implicit(name) else {"$or": [whole, {field: {"$regex": f"^{re.escape(name)}/"}}]}


def _is_valid(part: str, slot: Document, job: Mapping[str, Any] | None) -> bool:
    if job is None or job["status"] in ENDED:
        return False
    if is_kept(part):
        return job["status"] == RUNNING or bool(job["attempt"])
    return bool(job["status"] == RUNNING) and slot["key"] == slot_key(slot["job_id"], job["epoch"])


def _next_at(limit: Limit, tat: int, now: datetime) -> datetime | None:
    if limit.numbers.count is None:
        return None
    at = next_token(limit.numbers, tat, micros(now))
    return from_micros(at) if at > micros(now) else None
