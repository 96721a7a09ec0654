"""Lanes and slots of limits on MongoDB; see `store.sqlite.lanes` for what they are.

    limits   the definitions; every process reads them again after `KNOWN_FOR_S`
    parts    what a part has in use: `slots`, an array of {key, job_id, epoch, at, claim}, `tat` and `hold_until`; `key` is the
             job's id and epoch, `claim` what stamps the job when it begins
    lanes    the lanes that may have pending jobs; `rev` rises whenever a job enters, and guards what a claimer found

A slot is taken before its job begins, and freed after the job's change. So a death in between leaves a slot too many, never one too
few, and `MongoLimits.tidy` finds it. A job enters its lane after it is stored; what a death leaves out there is found, too.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from bson import ObjectId
from pymongo import ReturnDocument, UpdateMany, UpdateOne

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.limits.effects import MOVED, looks_at_once, refused
from jobyard.engine.limits.limit import CANCEL, Limit
from jobyard.engine.limits.rules import PartState, is_implicit, lane_for, lane_from, limit_of, parts_of
from jobyard.engine.store.mongo.documents import HIDDEN, Document
from jobyard.engine.store.mongo.server import MongoServer
from jobyard.engine.world import World

KNOWN_FOR_S = 0.4
EMPTY_FOR = timedelta(seconds=0.5)
PENDING, BLOCKED = Status.PENDING.value, Status.BLOCKED.value
GONE = [*(status.value for status in lifecycle.TERMINAL), *HIDDEN]
LANE_FIELDS = {"task": 1, "queue": 1, "lane": 1, "priority": 1, "lane_priority": 1, "limit": 1, "scheduled_at": 1, "epoch": 1}
Entry = tuple[str, int, datetime]
"""A lane, a priority, and when a job of both is due."""


class MongoLanes:
    """The limits as one process knows them, and the lanes."""

    def __init__(self, server: MongoServer, world: World) -> None:
        self._server = server
        self._world = world
        self._known_until = float("-inf")
        self.limits: dict[str, Limit] = {}
        self.implicit: frozenset[str] = frozenset()
        self.empty_at: datetime | None = None
        """When a claim last saw that there are no lanes at all."""

    def were_empty(self, now: datetime) -> bool:
        """Whether there were no lanes when a claim looked, just before: then a claim that finds other jobs need not ask."""
        return self.empty_at is not None and timedelta() <= now - self.empty_at < EMPTY_FOR

    def look(self, *, again: bool = False) -> None:
        """Read the limits unless they are known; `again`: they have changed."""
        if not again and self._world.monotonic() < self._known_until:
            return
        with self._server.call():
            limits = [limit_from(document) for document in self._server.limits.find().sort("_id", 1)]
        self.limits = {limit.name: limit for limit in limits}
        self.implicit = frozenset(name for name in self.limits if is_implicit(name))
        self._known_until = self._world.monotonic() + KNOWN_FOR_S

    # ---- jobs become pending

    def accept(self, jobs: Sequence[Job]) -> list[Job]:
        """The new jobs in their lanes; those whose limit is full and says so are cancelled."""
        self.look()
        if not self.limits and not any(job.lane or job.limit for job in jobs):
            return list(jobs)
        cancelling = {name: limit for name, limit in self.limits.items() if limit.numbers.on_full == CANCEL}
        taken: Counter[str] = Counter()
        accepted: list[Job] = []
        for job in jobs:
            lane = lane_for(job, self.implicit)
            full = None if lane is None or lifecycle.is_terminal(job) else self._full(lane, cancelling, taken, job.job_id)
            if full is not None:
                accepted.append(refused(job, full))
            elif lane == job.lane or job.status is not Status.PENDING:
                accepted.append(job)
            else:
                accepted.append(msgspec.structs.replace(job, lane=lane))
        return accepted

    def _full(self, lane: str, cancelling: dict[str, Limit], taken: Counter[str], job_id: str) -> str | None:
        """The limit that refuses one more job in this lane."""
        parts = [part for part in parts_of(lane) if limit_of(part) in cancelling]
        for part in parts:
            most = cancelling[limit_of(part)].numbers.max_running or 0
            if self._living(part, most, job_id) + taken[part] >= most:
                return limit_of(part)
        taken.update(parts)
        return None

    def _living(self, part: str, most: int, except_id: str) -> int:
        name = limit_of(part)
        own: Document = {"queue": part[6:]} if name.startswith("queue:") else {"task": part[5:]} if name.startswith("task:") else {}
        wanted = own if own or name == "*" else {"limit": part}
        query = {**wanted, "status": {"$nin": GONE}, "_id": {"$ne": ObjectId(except_id)}}
        with self._server.call():
            return self._server.jobs.count_documents(query, limit=most)

    def entries(self, jobs: Iterable[Job]) -> list[Entry]:
        """Where pending jobs enter."""
        first: dict[tuple[str, int], datetime] = {}
        for job in jobs:
            if job.lane is not None and job.status is Status.PENDING:
                key = (job.lane, job.priority)
                first[key] = min(job.scheduled_at, first.get(key, job.scheduled_at))
        return [(lane, priority, due) for (lane, priority), due in first.items()]

    def enter(self, entries: Iterable[Entry]) -> None:
        """Jobs are pending in these lanes. A lane that waits goes on waiting, unless the new job matters all the same."""
        updates: list[UpdateOne] = []
        for lane, priority, due in entries:
            key = lane_key(lane, priority)
            new = {"lane": lane, "parts": list(parts_of(lane)), "priority": priority}
            if looks_at_once(lane, self.limits):
                at_once = {"$min": {"ready_at": due}, "$inc": {"rev": 1}, "$setOnInsert": new}
                updates.append(UpdateOne({"_id": key}, at_once, upsert=True))
                continue
            updates.append(UpdateOne({"_id": key, "blocked_on": None}, {"$min": {"ready_at": due}}))
            entered = {"$inc": {"rev": 1}, "$setOnInsert": {**new, "ready_at": due}}
            updates.append(UpdateOne({"_id": key}, entered, upsert=True))
        if updates:
            with self._server.call(writes=True):
                self._server.lanes.bulk_write(updates)

    # ---- jobs change

    def follow(self, changes: Sequence[Change]) -> None:
        """After these changes: free the slots of jobs that run no longer, and let those that are pending enter their lanes.

        Never fails: what is left undone is found by `MongoLimits.tidy`.
        """
        with contextlib.suppress(StoreUnavailable):
            self.look()
            if self.implicit or any(change.lane is not None or change.verb in MOVED for change in changes):
                stopped = [change for change in changes if change.fields["status"] is not Status.RUNNING]
                self._free(stopped)
                pending = [change.job_id for change in stopped if change.fields["status"] is Status.PENDING]
                self.enter_again(pending)

    def _free(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        keys = [slot_key(change.job_id, change.epoch) for change in changes if change.status is Status.RUNNING]
        ended = {change.job_id: change.epoch for change in changes if _gives_up_all(change)}
        ran = {"slots.key": {"$in": keys}, "is_kept": {"$ne": True}}
        kept = {"slots.job_id": {"$in": [*ended]}, "is_kept": True}
        freed: Counter[str] = Counter()
        now: Any = max(change.fields["updated_at"] for change in changes)  # type: ignore[type-var]
        with self._server.call(writes=True):
            freed.update(document["_id"] for document in self._server.parts.find(ran, {"_id": 1}))
            keeping = list(self._server.parts.find(kept, {"slots": 1}))
            freed.update(document["_id"] for document in keeping)
            updates: list[UpdateMany | UpdateOne] = []
            if len(freed) > len(keeping):
                updates.append(UpdateMany(ran, {"$pull": {"slots": {"key": {"$in": keys}}}, "$max": {"freed_at": now}}))
            for document in keeping:
                [slot] = document["slots"]
                old = {"job_id": slot["job_id"], "epoch": {"$lte": ended[slot["job_id"]]}}
                updates.append(UpdateOne({"_id": document["_id"]}, {"$pull": {"slots": old}, "$max": {"freed_at": now}}))
            if not updates:
                return
            self._server.parts.bulk_write(updates)
        for part in freed:
            self.wake(part, len(keys), now)

    def wake(self, part: str, count: int, now: datetime) -> int:
        """Something of the part has become free: let so many lanes try again; returns how many."""
        order = [("priority", -1), ("blocked_at", 1)]
        for woken in range(count):
            update = {"$set": {"ready_at": now}, "$unset": {"blocked_on": "", "blocked_at": ""}, "$inc": {"rev": 1}}
            with self._server.call(writes=True):
                if self._server.lanes.find_one_and_update({"blocked_on": part}, update, {"_id": 1}, sort=order) is None:
                    return woken
        return count

    def enter_again(self, job_ids: Sequence[str]) -> None:
        """These jobs are pending: each gets the lane that it should have, and enters it."""
        if not job_ids:
            return
        with self._server.call(writes=True):
            wanted = {"_id": {"$in": [ObjectId(job_id) for job_id in job_ids]}, "status": PENDING}
            documents = list(self._server.jobs.find(wanted, LANE_FIELDS))
        self.place(documents)

    def place(self, documents: Sequence[Document]) -> None:
        """The same for pending jobs of which `LANE_FIELDS` are known."""
        entries: list[Entry] = []
        updates: list[UpdateOne] = []
        for document in documents:
            before = document.get("lane")
            lane = lane_from(
                document.get("limit"), before, queue=document["queue"], task=document["task"], implicit=self.implicit
            )  # fmt: skip
            priority: int = document["priority"] if "priority" in document else document["lane_priority"]
            if lane != before:
                guard = {"_id": document["_id"], "status": PENDING, "epoch": document["epoch"]}
                updates.append(UpdateOne(guard, _moved(lane, priority)))
            if lane is not None:
                entries.append((lane, priority, document["scheduled_at"]))
        if updates:
            with self._server.call(writes=True):
                self._server.jobs.bulk_write(updates, ordered=False)
        self.enter(entries)

    # ---- parts

    def states(self, parts: Iterable[str]) -> dict[str, PartState]:
        """What these parts have in use."""
        asked = sorted(set(parts))
        found = dict.fromkeys(asked, PartState())
        if asked:
            with self._server.call():
                for document in self._server.parts.find({"_id": {"$in": asked}}):
                    found[document["_id"]] = state_of(document)
        return found

    def give_back(self, keys: Sequence[str], claim: ObjectId, now: datetime) -> None:
        """What this claim took under these keys is free again: the jobs have not begun after all."""
        if not keys:
            return
        taken = {"key": {"$in": list(keys)}, "claim": claim}
        with self._server.call(writes=True):
            parts = [document["_id"] for document in self._server.parts.find({"slots.key": {"$in": list(keys)}}, {"_id": 1})]
            self._server.parts.update_many({"_id": {"$in": parts}}, {"$pull": {"slots": taken}})
        for part in parts:
            self.wake(part, len(keys), now)


def new_slot(job_id: str, epoch: int, *, at: datetime, claim: ObjectId | None = None) -> Document:
    """The slot of a job that runs at this epoch, or is about to. `claim`: None if it was found running."""
    return {"key": slot_key(job_id, epoch), "job_id": job_id, "epoch": epoch, "at": at, "claim": claim}


def lane_key(lane: str, priority: int) -> str:
    """The id of a document of `lanes`."""
    return f"{priority}|{lane}"


def slot_key(job_id: str, epoch: int) -> str:
    """What names a slot."""
    return f"{job_id}:{epoch}"


def state_of(document: Document) -> PartState:
    """What a part has in use."""
    return PartState(len(document.get("slots", ())), int(document.get("tat", 0)), document.get("hold_until"))


def limit_from(document: Document) -> Limit:
    """A document of `limits`."""
    limit: Limit = _decode(document["body"])
    return limit


def limit_document(limit: Limit) -> Document:
    """The limit as stored; its values are JSON text."""
    return {"_id": limit.name, "version": limit.version, "body": _encode(limit).decode()}


def _gives_up_all(change: Change) -> bool:
    """Whether the job also gives up what it keeps over a wait for a retry."""
    return change.fields["status"] is not Status.PENDING or change.fields.get("attempt") == 0


def _moved(lane: str | None, priority: int) -> Document:
    if lane is None:
        return {"$set": {"priority": priority}, "$unset": {"lane": "", "lane_priority": ""}}
    return {"$set": {"lane": lane, "lane_priority": priority}, "$unset": {"priority": ""}}


_encode = msgspec.json.Encoder().encode
_decode: Any = msgspec.json.Decoder(Limit).decode
AFTER = ReturnDocument.AFTER
