"""Claims due jobs on MongoDB: a query for candidates, one guarded update that stamps them, a query for the stamp.

A claimer that loses a document sees that it is taken and moves on. A claim whose reply was lost is settled by its stamp on the
next call.

The cost of the queries must not grow with the number of waiting jobs, whether of this host or of others. MongoDB reads several
ranges of an index in one order, without sorting, if each field before that order has one value or a list of values (it merges up
to 200 ranges) and no field of the order itself has. So priorities are queried as ranges, tasks in portions, and queues only where
`QUEUES` is set, for which there is an index that begins with both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from bson import ObjectId
from pymongo import ReturnDocument

from jobyard.engine.jobs.job import Status, Ticket
from jobyard.engine.store.mongo.counts import MongoCounts
from jobyard.engine.store.mongo.documents import TICKET_FIELDS, Document, document_to_ticket
from jobyard.engine.store.mongo.lanes import MongoLanes
from jobyard.engine.store.mongo.server import DUE, DUE_IN_QUEUE_INDEX, DUE_INDEX, MongoServer
from jobyard.engine.store.port import Claimed, Served

MOST_A_CLAIM = 500
FEW = 20
STRETCHES = 200
PENDING, QUEUED = Status.PENDING.value, Status.QUEUED.value


class MongoClaims:
    """The claims of one process, one at a time."""

    def __init__(self, server: MongoServer, counts: MongoCounts, *, place: tuple[int, int]) -> None:
        """`place`: see `MongoStore`."""
        self._server = server
        self._counts = counts
        self._place = place
        self._lanes = MongoLanes(server)
        self._doubt: tuple[ObjectId, list[ObjectId]] | None = None

    def claim_due(self, *, owner: str, now: datetime, limits: Sequence[int], served: Served) -> Claimed:
        """See `Store`."""
        if self._doubt is not None and (won := self._settle_doubt()):
            self._counts.move(Counter({PENDING: -len(won), QUEUED: len(won)}))
            return Claimed(tickets=won)
        candidates = self._candidates(now, limits, served)
        heads = [head for head in self._lanes.heads(served, _left(limits, candidates)) if head["scheduled_at"] <= now]
        if not candidates:
            return Claimed(tickets=self._claim_in_lanes(heads, owner, now))
        stamp, ids = ObjectId(), [candidate["_id"] for candidate in candidates]
        self._doubt = (stamp, ids)
        guard = {"_id": {"$in": ids}, "status": PENDING, "scheduled_at": {"$lte": now}}  # it may have become a retry that waits
        update = _claimed(owner, now, stamp)
        tickets = self._take_one(guard, update) if len(ids) == 1 else self._take_many(guard, update)
        conflicts = len(candidates) - len(tickets)
        return Claimed(tickets=tickets + self._claim_in_lanes(heads, owner, now), conflicts=conflicts)

    def next_due(self, limits: Sequence[int], served: Served) -> datetime | None:
        """See `Store`."""
        priorities = [priority for priority, limit in enumerate(limits) if limit > 0]
        if not priorities:
            return None
        found: list[Document] = []
        for portion in _portions(served, at_most=STRETCHES // len(priorities)):
            due = {"status": PENDING, "priority": {"$in": priorities}, **portion}
            found += self._ask(due, served, {"scheduled_at": 1}, sort=[("scheduled_at", 1)], limit=1)
        in_lanes = self._lanes.next_due(served, limits)
        return min([*(document["scheduled_at"] for document in found), *([in_lanes] if in_lanes else [])], default=None)

    # ---- claiming

    def _claim_in_lanes(self, heads: Sequence[Document], owner: str, now: datetime) -> list[Ticket]:
        won = self._lanes.claim(heads, _claimed(owner, now, ObjectId()))
        self._counts.move(Counter({PENDING: -len(won), QUEUED: len(won)}))
        return [document_to_ticket(document) for document in won]

    def _take_one(self, guard: Document, update: Document) -> list[Ticket]:
        with self._server.call(writes=True):
            won = self._server.jobs.find_one_and_update(
                guard, update, projection=TICKET_FIELDS, return_document=ReturnDocument.AFTER
            )  # fmt: skip
        self._doubt = None
        self._counts.move(Counter({PENDING: -1, QUEUED: 1}) if won else Counter())
        return [document_to_ticket(won)] if won else []

    def _take_many(self, guard: Document, update: Document) -> list[Ticket]:
        with self._server.call(writes=True):
            taken = self._server.jobs.update_many(guard, update).modified_count
        self._counts.move(Counter({PENDING: -taken, QUEUED: taken}))
        return self._settle_doubt()

    def _settle_doubt(self) -> list[Ticket]:
        """The tickets that the last claim won, in candidate order; settles a claim whose reply was lost."""
        assert self._doubt is not None
        stamp, ids = self._doubt
        with self._server.call():
            won = self._server.jobs.find({"_id": {"$in": ids}, "stamp": stamp, "status": QUEUED}, TICKET_FIELDS)
            found = {document["_id"]: document for document in won}
        self._doubt = None
        return [document_to_ticket(found[job_id]) for job_id in ids if job_id in found]

    # ---- candidates

    def _candidates(self, now: datetime, limits: Sequence[int], served: Served) -> list[Document]:
        """One page in claiming order; where there are many, each claimer of a host takes a different part of them."""
        number, claimers = self._place
        found = self._page(now, limits, served, min(sum(limits), MOST_A_CLAIM) * claimers)
        if claimers > 1 and len(found) > FEW * claimers:
            found = [document for document in found if int.from_bytes(document["_id"].binary[-3:]) % claimers == number] or found
        taken: Counter[int] = Counter()
        chosen: list[Document] = []
        for document in found:
            if taken[document["priority"]] < limits[document["priority"]] and len(chosen) < MOST_A_CLAIM:
                taken[document["priority"]] += 1
                chosen.append(document)
        return chosen

    def _page(self, now: datetime, limits: Sequence[int], served: Served, size: int) -> list[Document]:
        fields = {"priority": 1, "scheduled_at": 1}
        page: list[Document] = []
        for lowest, highest in _runs(limits):
            found: list[Document] = []
            for portion in _portions(served, at_most=STRETCHES):
                due = {"status": PENDING, "priority": _between(lowest, highest), "scheduled_at": {"$lte": now}, **portion}
                found += self._ask(due, served, fields, sort=DUE, limit=size - len(page))
            page += sorted(found, key=_in_order)[: size - len(page)]
            if len(page) == size:
                break
        return page

    def _ask(
        self, due: Document, served: Served, fields: Document, *, sort: list[tuple[str, int]], limit: int
    ) -> list[Document]:  # fmt: skip
        with self._server.call():
            asked = self._server.jobs.find(due, fields).sort(sort).limit(limit)
            return list(asked if served.tasks is None else asked.hint(due_index(served)))


def _claimed(owner: str, now: datetime, stamp: ObjectId) -> Document:
    values = {"status": QUEUED, "claimed_by": owner, "holder": owner, "claimed_at": now, "queued_at": now, "updated_at": now}
    return {"$set": {**values, "stamp": stamp}, "$inc": {"epoch": 1}}


def _left(limits: Sequence[int], candidates: Sequence[Document]) -> list[int]:
    taken = Counter(candidate["priority"] for candidate in candidates)
    return [limit - taken[priority] for priority, limit in enumerate(limits)]


def due_index(served: Served) -> str:
    """The index that begins with the fields that restrict what is served."""
    return DUE_INDEX if served.queues is None else DUE_IN_QUEUE_INDEX


def _runs(limits: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The priorities with room as ranges (lowest, highest), highest first."""
    highest = None
    for priority in range(len(limits) - 1, -2, -1):
        has_room = priority >= 0 and limits[priority] > 0
        if has_room and highest is None:
            highest = priority
        elif not has_room and highest is not None:
            yield priority + 1, highest
            highest = None


def _between(lowest: int, highest: int) -> Document:
    """A range, even for a single priority; see the module."""
    return {"$gt": lowest - 1, "$lt": highest + 1}


def _portions(served: Served, *, at_most: int) -> Iterator[Document]:
    """What is served, in portions that need no more than `at_most` index ranges each."""
    queues = [None] if served.queues is None else sorted(set(served.queues))
    tasks = [None] if served.tasks is None else sorted(set(served.tasks))
    for some_queues in _cut(queues, at_most):
        for some_tasks in _cut(tasks, max(1, at_most // len(some_queues))):
            named = {"task": some_tasks, "queue": some_queues}
            yield {name: {"$in": values} for name, values in named.items() if values != [None]}


def _cut(names: Sequence[str | None], size: int) -> Iterator[list[str | None]]:
    for start in range(0, len(names), size):
        yield list(names[start : start + size])


def _in_order(document: Document) -> tuple[int, datetime, ObjectId]:
    return -document["priority"], document["scheduled_at"], document["_id"]
