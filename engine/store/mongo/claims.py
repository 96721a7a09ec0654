"""Claims due jobs on MongoDB: a query for candidates, one guarded update that stamps them, a query for the stamp.

A claimer that loses a document sees that it is taken and moves on. A claim whose reply was lost is settled by its stamp on the
next call.

The cost of the queries must not grow with the number of waiting jobs, whether of this host or of others. MongoDB reads several
ranges of an index in one order, without sorting, if each field before that order has one value or a list of values (it merges up
to 200 ranges) and no field of the order itself has. So priorities are queried as ranges, tasks in portions, and queues only where
`QUEUES` is set, for which there is an index that begins with both.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from bson import ObjectId
from pymongo import ReturnDocument, UpdateOne

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs.job import PRIORITIES, Job, Status
from jobyard.engine.jobs.lifecycle import after_begin
from jobyard.engine.limits.rules import EVERYTHING, QUEUE, TASK
from jobyard.engine.store.mongo.counts import MongoCounts
from jobyard.engine.store.mongo.documents import SMALL, Document, document_to_job
from jobyard.engine.store.mongo.lane_claims import Chosen, MongoLaneClaims, first_ready
from jobyard.engine.store.mongo.lanes import MongoLanes
from jobyard.engine.store.mongo.server import DUE, DUE_IN_QUEUE_INDEX, DUE_INDEX, MongoServer
from jobyard.engine.store.port import Allocation, Candidate, Claimed, Served

MOST_A_CLAIM = 500
ROUNDS = 3
"""A claim looks so often whether a lane can use what others left free."""
FEW = 20
STRETCHES = 200
PENDING, RUNNING = Status.PENDING.value, Status.RUNNING.value
CANDIDATE_FIELDS = {"priority": 1, "scheduled_at": 1, "task": 1, "lost_count": 1}


class MongoClaims:
    """The claims of one process, one at a time."""

    def __init__(self, server: MongoServer, counts: MongoCounts, lanes: MongoLanes, *, place: tuple[int, int]) -> None:
        """`place`: see `MongoStore`."""
        self._server = server
        self._counts = counts
        self._place = place
        self._lanes = lanes
        self._lanes_first = True
        self._doubt: tuple[ObjectId, list[ObjectId]] | None = None

    def claim_due(self, *, owner: str, now: datetime, lease_s: float, allocation: Allocation, served: Served) -> Claimed:
        """See `Store`."""
        if self._doubt is not None and (won := self._settle_doubt()):
            self._counts.move(Counter({PENDING: -len(won), RUNNING: len(won)}))
            return Claimed(jobs=won)
        self._lanes.look()
        self._lanes_first = not self._lanes_first
        claimed = Claimed(jobs=[])
        for _ in range(ROUNDS):
            of_lanes = MongoLaneClaims(self._server, self._lanes, now=now, served=served)
            were_empty = self._lanes.were_empty(now)
            if not were_empty:
                of_lanes.read()
            chosen = self._choose(now, allocation, served, of_lanes)
            if were_empty and not chosen and allocation.most:
                of_lanes.read()
                of_lanes.choose(allocation, down_to=PRIORITIES[0])
            stamp = ObjectId()
            taken = of_lanes.take(stamp)
            jobs: list[Job] = []
            if chosen or taken:
                self._doubt = (stamp, [*chosen, *(one.head["_id"] for one in taken)])
                jobs = self._begin(chosen, taken, stamp, owner, of_lanes.begins_at, lease_s)
            self._give_back(taken, jobs, stamp, now)
            is_to_repeat = of_lanes.put_aside() and not jobs
            conflicts = claimed.conflicts + len(chosen) + len(of_lanes.chosen) - len(jobs)
            claimed = Claimed(jobs=jobs, conflicts=conflicts, asked=claimed.asked + of_lanes.asked)
            if not is_to_repeat:
                break
        return claimed

    def next_due(self, served: Served) -> datetime | None:
        """See `Store`."""
        found: list[Document] = []
        self._lanes.look()
        for portion in self._portions(served, at_most=STRETCHES // len(PRIORITIES)):
            due = {"status": PENDING, "priority": {"$in": [*PRIORITIES]}, **portion}
            found += self._ask(due, served, {"scheduled_at": 1}, sort=[("scheduled_at", 1)], limit=1)
        in_lanes = first_ready(self._server)
        return min([*(document["scheduled_at"] for document in found), *([in_lanes] if in_lanes else [])], default=None)

    def due(self, now: datetime, limit: int, served: Served) -> list[Job]:
        """See `Store`."""
        return [document_to_job(document) for document in self._page(now, served, limit, SMALL)]

    # ---- claiming

    def _choose(
        self, now: datetime, allocation: Allocation, served: Served, of_lanes: MongoLaneClaims
    ) -> dict[ObjectId, str]:  # fmt: skip
        """The jobs without a lane to claim, each with its worker, in claiming order; between them the lanes choose theirs.

        Only jobs that were lost before are skipped while there is room. If they fill a page, the next one leaves out their like, so
        that they do not hide those behind them.
        """
        chosen: dict[ObjectId, str] = {}
        lost_below: int | None = None
        while allocation.most:
            found, is_full = self._candidates(now, allocation.most, served, lost_below)
            skipped: list[int] = []
            for document in found:
                if not allocation.most:
                    break
                if document["_id"] in chosen:
                    continue
                of_lanes.choose(allocation, down_to=document["priority"] + (not self._lanes_first))
                if not allocation.most:
                    break
                worker = allocation.place(Candidate(task=document["task"], lost_count=document["lost_count"]))
                if worker is None:
                    skipped.append(document["lost_count"])
                else:
                    chosen[document["_id"]] = worker
            lost_below = min(skipped, default=0)
            if not lost_below or not is_full:
                break
        of_lanes.choose(allocation, down_to=PRIORITIES[0])
        return chosen

    def _begin(
        self, chosen: dict[ObjectId, str], in_lanes: Sequence[Chosen], stamp: ObjectId, owner: str, now: datetime, lease_s: float
    ) -> list[Job]:  # fmt: skip
        by_worker: dict[str, list[ObjectId]] = {}
        for job_id, worker in chosen.items():
            by_worker.setdefault(worker, []).append(job_id)
        if len(chosen) == 1 and not in_lanes:
            [(job_id, worker)] = chosen.items()
            return self._take_one(_guard([job_id], now), _update(worker, stamp, owner, now, lease_s))
        taken = 0
        for worker, ids in by_worker.items():
            with self._server.call(writes=True):
                update = _update(worker, stamp, owner, now, lease_s)
                taken += self._server.jobs.update_many(_guard(ids, now), update).modified_count
        taken += self._begin_in_lanes(in_lanes, stamp, owner, now, lease_s)
        self._counts.move(Counter({PENDING: -taken, RUNNING: taken}))
        return self._settle_doubt()

    def _begin_in_lanes(self, in_lanes: Sequence[Chosen], stamp: ObjectId, owner: str, now: datetime, lease_s: float) -> int:
        """Their slots name the epoch, so each must still have the one that it had."""
        if not in_lanes:
            return 0
        updates = [
            UpdateOne(one.guard, _update(one.worker, stamp, owner, now, lease_s))
            for one in in_lanes
        ]
        with self._server.call(writes=True):
            return self._server.jobs.bulk_write(updates, ordered=False).modified_count

    def _give_back(self, taken: Sequence[Chosen], begun: Sequence[Job], stamp: ObjectId, now: datetime) -> None:
        ids = {job.job_id for job in begun}
        self._lanes.give_back([one.key for one in taken if one.job_id not in ids], stamp, now)

    def _portions(self, served: Served, *, at_most: int) -> Iterator[Document]:
        """What is served and is under no limit that applies by itself: jobs of such a limit begin in lanes only."""
        names = self._lanes.implicit
        if EVERYTHING in names:
            return iter(())
        return _portions(_except(served, names), at_most=at_most, names=names)

    def _take_one(self, guard: Document, update: Document) -> list[Job]:
        with self._server.call(writes=True):
            won = self._server.jobs.find_one_and_update(guard, update, return_document=ReturnDocument.AFTER)
        self._doubt = None
        self._counts.move(Counter({PENDING: -1, RUNNING: 1}) if won else Counter())
        return self._given_up([document_to_job(won)]) if won else []

    def _settle_doubt(self) -> list[Job]:
        """The jobs that the last claim won, in claiming order; settles a claim whose reply was lost."""
        assert self._doubt is not None
        stamp, ids = self._doubt
        with self._server.call():
            won = self._server.jobs.find({"_id": {"$in": ids}, "stamp": stamp, "status": RUNNING})
            found = {document["_id"]: document for document in won}
        self._doubt = None
        return self._given_up([document_to_job(found[job_id]) for job_id in ids if job_id in found])

    def _given_up(self, jobs: list[Job]) -> list[Job]:
        """The jobs without the unique keys that their begin gives up. If this write is lost, the next submitter takes the key."""
        after = [after_begin(job, job.last_run_at or job.updated_at) for job in jobs]
        changed = [ObjectId(job.job_id) for job, now in zip(jobs, after, strict=True) if job.held_key != now.held_key]
        if changed:
            with contextlib.suppress(StoreUnavailable), self._server.call(writes=True):
                self._server.jobs.update_many({"_id": {"$in": changed}, "attempt": {"$gt": 0}}, {"$unset": {"held_key": ""}})
        return after

    # ---- candidates

    def _candidates(
        self, now: datetime, most: int, served: Served, lost_below: int | None
    ) -> tuple[list[Document], bool]:  # fmt: skip
        """One page in claiming order, and whether there may be more; of many, each claimer of a host takes a different part."""
        number, claimers = self._place
        size = max(FEW, min(most, MOST_A_CLAIM)) * claimers
        found = self._page(now, served, size, CANDIDATE_FIELDS, lost_below)
        is_full = len(found) == size
        if claimers > 1 and len(found) > FEW * claimers:
            found = [document for document in found if int.from_bytes(document["_id"].binary[-3:]) % claimers == number] or found
        return found[:MOST_A_CLAIM], is_full

    def _page(
        self, now: datetime, served: Served, size: int, fields: Document, lost_below: int | None = None
    ) -> list[Document]:  # fmt: skip
        """The first due jobs in claiming order; of those that were lost less than `lost_below` times, if it is given."""
        found: list[Document] = []
        seldom_lost = {} if lost_below is None else {"lost_count": {"$lt": lost_below}}
        for portion in self._portions(served, at_most=STRETCHES):
            due = {"status": PENDING, "priority": ANY_PRIORITY, "scheduled_at": {"$lte": now}, **_in_time(now), **portion}
            found += self._ask(due | seldom_lost, served, fields, sort=DUE, limit=size)
        return sorted(found, key=_in_order)[:size]

    def _ask(
        self, due: Document, served: Served, fields: Document, *, sort: list[tuple[str, int]], limit: int
    ) -> list[Document]:  # fmt: skip
        with self._server.call():
            asked = self._server.jobs.find(due, fields).sort(sort).limit(limit)
            return list(asked if served.tasks is None else asked.hint(due_index(served)))


ANY_PRIORITY = {"$gt": PRIORITIES[0] - 1, "$lt": PRIORITIES[-1] + 1}
"""A range, since a list of values would be merged with those of tasks and queues; see the module."""


def _guard(ids: list[ObjectId], now: datetime) -> Document:
    """Only jobs that are still due, and under no limit: a candidate may have become a retry that waits, or got a lane."""
    return {"_id": {"$in": ids}, "status": PENDING, "scheduled_at": {"$lte": now}, "lane": None, **_in_time(now)}


def _in_time(now: datetime) -> Document:
    """Only jobs that have not expired: of most jobs the field is not there."""
    return {"lapses_at": {"$not": {"$lte": now}}}


def _update(worker: str, stamp: ObjectId, owner: str, now: datetime, lease_s: float) -> Document:
    """T2 to T4. The row of the attempt that began is not stored before it ends; see `documents.running_execution`."""
    return {
        "$set": {
            "status": RUNNING, "claimed_by": owner, "holder": worker, "claimed_at": now, "queued_at": now, "updated_at": now,
            "locked_by": worker, "locked_until": now + timedelta(seconds=lease_s), "last_run_at": now, "stamp": stamp,
        },
        "$inc": {"epoch": 2, "attempt": 1},
        "$unset": {"next_run_at": "", "lapses_at": ""},
    }  # fmt: skip


def due_index(served: Served) -> str:
    """The index that begins with the fields that restrict what is served."""
    return DUE_INDEX if served.queues is None else DUE_IN_QUEUE_INDEX


def _except(served: Served, names: Collection[str]) -> Served:
    """What is served without the tasks and queues that have such a limit."""
    if not names:
        return served
    return Served(
        tasks=None if served.tasks is None else tuple(task for task in served.tasks if TASK + task not in names),
        queues=None if served.queues is None else tuple(queue for queue in served.queues if QUEUE + queue not in names),
    )


def _portions(served: Served, *, at_most: int, names: Collection[str] = ()) -> Iterator[Document]:
    """What is served, in portions that need no more than `at_most` index ranges each; `names`: limits that must not apply."""
    apart = {
        field: [name.removeprefix(kind) for name in names if name.startswith(kind)]
        for field, kind, given in (("task", TASK, served.tasks), ("queue", QUEUE, served.queues))
        if given is None
    }
    without: Document = {field: {"$nin": values} for field, values in apart.items() if values}
    queues = [None] if served.queues is None else sorted(set(served.queues))
    tasks = [None] if served.tasks is None else sorted(set(served.tasks))
    for some_queues in _cut(queues, at_most):
        for some_tasks in _cut(tasks, max(1, at_most // len(some_queues))):
            named = {"task": some_tasks, "queue": some_queues}
            yield {**without, **{name: {"$in": values} for name, values in named.items() if values != [None]}}


def _cut(names: Sequence[str | None], size: int) -> Iterator[list[str | None]]:
    for start in range(0, len(names), size):
        yield list(names[start : start + size])


def _in_order(document: Document) -> tuple[int, datetime, ObjectId]:
    return -document["priority"], document["scheduled_at"], document["_id"]
