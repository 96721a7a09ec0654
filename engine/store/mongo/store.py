"""The store on MongoDB. One document holds a job and its latest attempt, so everything that must change together is one write.

There are no transactions: each change is a guarded update of one document, atomic on any server; a batch of them is one command.
Its reply says how many updates matched; if not all did, the ones that did are found by the stamp that the write left. Claims are in
`mongo.claims`, submissions in `mongo.insert`, queries by filter in `mongo.search`, the counters in `mongo.counts`.

`job_executions` is written when an attempt ends; until then, and if that write is lost, the row is in the job's document.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain

from bson import ObjectId
from pymongo import ReplaceOne, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs.job import Execution, ExecutionStatus, HttpLease, Job, JobFilter, Output, Status
from jobyard.engine.jobs.lifecycle import TERMINAL, Change
from jobyard.engine.store.bounds import AHEAD_LOOK, COUNT_LOOK, EXECUTIONS_BYTES, LOOK, OUTPUTS_BYTES, PAGE_BYTES, latest_within
from jobyard.engine.store.limit_port import LimitStore
from jobyard.engine.store.mongo.claims import MongoClaims
from jobyard.engine.store.mongo.counts import MongoCounts
from jobyard.engine.store.mongo.documents import (
    EXECUTION_FIELDS,
    HIDDEN,
    PURGED,
    SMALL,
    Document,
    document_to_execution,
    document_to_job,
    execution_to_document,
    executions_in,
    guard_of,
    update_of,
)
from jobyard.engine.store.mongo.hooks import MongoHooks
from jobyard.engine.store.mongo.http_leases import http_leases, is_living
from jobyard.engine.store.mongo.insert import MongoInsert
from jobyard.engine.store.mongo.lanes import MongoLanes
from jobyard.engine.store.mongo.limits import MongoLimits
from jobyard.engine.store.mongo.named_rows import MongoNamedRows
from jobyard.engine.store.mongo.outputs import MongoOutputs
from jobyard.engine.store.mongo.records import MongoRecords
from jobyard.engine.store.mongo.remembered_keys import MongoRememberedKeys
from jobyard.engine.store.mongo.removal import MongoRemoval
from jobyard.engine.store.mongo.reports import MongoReports
from jobyard.engine.store.mongo.schedules import MongoSchedules
from jobyard.engine.store.mongo.search import MongoSearch
from jobyard.engine.store.mongo.server import DUPLICATE, MongoServer
from jobyard.engine.store.named_port import NamedRows
from jobyard.engine.store.port import (
    ANYTHING,
    Allocation,
    Claimed,
    Count,
    Due,
    HostHeartbeat,
    Insertion,
    Page,
    Record,
    Seen,
    Served,
    nobody,
)
from jobyard.engine.store.report_port import ReportStore
from jobyard.engine.store.schedule_port import ScheduleStore
from jobyard.engine.workflows.port import WorkflowStore
from jobyard.engine.world import World

RUNNING, ENDED = ExecutionStatus.RUNNING, [status.value for status in TERMINAL]


class MongoStore:
    """Implements `Store` and `Hosts`."""

    def __init__(
        self, server: MongoServer, *, origin: str = "", place: tuple[int, int] = (0, 1), world: World | None = None
    ) -> None:  # fmt: skip
        """`origin`: this host, as accepted jobs are marked. `place`: the index of this claimer and their number on this host."""
        self._server = server
        self._place = place
        self._counts = MongoCounts(server)
        self._lanes = MongoLanes(server, world or World())
        self.limits: LimitStore = MongoLimits(server, self._lanes)
        self._claims = MongoClaims(server, self._counts, self._lanes, place=place)
        self._search = MongoSearch(server, self._counts.read, World())
        self._outputs = MongoOutputs(server)
        self._records = MongoRecords(server, self._outputs)
        self.reports: ReportStore = MongoReports(server)
        self._requests = MongoInsert(server, self._counts, self._lanes, origin=origin)
        self.workflows: WorkflowStore = self._requests.workflows
        self._removal = MongoRemoval(server, self._counts, self._outputs, self._requests.workflows)
        self.hooks: NamedRows = MongoNamedRows(server, "hooks")
        self._told_hooks = MongoHooks(
            server, self.hooks, World(), lambda jobs: self._requests.insert(jobs, lambda number: False),
            group_end=lambda group: self._requests.workflows.group_standing(group).end,
        )  # fmt: skip
        self.schedules: ScheduleStore = MongoSchedules(
            server, insert=lambda requests: self._requests.insert(requests, lambda number: False), apply=self.apply,
            hooks=self._told_hooks,
        )  # fmt: skip
        self.http_tasks: NamedRows = MongoNamedRows(server, "http_tasks", in_use=lambda task: is_living(server, task))
        self.remembered_keys = MongoRememberedKeys(server)
        self._words: str | None = None

    # ---- T1

    def insert(
        self, requests: Sequence[Sequence[Job]], *, abandoned: Callable[[int], bool] = lambda number: False, seen: Seen = nobody
    ) -> list[Insertion]:  # fmt: skip
        insertions = self._requests.insert(requests, abandoned)
        seen(insertions)
        return insertions

    def free_key(self, key: str, *, now: datetime) -> Job | None:
        return self._requests.free_key(key, now)

    # ---- T2 to T4

    def claim_due(
        self, *, owner: str, now: datetime, lease_s: float, allocation: Allocation, served: Served = ANYTHING
    ) -> Claimed:  # fmt: skip
        return self._claims.claim_due(owner=owner, now=now, lease_s=lease_s, allocation=allocation, served=served)

    def next_due(self, *, served: Served = ANYTHING) -> datetime | None:
        return self._claims.next_due(served)

    def due(self, *, now: datetime, limit: int, served: Served = ANYTHING) -> list[Job]:
        return self._claims.due(now, limit, served)

    def count_due(self, *, now: datetime, served: Served = ANYTHING, look: int = AHEAD_LOOK) -> Due:
        return self._search.count_due(now=now, served=served, look=look)

    def runs_lost_job(self, owner: str, *, at_least: int) -> bool:
        with self._server.call():
            return self._server.jobs.find_one({"holder": owner, "lost_count": {"$gte": at_least}}, {"_id": 1}) is not None

    # ---- all other transitions

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """Outputs are written before their attempts end, so that whoever sees the end finds the output."""
        if not changes:
            return []
        self._keep_rows([change.job_id for change in changes if _ends_again(change)])
        self._outputs.write([change.output for change in changes if change.output is not None])
        done = [False for _ in changes]
        for wave in _waves(changes):
            applied = self._apply_wave([changes[index] for index in wave])
            for index in wave:
                done[index] = changes[index].job_id in applied
            self._note([change for index, change in enumerate(changes) if index in wave and done[index]])
            self._told_hooks.tell([change for index, change in enumerate(changes) if index in wave and done[index]])
        self._drop_outputs([change.output for change, is_done in zip(changes, done, strict=True) if change.output and not is_done])
        return done

    def _apply_wave(self, changes: Sequence[Change]) -> set[str]:
        """The jobs that were changed; each job occurs at most once in `changes`."""
        stamp = ObjectId()
        marks = zip(changes, self._told_hooks.marks(changes), strict=True)
        updates = [UpdateOne(guard_of(change), update_of(change, stamp) | mark) for change, mark in marks]
        with self._server.call(writes=True):
            matched = _matched(self._server.jobs, updates)
            if matched in (0, len(changes)):
                return {change.job_id for change in changes} if matched else set()
            ids = [ObjectId(change.job_id) for change in changes]
            changed = {str(found["_id"]) for found in self._server.jobs.find({"_id": {"$in": ids}, "stamp": stamp}, {"_id": 1})}
        if len(changed) < matched:  # another process has moved one on since
            self._counts.doubt()
        return changed

    def _note(self, applied: Sequence[Change]) -> None:
        """Follow-up writes for applied changes: the counters, and the rows of ended attempts.

        Never fails: the rows are in the jobs' documents, too, and are stored before they are overwritten there. Never waits twice
        for an unreachable database: the caller holds jobs and must be able to end them in time.
        """
        deltas: Counter[str] = Counter()
        for change in applied:
            deltas[change.status.value] -= 1
            deltas[str(change.fields["status"])] += 1
        if not self._counts.move(deltas):
            return
        self._lanes.follow(applied)
        ended = [change.execution for change in applied if change.execution is not None]
        with contextlib.suppress(StoreUnavailable):
            self._replace_rows([execution_to_document(row) for row in ended if row.status is not RUNNING])

    def _drop_outputs(self, refused: Sequence[Output]) -> None:
        """Remove outputs whose attempt did not end as their worker wanted, unless only the reply to its end was lost."""
        with contextlib.suppress(StoreUnavailable):
            for output in refused:
                row = next((row for row in self.executions(output.job_id) if row.attempt == output.attempt), None)
                if row is None or row.status is ExecutionStatus.LOST:
                    self._outputs.drop(output)

    def _replace_rows(self, rows: Sequence[Document]) -> None:
        if rows:
            with self._server.call():
                replacements = [ReplaceOne({"_id": row["_id"]}, row, upsert=True) for row in rows]
                self._server.executions.bulk_write(replacements, ordered=False)

    def _keep_rows(self, job_ids: Sequence[str]) -> None:
        """Store the rows of earlier attempts before a later one replaces them in the documents."""
        if not job_ids:
            return
        with self._server.call():
            wanted = {"_id": {"$in": [ObjectId(job_id) for job_id in job_ids]}, "execution": {"$exists": True}}
            rows = [document["execution"] for document in self._server.jobs.find(wanted, {"execution": 1})]
        self._replace_rows([row for row in rows if row["status"] != RUNNING])

    # ---- reading

    def find(self, job_ids: Sequence[str], *, whole: bool = True) -> list[Job | None]:
        if not job_ids:
            return []
        wanted = {"_id": {"$in": [ObjectId(job_id) for job_id in job_ids]}, "status": {"$nin": HIDDEN}}
        with self._server.call():
            documents = self._server.jobs.find(wanted, None if whole else SMALL)
            found = {str(document["_id"]): document_to_job(document) for document in documents}
        missing = [job_id for job_id in job_ids if job_id not in found]
        if missing and self._requests.finish(missing):
            found |= {job.job_id: job for job in self.find(missing, whole=whole) if job is not None}
        return [found.get(job_id) for job_id in job_ids]

    def ended(self, job_ids: Sequence[str]) -> list[str]:
        """Staged jobs have not ended: their request may be stored already."""
        asked = {"_id": {"$in": [ObjectId(job_id) for job_id in job_ids]}, "status": {"$nin": [*ENDED, PURGED]}}
        with self._server.call():
            going_on = {str(document["_id"]) for document in self._server.jobs.find(asked, {"_id": 1})}
        return [job_id for job_id in job_ids if job_id not in going_on]

    def version(self) -> object | None:
        return None

    def list_jobs(
        self, wanted: JobFilter, *, limit: int, cursor: str | None = None, max_bytes: int = PAGE_BYTES, whole: bool = True,
        look: int = LOOK,
    ) -> Page:  # fmt: skip
        self._requests.finish_own()
        return self._search.page(wanted, limit=limit, cursor=cursor, max_bytes=max_bytes, whole=whole, look=look)

    def count_jobs(self, wanted: JobFilter, *, look: int = COUNT_LOOK) -> Count:
        self._requests.finish_own()
        return self._search.count(wanted, look=look)

    def count_ahead(self, job: Job, *, now: datetime, served: Served = ANYTHING, look: int = AHEAD_LOOK) -> Count:
        return self._search.count_ahead(job, now=now, served=served, look=look)

    def counts(self) -> dict[Status, int]:
        return self._counts.read()

    def expired(self, *, now: datetime, limit: int) -> list[Job]:
        with self._server.call():
            found = self._server.jobs.find({"lapses_at": {"$lte": now}, "status": {"$nin": HIDDEN}}, SMALL)
            return [document_to_job(document) for document in found.sort("lapses_at", 1).limit(limit)]

    def next_expiry(self) -> datetime | None:
        with self._server.call():
            document = self._server.jobs.find_one({"lapses_at": {"$exists": True}}, {"lapses_at": 1}, sort=[("lapses_at", 1)])
            return None if document is None else document["lapses_at"]

    def held_by(self, owner: str, *, limit: int, after: str | None = None) -> list[Job]:
        wanted = _held(owner, after)
        with self._server.call():
            return [document_to_job(document) for document in self._server.jobs.find(wanted, SMALL).sort("_id", 1).limit(limit)]

    def holders(self) -> list[str]:
        with self._server.call():
            return [str(holder) for holder in self._server.jobs.distinct("holder", {"holder": {"$gt": ""}}) if holder]

    def http_leases(self) -> list[HttpLease]:
        return http_leases(self._server)

    def cancel_requests(self, owner: str) -> list[str]:
        wanted = {"holder": owner, "cancel_requested_at": {"$ne": None}}
        with self._server.call():
            return [str(document["_id"]) for document in self._server.jobs.find(wanted, {"_id": 1})]

    def executions(self, job_id: str, *, max_bytes: int = EXECUTIONS_BYTES) -> list[Execution]:
        with self._server.call():
            document = self._server.jobs.find_one({"_id": ObjectId(job_id)}, EXECUTION_FIELDS)
            in_job = executions_in(document) if document is not None else []
            others = {"job_id": job_id, "_id": {"$nin": [row["_id"] for row in in_job]}}
            kept = self._server.executions.find(others).sort("attempt", -1)
            return latest_within(map(document_to_execution, chain(in_job, kept)), max_bytes)

    def outputs(self, job_id: str, *, max_bytes: int = OUTPUTS_BYTES) -> list[Output]:
        return self._outputs.read(job_id, max_bytes)

    # ---- retention and recovery

    def purge(self, *, before: datetime, limit: int, statuses: Sequence[Status] = TERMINAL) -> int:
        return self._removal.purge(before, limit, statuses)

    def delete(self, jobs: Sequence[Job]) -> list[bool]:
        return self._removal.delete(jobs)

    def mend(self, *, now: datetime, thorough: bool) -> None:
        self._requests.mend(now)
        self._told_hooks.mend(now)
        if self._place[0] == 0:  # one per host is enough
            self._counts.mend(thorough=thorough)

    def ping(self) -> str:
        with self._server.call():
            self._server.ping()
            self._words = self._words or self._server.words()
        return self._words

    def close(self) -> None:
        self._server.close()

    # ---- whole records, see `databases.migration.Copyable`

    def read_records(self, *, after: str | None, limit: int, max_bytes: int) -> tuple[list[Record], str | None]:
        return self._records.read(after=after, limit=limit, max_bytes=max_bytes)

    def write_records(self, records: Iterable[Record]) -> int:
        listed = list(records)
        self._replace_rows([execution_to_document(execution) for _, executions, _ in listed for execution in executions])
        self._outputs.write([output for *_, outputs in listed for output in outputs])
        return self._requests.insert_copies(listed)

    # ---- hosts

    def renew(self, sign: HostHeartbeat) -> None:
        shown = {"host": sign.host, "seen_at": sign.seen_at, "lease_s": sign.lease_s, "tasks": sign.tasks.decode()}
        shown |= {"queues": sign.queues, "schedules": sign.schedules}
        with self._server.call(writes=True):
            self._server.hosts.update_one({"_id": sign.boot}, {"$inc": {"renewal": 1}, "$set": shown}, upsert=True)

    def hosts(self, *, confirmed: bool = False) -> list[HostHeartbeat]:
        with self._server.call():
            if confirmed:
                self._server.write_barrier()
            return [_sign(document) for document in self._server.hosts.find()]

    def forget_host(self, boot: str, *, renewal: int) -> None:
        with self._server.call(writes=True):
            self._server.hosts.delete_one({"_id": boot, "renewal": renewal})


def _sign(document: Document) -> HostHeartbeat:
    return HostHeartbeat(
        boot=document["_id"], host=document["host"], renewal=document["renewal"], seen_at=document["seen_at"],
        lease_s=document.get("lease_s", 30), tasks=document.get("tasks", "{}").encode(),
        queues=_names(document.get("queues")), schedules=_names(document.get("schedules")),
    )  # fmt: skip


def _names(stored: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if stored is None else tuple(stored)


def _matched(jobs: Collection[Document], updates: Sequence[UpdateOne]) -> int:
    """Perform the updates; how many matched. One that takes a key that another job has changes nothing."""
    try:
        return jobs.bulk_write(updates, ordered=False).matched_count
    except BulkWriteError as fault:
        if any(error["code"] != DUPLICATE for error in fault.details["writeErrors"]) or fault.details.get("writeConcernErrors"):
            raise
        return int(fault.details["nMatched"]) if len(updates) > 1 else 0


def _held(owner: str, after: str | None) -> Document:
    return {"holder": owner} | ({"_id": {"$gt": ObjectId(after)}} if after else {})


def _ends_again(change: Change) -> bool:
    row = change.execution
    return row is not None and row.status is not RUNNING and row.attempt > 1


def _waves(changes: Sequence[Change]) -> Iterator[list[int]]:
    """Split the changes into runs that name each job once: among several updates of one job, the one that matched is unknowable.

    A change that leaves no stamp (because the epoch stays) is a run of its own.
    """
    wave: list[int] = []
    named: set[str] = set()
    for index, change in enumerate(changes):
        is_alone = "epoch" not in change.fields
        if wave and (is_alone or change.job_id in named):
            yield wave
            wave, named = [], set()
        wave.append(index)
        named.add(change.job_id)
        if is_alone:
            yield wave
            wave, named = [], set()
    if wave:
        yield wave
