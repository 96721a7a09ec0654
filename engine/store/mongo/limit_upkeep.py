"""The upkeep of lanes and slots on MongoDB, where each follows from several writes: finds what a death between two of them left.

Jobs get the lanes that they should have, and every lane that has pending jobs is named in `lanes`. Lanes that wait for what is free
are woken. A slot whose job does not run at its epoch is removed; a job that has not begun must not begin with that slot any more,
so its epoch rises first. Every removal names the slot as it was seen, so a slot that was taken since stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne

from jobyard.engine.jobs.job import Status
from jobyard.engine.jobs.lifecycle import TERMINAL
from jobyard.engine.limits.limit import hold_of, pause_of
from jobyard.engine.limits.rules import QUEUE, TASK, is_kept, limit_of, micros, obstacle
from jobyard.engine.store.mongo.documents import Document
from jobyard.engine.store.mongo.lanes import LANE_FIELDS, PENDING, MongoLanes, lane_key, new_slot, slot_key
from jobyard.engine.store.mongo.server import MongoServer

EPOCH = datetime.min.replace(year=1970)
IN_DOUBT_FOR = timedelta(seconds=1)
"""A slot whose job has not begun may be that of a begin under way."""
RELANED_AGAIN = timedelta(seconds=2)
"""A pass over the pending jobs goes on so long after the limit was made, since others may not have known of it yet."""
CLOCK_SLACK = timedelta(seconds=1)
FORGOTTEN_AFTER = timedelta(minutes=1)
"""A part without slots means nothing any more so long after its last token and hold."""
MANY = 1_000
LANES_ID = "lanes"
RUNNING = Status.RUNNING.value
ENDED = [status.value for status in TERMINAL]
Place = tuple[datetime, ObjectId]


class MongoLimitUpkeep:
    """The upkeep of one process. Each pass goes on where the one before ended, so none costs much."""

    def __init__(self, server: MongoServer, lanes: MongoLanes) -> None:
        self._server = server
        self._lanes = lanes
        self._tidied_at: datetime | None = None
        self._part = self._waited_for = ""
        self._entry: tuple[str, int] = ("", 0)
        self._job: Place | None = None

    # ---- after a limit that applies by itself was made or deleted

    def begin_relaning(self) -> None:
        """Let all pending jobs be looked at."""
        anew = {"$set": {"since": None, "at": None, "id": None}}
        with self._server.call(writes=True):
            self._server.limit_state.update_one({"_id": LANES_ID}, anew, upsert=True)

    def relane(self, now: datetime, limit: int) -> bool:
        """See `LimitStore.relane`."""
        with self._server.call():
            state = self._server.limit_state.find_one({"_id": LANES_ID})
        if state is None:
            return False
        self._lanes.look()
        place = None if state.get("id") is None else (state["at"], state["id"])
        place, is_over = self._pass(place, limit)
        since = state.get("since") or now
        if is_over:
            self.fill(sorted(self._lanes.implicit))
        with self._server.call(writes=True):
            if is_over and now - since >= RELANED_AGAIN:
                self._server.limit_state.delete_one({"_id": LANES_ID, "since": since})
                return False
            at, last = (None, None) if place is None else place
            changed = {"since": since, "at": at, "id": last}
            self._server.limit_state.update_one({"_id": LANES_ID, "since": state.get("since")}, {"$set": changed})
        return not is_over

    def _pass(self, place: Place | None, limit: int) -> tuple[Place | None, bool]:
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

    def fill(self, names: Sequence[str]) -> None:
        """What runs counts for limits that apply by themselves, also what began before they were made."""
        if not names:
            return
        with self._server.call(writes=True):
            ran = self._server.jobs.find({"status": RUNNING}, {"task": 1, "queue": 1, "epoch": 1, "last_run_at": 1})
            running = list(ran)
            updates = []
            for job in running:
                slot = new_slot(str(job["_id"]), job["epoch"], at=job["last_run_at"])
                for name in (QUEUE + job["queue"], TASK + job["task"], "*"):
                    if name in names:
                        updates.append(UpdateOne({"_id": name, "slots.key": {"$ne": slot["key"]}}, {"$push": {"slots": slot}}))
            for name in names:
                self._server.parts.update_one({"_id": name}, {"$setOnInsert": {"slots": [], "tat": 0}}, upsert=True)
            if updates:
                self._server.parts.bulk_write(updates, ordered=False)

    # ---- now and then

    def tidy(self, now: datetime, limit: int) -> None:
        """See `LimitStore.tidy`."""
        self._lanes.look()
        if self._tidied_at is not None and now < self._tidied_at - CLOCK_SLACK:  # nobody waits for the time that it was before
            with self._server.call(writes=True):
                self._server.lanes.update_many({"ready_at": {"$gt": now}}, {"$set": {"ready_at": now}, "$inc": {"rev": 1}})
        self._tidied_at = now
        self._tidy_parts(now, limit)
        self.fill(sorted(self._lanes.implicit))
        self._enter_forgotten(limit)
        self._wake_stuck(now, limit)
        if self._lanes.implicit:  # somebody who did not know of the limit may have left a job without its lane
            self._job, is_over = self._pass(self._job, limit)
            self._job = None if is_over else self._job

    def _tidy_parts(self, now: datetime, limit: int) -> None:
        with self._server.call(writes=True):
            parts = list(self._server.parts.find({"_id": {"$gt": self._part}}).sort("_id", 1).limit(limit))
            self._part = parts[-1]["_id"] if len(parts) == limit else ""
            unused = [part["_id"] for part in parts if not part.get("slots")]
            if unused:
                before = now - FORGOTTEN_AFTER
                old = {"tat": {"$lt": micros(before)}} | {name: {"$not": {"$gte": before}} for name in ("hold_until", "freed_at")}
                self._server.parts.delete_many({"_id": {"$in": unused}, "slots": [], **old})
        self._remove_stale(parts, now)

    def _remove_stale(self, parts: Sequence[Document], now: datetime) -> None:
        """A slot whose job does not run at its epoch is nobody's; see the module."""
        slots = [(part["_id"], slot) for part in parts for slot in part["slots"] if abs(now - slot["at"]) >= IN_DOUBT_FOR]
        ids = list({ObjectId(slot["job_id"]) for _, slot in slots})
        if not ids:
            return
        with self._server.call():
            found = self._server.jobs.find({"_id": {"$in": ids}}, {"status": 1, "epoch": 1, "attempt": 1, "stamp": 1})
            jobs = {str(job["_id"]): job for job in found}
        for part, slot in slots:
            job = jobs.get(slot["job_id"])
            if _is_valid(part, slot, job) or (job is not None and not self._is_over(slot, job)):
                continue
            seen = {"key": slot["key"], "claim": slot.get("claim")}
            with self._server.call(writes=True):
                self._server.parts.update_one({"_id": part}, {"$pull": {"slots": seen}})
            self._lanes.wake(part, 1, now)

    def _is_over(self, slot: Document, job: Mapping[str, Any]) -> bool:
        """Whether the job can no longer begin with the slot; its epoch rises if it could."""
        if job["status"] != PENDING or slot["key"] != slot_key(slot["job_id"], job["epoch"] + 2):
            return True
        guard = {"_id": job["_id"], "status": PENDING, "epoch": job["epoch"]}
        with self._server.call(writes=True):
            return bool(self._server.jobs.update_one(guard, {"$inc": {"epoch": 1}}).matched_count)

    def _enter_forgotten(self, limit: int) -> None:
        """Name the lanes of pending jobs that are not named, as when a process died after it had stored a job."""
        jobs = self._next_in_lanes(limit)
        self._entry = (jobs[-1]["lane"], jobs[-1]["lane_priority"]) if len(jobs) == limit else ("", 0)
        first: dict[tuple[str, int], datetime] = {}
        for job in jobs:
            first.setdefault((job["lane"], job["lane_priority"]), job["scheduled_at"])
        keys = {lane_key(*entry): entry for entry in first}
        if not keys:
            return
        with self._server.call():
            there = {lane["_id"] for lane in self._server.lanes.find({"_id": {"$in": [*keys]}}, {"_id": 1})}
        self._lanes.enter((*entry, first[entry]) for key, entry in keys.items() if key not in there)

    def _next_in_lanes(self, limit: int) -> list[Document]:
        """Of each lane and priority at least the first job, some jobs at a time, in the order of the index."""
        lane, priority = self._entry
        found: list[Document] = []
        for rest in ({"lane": lane, "lane_priority": {"$gt": priority}}, {"lane": {"$gt": lane}}):
            order = [("lane", 1), ("lane_priority", 1), ("scheduled_at", 1)]
            fields = {"lane": 1, "lane_priority": 1, "scheduled_at": 1}
            if len(found) < limit:
                with self._server.call():
                    jobs = self._server.jobs.find({**rest, "status": PENDING}, fields).sort(order).hint("in_lanes")
                    found += jobs.limit(limit - len(found))
        return found

    def _wake_stuck(self, now: datetime, limit: int) -> None:
        """Wake lanes that wait for what is free, as when a process died before it could wake them."""
        wanted = {"blocked_on": {"$gt": self._waited_for}, "ready_at": {"$exists": False}}
        with self._server.call():
            waits = list(self._server.lanes.find(wanted, {"blocked_on": 1}).sort("blocked_on", 1).limit(limit))
        self._waited_for = waits[-1]["blocked_on"] if len(waits) == limit else ""
        names = sorted({document["blocked_on"] for document in waits})
        states = self._lanes.states(name for name in names if not name.startswith("="))
        for name in names:
            if name.startswith("="):
                found = self._lanes.limits.get(name[1:])
                is_free = found is None or (pause_of(found, now) is None and hold_of(found, now) is None)
            else:
                is_free = obstacle((name,), limits=self._lanes.limits, state=lambda part: states[part], now=now) is None
            if is_free:
                self._lanes.wake(name, self._room(name, states), now)

    def _room(self, name: str, states: Mapping[str, Any]) -> int:
        """How many of the lanes that wait for this may begin something."""
        limit = self._lanes.limits.get(limit_of(name))
        if name.startswith("=") or (limit is None and not is_kept(name)):
            return MANY
        if limit is None or limit.numbers.count is not None:
            return 1
        return MANY if limit.numbers.max_running is None else limit.numbers.max_running - states[name].running


def _is_valid(part: str, slot: Document, job: Mapping[str, Any] | None) -> bool:
    if job is None or job["status"] in ENDED:
        return False
    if is_kept(part):
        return job["status"] == RUNNING or bool(job["attempt"])
    is_of_claim = slot.get("claim") is None or slot["claim"] == job.get("stamp")
    return bool(job["status"] == RUNNING) and slot["key"] == slot_key(slot["job_id"], job["epoch"]) and is_of_claim
