"""Claims jobs of lanes on MongoDB: they are chosen by what was read, take their slots by guarded updates, and begin after that.

A slot names the claim that took it, so of several claims that want the same job each gives back only its own. Whoever loses a slot
to another claim leaves the job where it is. A lane against which something stands is put aside, guarded by its `rev`; then the part
is read once more, since what became free before that woke nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bson import ObjectId
from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.errors import BulkWriteError

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.limits.effects import replaced_under
from jobyard.engine.limits.limit import REPLACE, Limit
from jobyard.engine.limits.rules import (
    ONE_AT_A_TIME,
    Code,
    Obstacle,
    PartState,
    clamped,
    is_kept,
    limit_of,
    micros,
    obstacle,
    parts_of,
    take_token,
)
from jobyard.engine.store.mongo.documents import SMALL, Document, document_to_job, guard_of, update_of
from jobyard.engine.store.mongo.lanes import PENDING, MongoLanes, new_slot, slot_key, state_of
from jobyard.engine.store.mongo.server import DUPLICATE, MongoServer
from jobyard.engine.store.port import Allocation, Candidate, Served

MOST_LANES = 300
"""So many are looked at in one claim."""
UNSERVED_S = timedelta(seconds=1)
CLAIM_WAITS = timedelta(seconds=5)
"""A claim that is later than that has another clock."""
HEAD_FIELDS = {"task": 1, "lost_count": 1, "scheduled_at": 1, "epoch": 1, "attempt": 1}


@dataclass(slots=True)
class Turn:
    """One lane's turn in a claim; `heads` are its next jobs, `is_all` whether these are all."""

    lane: str
    rev: int
    key: str
    heads: deque[Document] = field(default_factory=deque)
    is_all: bool = False


@dataclass(frozen=True, slots=True)
class Chosen:
    """A job to begin, its worker, the parts in which it needs a slot, and those in which it has one since an earlier attempt."""

    head: Document
    worker: str
    lane: str
    parts: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def job_id(self) -> str:
        """Its id."""
        return str(self.head["_id"])

    @property
    def key(self) -> str:
        """What names its slots, together with the claim."""
        return slot_key(self.job_id, self.epoch)

    @property
    def guard(self) -> Document:
        """The filter that matches while it may begin with these slots."""
        return {"_id": self.head["_id"], "status": PENDING, "epoch": self.head["epoch"], "lane": self.lane}

    @property
    def epoch(self) -> int:
        """The epoch at which it will run."""
        return int(self.head["epoch"]) + 2


class MongoLaneClaims:
    """The lanes' part of one claim."""

    def __init__(self, server: MongoServer, lanes: MongoLanes, *, now: datetime, served: Served) -> None:
        self._server = server
        self._lanes = lanes
        self._now = now
        named = (("task", served.tasks), ("queue", served.queues))
        self._served = {name: {"$in": list(names)} for name, names in named if names is not None}
        self._ready: dict[int, deque[Turn]] = {}
        self._states: dict[str, PartState] = {}
        self._before: dict[str, PartState] = {}
        self._holders: dict[str, set[str]] = {}
        self._aside: list[tuple[Turn, Obstacle | None, datetime | None]] = []
        self._moved: dict[str, Turn] = {}
        self.begins_at = now
        """No earlier than the last end in the parts, which another process may have noted after this claim's time."""
        self.chosen: list[Chosen] = []
        self.asked: list[tuple[Job, Job]] = []
        """The running jobs that were asked to cancel for a new one, before and after."""

    def read(self) -> None:
        """Which lanes are ready."""
        with self._server.call():
            order = [("priority", -1), ("ready_at", 1)]
            ready = list(self._server.lanes.find({"ready_at": {"$lte": self._now}}).sort(order).limit(MOST_LANES))
            is_any = bool(ready) or self._server.lanes.find_one({}, {"_id": 1}) is not None
        self._lanes.empty_at = None if is_any else self._now
        if not ready:
            return
        for document in ready:
            turn = Turn(document["lane"], document["rev"], document["_id"])
            self._ready.setdefault(document["priority"], deque()).append(turn)
        self._load({part for document in ready for part in document["parts"]})

    def _load(self, parts: set[str]) -> None:
        with self._server.call():
            for document in self._server.parts.find({"_id": {"$in": sorted(parts)}}):
                part = document["_id"]
                self._states[part] = self._before[part] = self._clamped(part, state_of(document))
                if is_kept(part):
                    self._holders[part] = {slot["job_id"] for slot in document.get("slots", ())}

    def _clamped(self, part: str, state: PartState) -> PartState:
        limit = self._lanes.limits.get(limit_of(part))
        tat = state.tat if limit is None else clamped(limit.numbers, state.tat, micros(self._now))
        if tat != state.tat:
            self._server.parts.update_one({"_id": part, "tat": state.tat}, {"$set": {"tat": tat}})
        return state._replace(tat=tat)

    def choose(self, allocation: Allocation, *, down_to: int) -> None:
        """Choose jobs of the lanes of these priorities, in turn, as far as there is room."""
        for priority in sorted(self._ready, reverse=True):
            if priority >= down_to:
                self._choose(priority, self._ready.pop(priority), allocation)

    def _choose(self, priority: int, turns: deque[Turn], allocation: Allocation) -> None:
        share = allocation.most // max(1, len(turns)) + 2
        while turns and allocation.most:
            turn = turns.popleft()
            head = self._next(turn, priority, share)
            found = None if head is None else self._obstacle(turn, head)
            if head is None or found is not None or head["scheduled_at"] > self._now:
                self._moved.pop(turn.key, None)
                due = None if head is None else head["scheduled_at"]
                self._aside.append((turn, None if due is None or due > self._now else found, due))
                continue
            worker = allocation.place(Candidate(task=head["task"], lost_count=head["lost_count"]))
            if worker is None:
                continue
            turn.heads = deque(other for other in turn.heads if other["_id"] != head["_id"])
            kept = self._has_kept(turn.lane, head)
            needed = tuple(part for part in parts_of(turn.lane) if part not in kept)
            self.chosen.append(Chosen(head, worker, turn.lane, needed, kept))
            self._take(turn.lane)
            self._moved[turn.key] = turn
            turns.append(turn)

    def _next(self, turn: Turn, priority: int, most: int) -> Document | None:
        if not turn.heads and not turn.is_all:
            taken = {chosen.head["_id"] for chosen in self.chosen}
            wanted = {"lane": turn.lane, "status": PENDING, "lane_priority": priority, **self._served}
            wanted["lapses_at"] = {"$not": {"$lte": self._now}}
            size = most + len(taken)
            with self._server.call():
                found = self._server.jobs.find(wanted, HEAD_FIELDS).sort([("scheduled_at", 1), ("_id", 1)]).limit(size)
                heads = list(found.hint("in_lanes"))
            turn.is_all = len(heads) < size
            turn.heads.extend(head for head in heads if head["_id"] not in taken)
        return self._kept(turn.lane) or (turn.heads[0] if turn.heads else None)

    def _kept(self, lane: str) -> Document | None:
        """The pending job that has the slot of a schedule since an earlier attempt."""
        holders = [job_id for part in parts_of(lane) for job_id in self._holders.get(part, ())]
        if not holders:
            return None
        ids = [ObjectId(job_id) for job_id in holders]
        wanted = {"_id": {"$in": ids}, "status": PENDING, "lane": lane, "attempt": {"$gt": 0}}
        with self._server.call():
            head = self._server.jobs.find_one(wanted, HEAD_FIELDS)
        return None if head is None or any(chosen.head["_id"] == head["_id"] for chosen in self.chosen) else head

    def _has_kept(self, lane: str, head: Document) -> tuple[str, ...]:
        """A slot of a job that has not begun yet is that of a claim under way, which may still give it back."""
        if not head["attempt"]:
            return ()
        return tuple(part for part in parts_of(lane) if str(head["_id"]) in self._holders.get(part, ()))

    def _obstacle(self, turn: Turn, head: Document) -> Obstacle | None:
        kept = self._has_kept(turn.lane, head)
        parts = [part for part in parts_of(turn.lane) if part not in kept]
        return obstacle(parts, limits=self._lanes.limits, state=self._state, now=self._now)

    def _state(self, part: str) -> PartState:
        return self._states.get(part, PartState())

    def _take(self, lane: str) -> None:
        for part in parts_of(lane):
            limit = self._lanes.limits.get(limit_of(part))
            state = self._state(part)
            if limit is not None and limit.numbers.count is not None:
                state = state._replace(tat=take_token(limit.numbers, state.tat, micros(self._now)))
            self._states[part] = state._replace(running=state.running + 1)

    # ---- slots

    def take(self, claim: ObjectId) -> list[Chosen]:
        """Take the slots of what was chosen, in the name of this claim; those that have all of theirs. The others leave none."""
        wanted: dict[str, list[Chosen]] = {}
        for chosen in self.chosen:
            for part in chosen.parts:
                wanted.setdefault(part, []).append(chosen)
        self._make_parts(set(wanted) - self._before.keys())
        updates = [self._taking(part, jobs, claim) for part, jobs in wanted.items()]
        updates += [_keeping(part, one) for one in self.chosen for part in one.kept]
        if not updates:
            return self.chosen
        with self._server.call(writes=True):
            are_all = self._server.parts.bulk_write(updates, ordered=False).matched_count == len(updates)
        parts = sorted({*wanted, *(part for one in self.chosen for part in one.kept)})
        there = self._look_after(parts, with_slots=not are_all)
        if are_all:
            return self.chosen

        whole = [
            one
            for one in self.chosen
            if there.issuperset((part, one.key, claim) for part in one.parts)
            and there.issuperset((part, one.key, None) for part in one.kept)
        ]
        self._lanes.give_back([one.key for one in self.chosen if one not in whole], claim, self._now)
        return whole

    def _look_after(self, parts: Sequence[str], *, with_slots: bool) -> set[tuple[str, str, ObjectId | None]]:
        """Once the slots are taken: when the last of others became free, and who has which slot."""
        there: set[tuple[str, str, ObjectId | None]] = set()
        fields = {"freed_at": 1, "slots": 1} if with_slots else {"freed_at": 1}
        with self._server.call():
            for document in self._server.parts.find({"_id": {"$in": parts}}, fields):
                freed_at = document.get("freed_at", self._now)
                if timedelta() < freed_at - self._now < CLAIM_WAITS:
                    self.begins_at = max(self.begins_at, freed_at)
                there |= {(document["_id"], slot["key"], slot.get("claim")) for slot in document.get("slots", ())}
        return there

    def _make_parts(self, parts: set[str]) -> None:
        kept = {part: {"is_kept": True} if is_kept(part) else {} for part in sorted(parts)}
        new = [InsertOne({"_id": part, "slots": [], "tat": 0, **more}) for part, more in kept.items()]
        if new:
            with self._server.call(writes=True):
                try:
                    self._server.parts.bulk_write(new, ordered=False)
                except BulkWriteError as fault:
                    if any(error["code"] != DUPLICATE for error in fault.details["writeErrors"]):
                        raise

    def _taking(self, part: str, jobs: Sequence[Chosen], claim: ObjectId) -> UpdateOne:
        limit = self._lanes.limits.get(limit_of(part))
        most = ONE_AT_A_TIME.max_running if is_kept(part) else None if limit is None else limit.numbers.max_running
        slots = [new_slot(one.job_id, one.epoch, at=self._now, claim=claim) for one in jobs]
        guard: Document = {"_id": part}
        update: Document = {"$push": {"slots": {"$each": slots}}}
        if most is not None:
            guard[f"slots.{most - len(slots)}"] = {"$exists": False}
        if limit is not None and limit.numbers.count is not None:
            guard["tat"] = self._before.get(part, PartState()).tat
            update["$set"] = {"tat": self._states[part].tat}
        return UpdateOne(guard, update)

    # ---- lanes that begin nothing more now

    def put_aside(self) -> bool:
        """Store when each lane is looked at again; whether one can try at once because of what another left free.

        Called when what was chosen has begun.
        """
        writes: list[UpdateOne | DeleteOne] = [
            UpdateOne({"_id": turn.key, "rev": turn.rev}, {"$set": {"ready_at": self._now}}) for turn in self._moved.values()
        ]
        for turn, found, due in self._aside:
            guard = {"_id": turn.key, "rev": turn.rev}
            if found is None and due is None:
                writes.append(self._left(turn, guard))
            elif found is None:
                writes.append(UpdateOne(guard, {"$set": {"ready_at": due}, "$unset": {"blocked_on": "", "blocked_at": ""}}))
            else:
                waits = {"blocked_on": found.blocked_on, "blocked_at": self._now}
                timed = {"$set": {**waits, "ready_at": found.until}} if found.until else {"$set": waits, "$unset": {"ready_at": ""}}
                writes.append(UpdateOne(guard, timed))
        if writes:
            with self._server.call(writes=True):
                self._server.lanes.bulk_write(writes, ordered=False)
        return self._offer()

    def _left(self, turn: Turn, guard: Document) -> UpdateOne | DeleteOne:
        """Without any job the lane is dropped; what is left otherwise has expired, or nobody here serves it."""
        with self._server.call():
            wanted = {"lane": turn.lane, "status": PENDING, "lane_priority": int(turn.key.partition("|")[0])}
            is_any_left = bool(list(self._server.jobs.find(wanted, {"_id": 1}).hint("in_lanes").limit(1)))
        later = {"$set": {"ready_at": self._now + UNSERVED_S}, "$unset": {"blocked_on": "", "blocked_at": ""}}
        return UpdateOne(guard, later) if is_any_left else DeleteOne(guard)

    def _offer(self) -> bool:
        """What lanes put aside do not use, and what became free meanwhile, goes to one lane each that waits for it."""
        full = {found.part: found for _, found, _ in self._aside if found is not None and found.code is Code.FULL}
        for found in full.values():
            self._replace_oldest(found)
        parts = {part for turn, _, _ in self._aside for part in parts_of(turn.lane)}
        states = self._lanes.states(parts)
        free = [
            part
            for part in sorted(parts)
            if obstacle((part,), limits=self._lanes.limits, state=lambda part: states[part], now=self._now) is None
        ]
        return sum(self._lanes.wake(part, 1, self._now) for part in free) > 0

    def _replace_oldest(self, found: Obstacle) -> None:
        """For each due job that waits for the part, one of the running ones is asked to cancel, the oldest first."""
        limit: Limit | None = self._lanes.limits.get(found.limit)
        if limit is None or limit.numbers.on_full != REPLACE:
            return
        with self._server.call():
            part = self._server.parts.find_one({"_id": found.part}) or {}
            ids = [ObjectId(slot["job_id"]) for slot in part.get("slots", ())]
            ran = self._server.jobs.find({"_id": {"$in": ids}, "status": Status.RUNNING.value}, SMALL)
            running = [document_to_job(document) for document in ran.sort([("last_run_at", 1), ("_id", 1)])]
            lanes = [document["lane"] for document in self._server.lanes.find({"parts": found.part}, {"lane": 1})]
            due = {"lane": {"$in": lanes}, "status": PENDING, "scheduled_at": {"$lte": self._now}}
            waiting = self._server.jobs.count_documents(due, limit=len(running) + 1)
        asked = sum(job.cancel_requested_at is not None for job in running)
        cause = replaced_under(found.limit)
        for job in [job for job in running if job.cancel_requested_at is None][: max(0, waiting - asked)]:
            change = lifecycle.cancel(job, now=self._now, because=cause)
            with self._server.call(writes=True):
                if self._server.jobs.update_one(guard_of(change), update_of(change, ObjectId())).matched_count:
                    self.asked.append((job, change.after(job)))


def _keeping(part: str, one: Chosen) -> UpdateOne:
    """The slot that the job has kept is that of its new attempt: who frees those of earlier ones leaves it, and no claim takes it
    back."""
    anew = {"slots.0.key": one.key, "slots.0.epoch": one.epoch, "slots.0.claim": None}
    return UpdateOne({"_id": part, "slots.0.job_id": one.job_id}, {"$set": anew})


def first_ready(server: MongoServer) -> datetime | None:
    """The earliest time at which a lane is to be looked at."""
    with server.call():
        document = server.lanes.find_one({"ready_at": {"$exists": True}}, {"ready_at": 1}, sort=[("ready_at", 1)])
    return None if document is None else document["ready_at"]
