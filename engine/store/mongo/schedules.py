"""Schedules on MongoDB: the jobs of a look first, unique by schedule and fire time, then the ends of what they replace, then the
guarded advance of the schedule.

A process that dies in between leaves a job whose schedule has not advanced; the next look finds the job by its fire time and
counts it. Two processes that look at the same moment store one job, and one of them advances. They may decide differently,
because a job ended between their looks, or a PUT came: then one stores a job that the other has counted as missed, or that nobody
will count. So a document keeps the latest fire times that were counted (`counted`), and who stored a job and could not advance
counts what is not among them.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from bson import ObjectId
from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from jobyard.engine.hooks.events import Missed
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.lifecycle import TERMINAL, Change
from jobyard.engine.schedules.look import Fires, Look
from jobyard.engine.schedules.schedule import ALLOW, CAUGHT_UP, OVERLAPPED, PAUSED, Schedule
from jobyard.engine.store.mongo.documents import HIDDEN, SMALL, Document, document_to_job
from jobyard.engine.store.mongo.hooks import MARK, MongoHooks, missed_document
from jobyard.engine.store.mongo.server import MongoServer
from jobyard.engine.store.port import Inserted, Insertion, NotUnique
from jobyard.engine.store.schedule_port import Decide, DueLooks, Fired

COUNTED = 100
SHOWN = {"counted": 0, MARK: 0}
GUARD_TRIES = 20
Fire = tuple[datetime, str]
GONE = [*(status.value for status in TERMINAL), *HIDDEN]


class MongoSchedules:
    """See `ScheduleStore`. `insert` and `apply` are those of the store of jobs."""

    def __init__(
        self, server: MongoServer, *, insert: Callable[[Sequence[Sequence[Job]]], list[Insertion]],
        apply: Callable[[Sequence[Change]], list[bool]], hooks: MongoHooks,
    ) -> None:  # fmt: skip
        self._hooks = hooks
        self._server = server
        self._insert = insert
        self._apply = apply

    def all(self) -> list[Schedule]:
        """See `ScheduleStore`."""
        with self._server.call():
            return [_schedule(document) for document in self._server.schedules.find({}, SHOWN).sort("_id", 1)]

    def find(self, name: str) -> Schedule | None:
        """See `ScheduleStore`."""
        with self._server.call():
            document = self._server.schedules.find_one({"_id": name}, SHOWN)
        return None if document is None else _schedule(document)

    def save(self, schedule: Schedule, *, was: int | None) -> bool:
        """See `ScheduleStore`."""
        with self._server.call(writes=True):
            if was is not None:
                guard = {"_id": schedule.name, "version": was}
                return bool(self._server.schedules.update_one(guard, {"$set": _document(schedule)}).matched_count)
            with contextlib.suppress(DuplicateKeyError):
                self._server.schedules.insert_one(_document(schedule))
                return True
        return False

    def delete(self, name: str) -> bool:
        """See `ScheduleStore`."""
        with self._server.call(writes=True):
            return bool(self._server.schedules.delete_one({"_id": name}).deleted_count)

    def next_fire_at(self) -> datetime | None:
        """See `ScheduleStore`."""
        with self._server.call():
            found = self._server.schedules.find({"next_fire_at": {"$gt": datetime.min}}, {"next_fire_at": 1})
            first: Document | None = next(iter(found.sort("next_fire_at", 1).limit(1)), None)
        return None if first is None else first["next_fire_at"]

    def living(self, name: str) -> list[Job]:
        """See `ScheduleStore`."""
        return self._living([name])[name]

    def made(self, name: str, *, since: datetime, until: datetime) -> dict[datetime, str]:
        """See `ScheduleStore`."""
        return self._made([name], since, until)[name]

    def fire_due(self, decide: Decide, *, now: datetime, limit: int) -> DueLooks:
        """See `ScheduleStore`."""
        done = DueLooks([])
        looks: list[Look] = []
        schedules = self._due(now, limit)
        living = self._living([one.name for one in schedules if one.asked.overlap != ALLOW])
        made = self._made([one.name for one in schedules], min((one.next_fire_at or now for one in schedules), default=now), now)
        for schedule in schedules:
            look = decide(schedule, living[schedule.name], made[schedule.name])
            if look is None:
                done.waiting += 1
            else:
                looks.append(look)
        job_ids = self._fire([job for look in looks for job in look.fires.jobs])
        stored = [(look, [job_ids[job.job_id] for job in look.fires.jobs]) for look in looks]
        stored = [(look, ids) for look, ids in stored if _UNSURE not in ids]
        cancelled = [self._cancel(look.fires.cancels) for look, _ in stored]
        advanced = self._advance([(look, look.after(ids)) for look, ids in stored], now)
        for (look, ids), ended in zip(stored, cancelled, strict=True):
            if look.schedule.name in advanced:
                done.fired.append(Fired(look, ids, ended))
            elif self._count_late(look, ids):
                own = [job_id if job.job_id == job_id else None for job, job_id in zip(look.fires.jobs, ids, strict=True)]
                late = Look(look.schedule, look.next_fire_at, Fires(jobs=look.fires.jobs))
                done.fired.append(Fired(late, own, ended))
        return done

    def _due(self, now: datetime, limit: int) -> list[Schedule]:
        with self._server.call():
            due = self._server.schedules.find({"next_fire_at": {"$lte": now}}, SHOWN)
            return [_schedule(document) for document in due.sort([("next_fire_at", 1), ("_id", 1)]).limit(limit)]

    def _living(self, names: Sequence[str]) -> defaultdict[str, list[Job]]:
        found: defaultdict[str, list[Job]] = defaultdict(list)
        wanted = {"schedule": {"$in": [*names]}, "fire_at": {"$exists": True}, "status": {"$nin": GONE}}
        if names:
            with self._server.call():
                for document in self._server.jobs.find(wanted, SMALL):
                    found[document["schedule"]].append(document_to_job(document))
        return found

    def _made(self, names: Sequence[str], since: datetime, until: datetime) -> defaultdict[str, dict[datetime, str]]:
        found: defaultdict[str, dict[datetime, str]] = defaultdict(dict)
        wanted = {"schedule": {"$in": [*names]}, "fire_at": {"$gte": since, "$lte": until}}
        if names:
            with self._server.call():
                for document in self._server.jobs.find(wanted, {"schedule": 1, "fire_at": 1}):
                    found[document["schedule"]][document["fire_at"]] = str(document["_id"])
        return found

    def _count_late(self, look: Look, job_ids: Sequence[str | None]) -> bool:
        """Count the jobs that this look has stored and nobody has counted, though the schedule has left their fire times behind."""
        ids = zip(look.fires.jobs, job_ids, strict=True)
        own = [(job.fire_at, job.job_id) for job, job_id in ids if job.job_id == job_id and job.fire_at is not None]
        for _ in range(GUARD_TRIES if own else 0):
            with self._server.call():
                document = self._server.schedules.find_one({"_id": look.schedule.name})
            late = None if document is None else _late(look.schedule, _schedule(document), own, document.get("counted", []))
            if document is None or late is None:
                return False
            counted = _counted([at for at, _ in own])
            guard = {"_id": late.name, "version": document["version"]}
            with self._server.call(writes=True):
                update = {"$set": _document(late), "$push": counted}
                if self._server.schedules.update_one(guard, update).matched_count:
                    return True
        return False

    def add(self, fires: Fires) -> list[str]:
        """See `ScheduleStore`."""
        known = self._known(fires.jobs)
        fresh = [job for job in fires.jobs if (job.schedule, job.fire_at) not in known]
        job_ids = self._fire(fresh)
        self._cancel(fires.cancels)
        return [job_id for job in fresh if isinstance(job_id := job_ids[job.job_id], str) and job_id != _UNSURE]

    def _fire(self, jobs: Sequence[Job]) -> dict[str, str | None]:
        """For each job the id of its fire's job: None when another job holds its unique key, `_UNSURE` when it is not stored."""
        if not jobs:
            return {}
        answers = {job.job_id: answer for job, answer in zip(jobs, self._insert([[job] for job in jobs]), strict=True)}
        known = self._known(jobs) if any(not isinstance(answer, Inserted) for answer in answers.values()) else {}
        return {job.job_id: known.get((job.schedule, job.fire_at)) or _id_of(answers[job.job_id]) for job in jobs}

    def _known(self, jobs: Sequence[Job]) -> dict[tuple[str | None, datetime | None], str]:
        """The jobs of these fires that are stored already."""
        if not jobs:
            return {}
        names, times = {job.schedule for job in jobs}, {job.fire_at for job in jobs}
        wanted = {"schedule": {"$in": list(names)}, "fire_at": {"$in": list(times)}}
        with self._server.call():
            found = self._server.jobs.find(wanted, {"schedule": 1, "fire_at": 1})
            return {(document["schedule"], document["fire_at"]): str(document["_id"]) for document in found}

    def _advance(self, changed: Sequence[tuple[Look, Schedule]], now: datetime) -> set[str]:
        """The names of the schedules that advanced; the others were changed by somebody else meanwhile."""
        if not changed:
            return set()
        missed = {after.name: self._hooks.missed_in(look, now) for look, after in changed}
        advanced = self._update(changed, missed)
        self._hooks.tell_missed([one for name in advanced for one in missed[name]])
        return advanced

    def _update(self, changed: Sequence[tuple[Look, Schedule]], missed: Mapping[str, Sequence[Missed]]) -> set[str]:
        stamp = ObjectId()
        updates = [
            UpdateOne(
                {"_id": after.name, "version": look.schedule.version},
                {"$set": {**_document(after), "stamp": stamp}, "$push": _counted(_times(look)) | _marks(missed[after.name])},
            )
            for look, after in changed
        ]
        with self._server.call(writes=True):
            matched = self._server.schedules.bulk_write(updates, ordered=False).matched_count
            if matched == len(changed):
                return {after.name for _, after in changed}
            return {document["_id"] for document in self._server.schedules.find({"stamp": stamp}, {"_id": 1})}

    def _cancel(self, cancels: Sequence[tuple[Job, Change]]) -> list[tuple[Job, Job]]:
        if not cancels:
            return []
        done = self._apply([change for _, change in cancels])
        return [(job, change.after(job)) for (job, change), was_done in zip(cancels, done, strict=True) if was_done]


_UNSURE = ""


def _times(look: Look) -> list[datetime]:
    """The fire times of a look that have a job, or would have one but for a unique key."""
    return sorted([*(job.fire_at for job in look.fires.jobs if job.fire_at is not None), *(at for at, _ in look.fires.known)])


def _late(before: Schedule, stored: Schedule, own: Sequence[Fire], counted: Sequence[datetime]) -> Schedule | None:
    """The schedule with these fires counted; None if they are, or whoever looks next finds them due."""
    is_same = stored.asked.timing == before.asked.timing
    known_from = min(counted, default=None) if len(counted) >= COUNTED else None
    known_from = known_from if is_same else stored.last_fire_at  # a PUT counts the jobs that it finds
    left = [(at, job_id) for at, job_id in own if at not in counted and (known_from is None or at > known_from)]
    left = [(at, job_id) for at, job_id in left if not (is_same and _is_due(stored, at))]
    if not left or stored.version <= before.version:
        return None
    at, job_id = max(left)
    missed, surplus = dict(stored.missed), len(left) if is_same else 0
    for reason in (OVERLAPPED, CAUGHT_UP, PAUSED):  # another one has counted them so
        taken = min(surplus, missed.get(reason, 0) - before.missed.get(reason, 0))
        if taken > 0:
            missed[reason], surplus = missed[reason] - taken, surplus - taken
    is_newest = stored.last_fire_at is None or at > stored.last_fire_at
    return msgspec.structs.replace(
        stored, fires=stored.fires + len(left), missed=missed, version=stored.version + 1,
        last_fire_at=at if is_newest else stored.last_fire_at, last_job_id=job_id if is_newest else stored.last_job_id,
    )  # fmt: skip


def _marks(missed: Sequence[Missed]) -> Document:
    return {MARK: {"$each": [missed_document(one) for one in missed]}} if missed else {}


def _counted(times: Sequence[datetime]) -> Document:
    return {"counted": {"$each": [*times], "$slice": -max(COUNTED, len(times))}}


def _is_due(schedule: Schedule, at: datetime) -> bool:
    return schedule.next_fire_at is not None and schedule.next_fire_at <= at


def _id_of(answer: Insertion) -> str | None:
    if isinstance(answer, Inserted):
        return None if answer.existing and not answer.replaced else answer.job_ids[0]
    return None if isinstance(answer, NotUnique) else _UNSURE


def _document(schedule: Schedule) -> Document:
    document: dict[str, Any] = msgspec.to_builtins(schedule, builtin_types=(datetime,))
    document["_id"] = document.pop("name")
    document["asked"] = msgspec.json.encode(schedule.asked).decode()
    return document


def _schedule(document: Document) -> Schedule:
    values = {**document, "name": document["_id"], "asked": msgspec.json.decode(document["asked"])}
    return msgspec.convert({name: values[name] for name in Schedule.__struct_fields__ if name in values}, Schedule)
