"""Who waits for whom on MongoDB: the jobs' own documents say it, `after` forwards and by its index backwards, and so do the marks.

Two documents never change together, so a new blocked job is marked `to_resolve`: whoever finds it marks what it waits for, then
judges it. What ended before that mark is seen by the judgement, and what ends after it is found by its own marks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime

import msgspec
from bson import ObjectId

from jobyard.engine.jobs.job import Dependency, Job, Status
from jobyard.engine.jobs.lifecycle import TERMINAL
from jobyard.engine.store.mongo.counts import MongoCounts
from jobyard.engine.store.mongo.documents import HIDDEN, SMALL, STATUSES, Document, document_to_job
from jobyard.engine.store.mongo.server import MongoServer
from jobyard.engine.workflows.port import Group, Unresolved
from jobyard.engine.workflows.rules import GroupStanding, Standing

A_QUESTION = 5_000
"""Ids in one query."""
WAITING_SHOWN = 100
PURGE_PAGE, PURGE_LOOK = 500, 5_000
MARKED = {"status": 1, "epoch": 1, "group": 1, "is_awaited": 1, "to_resolve": 1}
STANDING = {"status": 1, "finished_at": 1}
ID = {"_id": 1}
LIVING = [status.value for status in Status if status not in TERMINAL]
ENDED_BADLY = [Status.FAILED.value, Status.CANCELLED.value]


class MongoWorkflows:
    """See `WorkflowStore`."""

    def __init__(self, server: MongoServer, counts: MongoCounts, *, finish: Callable[[Sequence[str]], bool]) -> None:
        """`finish` makes jobs visible whose request is stored, and says whether there were any."""
        self._server = server
        self._counts = counts
        self._finish = finish

    # ---- what is to be done

    def may_have_unresolved(self) -> bool:
        """Where no job was blocked at the last write of this process, nobody is asked."""
        return self._counts.blocked > 0 and bool(self.unresolved(limit=1))

    def unresolved(self, *, limit: int) -> list[Unresolved]:
        """See `WorkflowStore`."""
        with self._server.call():
            marked = self._server.jobs.find({"to_resolve": True, "status": {"$nin": HIDDEN}}, MARKED).limit(limit)
            ended = {"is_awaited": True, "finished_at": {"$exists": True}, "status": {"$nin": HIDDEN}}
            found = [*marked, *self._server.jobs.find(ended, MARKED).sort("finished_at", 1).limit(limit)]
        jobs = {document["_id"]: _unresolved(document) for document in found[:limit]}
        return list(jobs.values())

    def resolved(self, jobs: Sequence[Unresolved]) -> None:
        """See `WorkflowStore`."""
        alike: dict[tuple[bool, int], list[ObjectId]] = {}
        for job in jobs:
            is_over = job.is_awaited is not None and job.has_ended
            alike.setdefault((is_over, job.epoch), []).append(ObjectId(job.job_id))
        for (is_over, epoch), ids in alike.items():
            update: Document = {"$unset": {"to_resolve": ""}} | ({"$set": {"is_awaited": False}} if is_over else {})
            with self._server.call(writes=True):
                self._server.jobs.update_many({"_id": {"$in": ids}, "epoch": epoch}, update)

    def await_all(self, job_ids: Sequence[str]) -> None:
        """A job that ends between the two writes has ended before the second one."""
        for some in _portions(job_ids):
            with self._server.call(writes=True):
                living = {"_id": {"$in": some}, "finished_at": None, "is_awaited": {"$ne": True}}
                self._server.jobs.update_many(living, {"$set": {"is_awaited": True}})
                self._server.jobs.update_many({"_id": {"$in": some}, "is_awaited": None}, {"$set": {"is_awaited": False}})

    # ---- facts

    def standings(self, job_ids: Collection[str]) -> dict[str, Standing]:
        """See `Facts`."""
        found: dict[str, Standing] = {}
        for some in _portions(list(job_ids)):
            with self._server.call():
                for document in self._server.jobs.find({"_id": {"$in": some}, "status": {"$nin": HIDDEN}}, STANDING):
                    standing = _standing(document)
                    found[standing.job_id] = standing
        missing = [job_id for job_id in job_ids if job_id not in found]
        if missing and self._finish(missing):
            found |= self.standings(missing)
        return found

    def group_standing(self, name: str) -> GroupStanding:
        """Who lives is asked last: a member that is added meanwhile, by one that lives, is seen."""
        of_group: Document = {"group": name}
        with self._server.call():
            jobs = self._server.jobs
            is_awaited = jobs.find_one({"after.group": name, "status": {"$nin": HIDDEN}}, {"_id": 1}) is not None
            is_known = jobs.find_one({**of_group, "status": {"$nin": HIDDEN}}, {"_id": 1}) is not None
            bad = jobs.find_one({**of_group, "status": {"$in": ENDED_BADLY}}, STANDING, sort=[("finished_at", 1)])
            last = jobs.find_one({**of_group, "finished_at": {"$exists": True}}, STANDING, sort=[("finished_at", -1)])
            lives = jobs.find_one({**of_group, "status": {"$in": LIVING}}, {"_id": 1}) is not None
        return GroupStanding(
            is_known=is_known, lives=lives, bad=None if bad is None else _standing(bad),
            ended_at=None if last is None else last["finished_at"], is_awaited=is_awaited,
        )  # fmt: skip

    def waits(self, job_ids: Collection[str]) -> dict[str, tuple[Dependency, ...]]:
        """See `Facts`."""
        found: dict[str, tuple[Dependency, ...]] = {}
        for some in _portions(list(job_ids)):
            asked = {"_id": {"$in": some}, "after": {"$exists": True}, "status": {"$nin": HIDDEN}}
            with self._server.call():
                for document in self._server.jobs.find(asked, {"after": 1}):
                    found[str(document["_id"])] = msgspec.convert(document["after"], tuple[Dependency, ...])
        return found

    def waiting_members(self, group: str) -> list[str]:
        """See `Facts`."""
        with self._server.call():
            members = self._server.jobs.find({"group": group, "after": {"$exists": True}, "status": {"$nin": HIDDEN}}, {"_id": 1})
            return [str(document["_id"]) for document in members]

    def dependents(
        self, dependencies: Sequence[Dependency], *, status: Status | None = None, after: str | None = None, limit: int
    ) -> list[Job]:  # fmt: skip
        """See `WorkflowStore`."""
        named = {
            "after.job_id": [one.job_id for one in dependencies if one.job_id is not None],
            "after.group": [one.group for one in dependencies if one.group is not None],
        }  # fmt: skip
        wanted = {"status": {"$nin": HIDDEN} if status is None else status.value, **_past(after)}
        found: dict[ObjectId, Document] = {}
        for field, values in named.items():
            if values:
                with self._server.call():
                    asked = self._server.jobs.find({field: {"$in": values}, **wanted}, SMALL).sort("_id", 1).limit(limit)
                    found |= {document["_id"]: document for document in asked}
        return [document_to_job(found[job_id]) for job_id in sorted(found)[:limit]]

    def blocked(self, *, before: datetime, after: str | None = None, limit: int) -> list[Job]:
        """See `WorkflowStore`."""
        wanted = {"status": Status.BLOCKED.value, "updated_at": {"$lt": before}, **_past(after)}
        with self._server.call():
            return [document_to_job(document) for document in self._server.jobs.find(wanted, SMALL).sort("_id", 1).limit(limit)]

    # ---- groups

    def group(self, name: str) -> Group | None:
        """See `WorkflowStore`."""
        counts: dict[Status, int] = {}
        with self._server.call():
            for stored, status in STATUSES.items():
                counts[status] = self._server.jobs.count_documents({"group": name, "status": stored})
            first = self._server.jobs.find_one(
                {"group": name, "status": {"$nin": HIDDEN}}, {"created_at": 1}, sort=[("created_at", 1)]
            )  # fmt: skip
            waiting = self._server.jobs.find({"after.group": name, "status": {"$in": LIVING}}, {"_id": 1})
            shown = [str(document["_id"]) for document in waiting.sort("_id", 1).limit(WAITING_SHOWN)]
        if first is None:
            return None
        standing = self.group_standing(name)
        return Group(
            name=name, counts=counts, created_at=first["created_at"], ended_at=None if standing.lives else standing.ended_at,
            waiting=shown,
        )  # fmt: skip

    def living_groups(self, *, limit: int) -> list[Group]:
        """See `WorkflowStore`."""
        with self._server.call():
            names = self._server.jobs.distinct("group", {"group": {"$exists": True}, "status": {"$in": LIVING}})
            began = {
                name: self._server.jobs.find_one({"group": name}, {"created_at": 1}, sort=[("created_at", 1)]) for name in names
            }
        newest = sorted((document["created_at"], name) for name, document in began.items() if document is not None)[::-1]
        return [group for _, name in newest[:limit] if (group := self.group(name)) is not None]

    def results(self, job_ids: Sequence[str], *, max_bytes: int) -> dict[str, bytes] | None:
        """See `WorkflowStore`."""
        found: dict[str, bytes] = {}
        for some in _portions(job_ids):
            with self._server.call():
                for document in self._server.jobs.find({"_id": {"$in": some}, "status": Status.COMPLETED.value}, {"result": 1}):
                    found[str(document["_id"])] = document["result"].encode()
                    max_bytes -= len(document["result"])
                    if max_bytes < 0:
                        return None
        return found

    def unread(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Those of these ended jobs that no living job may read; of very many that are kept, only some are looked at."""
        looked_at = itertools.islice(documents, PURGE_LOOK)
        while some := list(itertools.islice(looked_at, PURGE_PAGE)):
            awaited = [document for document in some if "is_awaited" in document]
            kept = self._kept(awaited) if awaited else set()
            yield from (document for document in some if document["_id"] not in kept)

    def reader(self, job: Job) -> str | None:
        """See `WorkflowStore`."""
        asked = [{"after.job_id": job.job_id}, *([] if job.group is None else [{"after.group": job.group}])]
        with self._server.call():
            found = (self._server.jobs.find_one({**one, "status": {"$in": LIVING}}, ID) for one in asked)
            return next((str(document["_id"]) for document in found if document is not None), None)

    def _kept(self, documents: Sequence[Document]) -> set[ObjectId]:
        """Those of these awaited jobs that living jobs wait for, or may read, or whose groups live."""
        groups = {document["group"] for document in documents if "group" in document}
        living = {"status": {"$in": LIVING}}
        with self._server.call():
            find_one = self._server.jobs.find_one
            roles = ("group", "after.group")
            kept = {name for name in groups if any(find_one({role: name, **living}, ID) for role in roles)}
            return {
                document["_id"]
                for document in documents
                if document.get("group") in kept or find_one({"after.job_id": str(document["_id"]), **living}, ID)
            }


def _past(job_id: str | None) -> Document:
    return {} if job_id is None else {"_id": {"$gt": ObjectId(job_id)}}


def _portions(job_ids: Sequence[str]) -> Iterator[list[ObjectId]]:
    for start in range(0, len(job_ids), A_QUESTION):
        yield [ObjectId(job_id) for job_id in job_ids[start : start + A_QUESTION]]


def _unresolved(document: Document) -> Unresolved:
    status, epoch = STATUSES[document["status"]], document["epoch"]
    marks = document.get("is_awaited"), document.get("to_resolve")
    return Unresolved(str(document["_id"]), status, epoch, document.get("group"), *marks)


def _standing(document: Document) -> Standing:
    return Standing(str(document["_id"]), STATUSES[document["status"]], document.get("finished_at"))
