"""Stores submissions on MongoDB, all or none of a request, without transactions, so that any server suffices.

    one job:     insert it                                     (one document is atomic)
    several:     insert them as `staged`, which is not visible
                 insert the request's record into `batches`    ◀── from here on the request is stored
                 make them `pending`, remove the record

A process that dies before writing the record leaves staged documents; one that dies after it leaves work that any process can
complete: `mend` does both. To undo, a process first inserts a record of its own under the same id, so that only one of the two
can exist. The id of a request's record is that of its first job, so the same request sent through two schedulers is one.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from bson import ObjectId
from pymongo.errors import BulkWriteError, DuplicateKeyError

from jobyard.engine.errors import Conflict, StoreUnavailable
from jobyard.engine.jobs.idempotency import is_same_request
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.unique import Verdict
from jobyard.engine.store.mongo.counts import MongoCounts
from jobyard.engine.store.mongo.documents import PURGED, STAGED, Document, execution_to_document, job_to_document
from jobyard.engine.store.mongo.insert_plan import Keys, Plan, Taken, Undecided
from jobyard.engine.store.mongo.lanes import MongoLanes
from jobyard.engine.store.mongo.server import DUPLICATE, MongoServer
from jobyard.engine.store.mongo.unique_keys import Holder, MongoUniqueKeys, Remembered
from jobyard.engine.store.mongo.workflows import MongoWorkflows
from jobyard.engine.store.port import Abandoned, Insertion, KeyTaken, NotUnique, Record
from jobyard.engine.store.unique_plan import Refusal
from jobyard.engine.store.waiting_plan import accept_new
from jobyard.engine.workflows.acceptance import NotAccepted

ROUNDS = 5
STALE = timedelta(seconds=60)
"""Much longer than any submission may take, by the observer's clock."""
UNDONE_KEPT = timedelta(days=1)
MENDED_AT_ONCE = 1_000
KEYS_A_QUESTION = 5_000
"""Keys have at most 255 characters, so the query stays within the message size limit."""


class MongoInsert:
    """All submissions of one process; see the module."""

    def __init__(self, server: MongoServer, counts: MongoCounts, lanes: MongoLanes, *, origin: str) -> None:
        self._server = server
        self.workflows = MongoWorkflows(server, counts, finish=self.finish)
        self._counts = counts
        self._origin = origin
        self._lanes = lanes
        self._keys = MongoUniqueKeys(server)
        self._has_written = False
        self._staged_since: dict[str, datetime] = {}
        self._unfinished: set[str] = set()

    def insert(self, requests: Sequence[Sequence[Job]], abandoned: Callable[[int], bool]) -> list[Insertion]:
        """See `Store.insert`. A request that conflicts with another process's unfinished one is reported as abandoned."""
        answers: dict[int, Insertion] = {}
        self._has_written = False
        self.finish_own()
        try:
            for _ in range(ROUNDS):
                self._try(requests, abandoned, answers)
        except StoreUnavailable as fault:
            if self._has_written and not fault.may_be_stored:
                raise StoreUnavailable(fault.message, may_be_stored=True) from fault
            raise
        return [answers.get(number, Abandoned()) for number in range(len(requests))]

    def _try(
        self, requests: Sequence[Sequence[Job]], abandoned: Callable[[int], bool], answers: dict[int, Insertion]
    ) -> None:  # fmt: skip
        """One round for the requests that have no result yet."""
        waiting = [number for number in range(len(requests)) if number not in answers]
        if not waiting:
            return
        plans = self._plan(requests, waiting, answers)
        given_up = {plan.number for plan in plans if (plan.fresh or plan.unique.replacing) and abandoned(plan.number)}
        answers |= dict.fromkeys(given_up, Abandoned())
        self._write([plan for plan in plans if plan.number not in given_up], answers)

    # ---- keys

    def _plan(self, requests: Sequence[Sequence[Job]], waiting: list[int], answers: dict[int, Insertion]) -> list[Plan]:
        jobs = [job for number in waiting for job in requests[number]]
        keys = Keys(
            self._taken({job.idempotency_key for job in jobs if job.idempotency_key}),
            self._holders({job.held_key for job in jobs if job.held_key}),
        )
        keys.stored = self._stored({job.job_id for job in jobs if job.held_key in keys.holders})
        plans = []
        for number in waiting:
            plan = self._plan_one(number, requests[number], keys)
            if isinstance(plan, Plan):
                plans.append(plan)
                keys.planned |= {job.held_key for job in plan.fresh if job.held_key}
                keys.taken |= {  # not written yet: requests that depend on these keys are decided in the next round
                    job.idempotency_key: Taken(job.job_id, job.request_digest, plan.batch)
                    for job in plan.fresh
                    if job.idempotency_key
                }
            elif plan is not None:
                answers[number] = plan
        return plans

    def _plan_one(self, number: int, jobs: Sequence[Job], keys: Keys) -> Plan | KeyTaken | NotUnique | NotAccepted | None:
        """None: a key belongs to a request that is neither stored nor undone yet."""
        plan = Plan(number, jobs[0].job_id if jobs else "")
        own: dict[str, Taken] = {}
        for index, job in enumerate(jobs):
            known = (own.get(job.idempotency_key) or keys.taken.get(job.idempotency_key)) if job.idempotency_key else None
            if known is None or (known.job_id == job.job_id and known.batch == plan.batch):
                refused = self._plan_job(plan, index, job, keys)
                if refused is not None:
                    return None if isinstance(refused, Undecided) else refused
                if job.idempotency_key:
                    own[job.idempotency_key] = Taken(plan.job_ids[-1], job.request_digest, verdict=plan.verdicts.get(index))
            elif known.batch is not None:
                return None
            elif not is_same_request(known.digest, job.request_digest):
                return KeyTaken(index=index, job_id=known.job_id)
            else:
                plan.job_ids.append(known.job_id)
                if known.verdict is not None:
                    plan.verdicts[index] = known.verdict
                else:
                    plan.repeated += known.job_id != job.job_id
        waiting = accept_new(plan.unique, jobs, plan.job_ids, self.workflows, to_resolve=True)
        if isinstance(waiting, NotAccepted):
            return waiting
        plan.waiting = waiting
        return plan

    def _plan_job(self, plan: Plan, index: int, job: Job, keys: Keys) -> NotUnique | Undecided | None:
        """Plan a job whose idempotency key is new; None when it is planned."""
        holder = keys.holders.get(job.held_key) if job.held_key else None
        is_own = holder is not None and holder.job_id == job.job_id and holder.batch == plan.batch
        if job.job_id in keys.stored and not is_own:
            plan.job_ids.append(job.job_id)  # the same request sent again
            return None
        holder = None if is_own else holder
        if (job.held_key in keys.planned) or (holder is not None and holder.job is None):
            return Undecided()
        decided = plan.unique.add(job, holder.job if holder is not None else None)
        if isinstance(decided, Refusal):
            return NotUnique(index=index, key=decided.key, job_id=decided.job_id)
        job_id, verdict = decided
        plan.job_ids.append(job_id)
        if verdict is not Verdict.TAKE:
            plan.verdicts[index] = verdict
            if job.idempotency_key is not None:
                plan.remembered.append(Remembered(job.idempotency_key, job_id, job.request_digest, verdict))
        return None

    def _holders(self, keys: set[str]) -> dict[str, Holder]:
        if not keys:
            return {}
        found = self._keys.holders(keys)
        unfinished = [holder.batch for holder in found.values() if holder.batch is not None]
        if unfinished:
            self._finish(unfinished)
            found = self._keys.holders(keys)
        return found

    def free_key(self, key: str, now: datetime) -> Job | None:
        """See `Store.free_key`."""
        return self._keys.free(key, now)

    def _taken(self, keys: set[str]) -> dict[str, Taken]:
        if not keys:
            return {}
        found = self._find_keys(keys)
        if any(taken.batch for taken in found.values()):
            self._finish([taken.batch for taken in found.values() if taken.batch])
            found = self._find_keys(keys)
        return found

    def _find_keys(self, keys: set[str]) -> dict[str, Taken]:
        fields = {"idempotency_key": 1, "request_digest": 1, "batch": 1}
        taken: dict[str, Taken] = {}
        listed = list(keys)
        for start in range(0, len(listed), KEYS_A_QUESTION):
            wanted = {"idempotency_key": {"$in": listed[start : start + KEYS_A_QUESTION]}, "status": {"$ne": PURGED}}
            with self._server.call():
                for found in self._server.jobs.find(wanted, fields):
                    taken[found["idempotency_key"]] = Taken(str(found["_id"]), found.get("request_digest"), found.get("batch"))
        for one in self._keys.remembered([key for key in listed if key not in taken]):
            taken[one.key] = Taken(one.job_id, one.digest, verdict=one.verdict)
        return taken

    # ---- writing

    def _write(self, plans: list[Plan], answers: dict[int, Insertion]) -> None:
        for holder in [holder for plan in plans for holder in plan.unique.dropped]:
            self._keys.drop(holder)
        for plan in plans:
            plan.fresh[:] = self._lanes.accept(plan.fresh)
        documents = {job.job_id: self._document(plan, job) for plan in plans for job in plan.fresh}
        refused = self._insert_documents(documents)
        whole: list[Plan] = []
        for plan in plans:
            if not any(job.job_id in refused for job in plan.fresh):
                whole.append(plan)
            elif not plan.is_one:
                self._undo(plan.batch, plan.fresh[0].created_at)
        self._lanes.enter(self._lanes.entries(job for plan in whole if plan.is_one for job in plan.fresh))
        committed = self._commit({plan.batch: self._record(plan) for plan in whole if not plan.is_one})
        stored = [plan for plan in whole if plan.is_one or plan.batch in committed]
        answers |= {plan.number: Abandoned() for plan in whole if plan not in stored}
        done = self._replace([plan for plan in stored])
        self._keys.remember([one for plan in done for one in plan.remembered])
        answers |= {plan.number: plan.answer() for plan in done}

    def _replace(self, plans: list[Plan]) -> list[Plan]:
        """Bring the holders the newest data of all requests; the requests that are done. The others are decided again."""
        newest = {key: replacing for plan in plans for key, replacing in plan.unique.replacing.items()}
        if not newest:
            return plans
        self._has_written = True
        failed = {key for key, replacing in newest.items() if not self._keys.replace(replacing)}
        done = []
        for plan in plans:
            if failed.isdisjoint(plan.unique.replacing):
                done.append(plan)
            elif plan.fresh:  # the rest of the request is stored, so this part must be, too
                raise StoreUnavailable("a job that was to be replaced was taken meanwhile", may_be_stored=True)
        return done

    def _document(self, plan: Plan, job: Job) -> Document:
        document = job_to_document(job, origin=self._origin)
        if plan.is_one:
            return document
        becomes = {} if job.status is Status.PENDING else {"becomes": job.status.value}
        return document | {"status": STAGED, "batch": plan.batch} | becomes

    def _insert_documents(self, documents: dict[str, Document]) -> set[str]:
        """The ids that were not inserted because another job has their key; a document that already exists is fine."""
        if not documents:
            return set()
        refused = self._insert_new(list(documents.values()))
        self._has_written = True
        return refused - self._stored(refused)

    def _insert_new(self, documents: Sequence[Document]) -> set[str]:
        """The ids refused as duplicates of a job or a key; the inserted ones are counted when they become jobs."""
        refused: set[str] = set()
        with self._server.call(writes=True):
            try:
                self._server.jobs.insert_many(documents, ordered=False)
            except BulkWriteError as fault:
                refused = _duplicates(fault, documents)
        new = (document["status"] for document in documents if document["job_id"] not in refused)
        self._counts.move(Counter(status for status in new if status != STAGED))
        return refused

    def _stored(self, job_ids: set[str]) -> set[str]:
        if not job_ids:
            return set()
        with self._server.call():
            found = self._server.jobs.find({"_id": {"$in": [ObjectId(job_id) for job_id in job_ids]}}, {"_id": 1})
            return {str(document["_id"]) for document in found}

    def finish(self, job_ids: Sequence[str]) -> bool:
        """Make jobs visible whose request is stored, but whose writer has not finished; whether there were any."""
        staged = {"_id": {"$in": [ObjectId(job_id) for job_id in job_ids]}, "status": STAGED}
        with self._server.call():
            batches = self._server.jobs.distinct("batch", staged)
        return bool(batches and self._finish(batches))

    # ---- batch records

    def _record(self, plan: Plan) -> Document:
        """What the record of a batch says: whether some of its jobs do not become pending, and which lanes they enter."""
        lanes = self._lanes.entries(plan.fresh)
        return {**({"is_mixed": True} if plan.is_mixed else {}), **({"lanes": lanes} if lanes else {})}

    def _commit(self, batches: dict[str, Document]) -> set[str]:
        """The batches that are stored from now on, whatever happens to this process; the others were undone."""
        if not batches:
            return set()
        undone: set[str] = set()
        with self._server.call(writes=True):
            records = [{"_id": batch, "is_undone": False, "origin": self._origin, **record} for batch, record in batches.items()]
            try:
                self._server.batches.insert_many(records, ordered=False)
            except BulkWriteError as fault:
                there = _duplicates(fault, [{"job_id": batch} for batch in batches])
                found = self._server.batches.find({"_id": {"$in": list(there)}, "is_undone": True}, {"_id": 1})
                undone = {record["_id"] for record in found}
        if undone:
            with self._server.call(writes=True):
                self._server.jobs.delete_many({"batch": {"$in": list(undone)}, "status": STAGED})
        stored = set(batches) - undone
        self._unfinished |= stored
        self.finish_own()
        return stored

    def finish_own(self) -> None:
        """Make jobs visible whose request this process has stored; tried again until it succeeds."""
        if self._unfinished:
            with contextlib.suppress(StoreUnavailable):
                self._finish(list(self._unfinished))
                self._unfinished.clear()

    def _finish(self, batches: list[str]) -> set[str]:
        """Make the stored batches' jobs pending, or blocked or cancelled; returns which batches are stored."""
        with self._server.call(writes=True):
            records = list(self._server.batches.find({"_id": {"$in": batches}, "is_undone": False}, {"is_mixed": 1, "lanes": 1}))
            stored = [record["_id"] for record in records]
            if not stored:
                return set()
            self._finish_mixed([record["_id"] for record in records if "is_mixed" in record])
            moved = self._server.jobs.update_many(
                {"batch": {"$in": stored}, "status": STAGED},
                {"$set": {"status": Status.PENDING.value}, "$unset": {"batch": ""}},
            ).modified_count
            self._lanes.enter(tuple(entry) for record in records for entry in record.get("lanes", ()))
            self._server.batches.delete_many({"_id": {"$in": stored}, "is_undone": False})
        self._counts.move(Counter({Status.PENDING.value: moved}))
        return set(stored)

    def _finish_mixed(self, batches: list[str]) -> None:
        """Those that wait for others come first, so that none of these ends before they are there."""
        for status in (Status.BLOCKED.value, Status.CANCELLED.value) if batches else ():
            moved = self._server.jobs.update_many(
                {"batch": {"$in": batches}, "status": STAGED, "becomes": status},
                {"$set": {"status": status}, "$unset": {"batch": "", "becomes": ""}},
            ).modified_count
            self._counts.move(Counter({status: moved}))

    def _undo(self, batch: str, at: datetime) -> None:
        """Undo the batch; if it turns out to be stored, complete it."""
        with self._server.call(writes=True):
            try:
                self._server.batches.insert_one({"_id": batch, "is_undone": True, "at": at})
            except DuplicateKeyError:
                if self._finish([batch]):
                    return
            self._server.jobs.delete_many({"batch": batch, "status": STAGED})

    # ---- copies

    def insert_copies(self, records: Sequence[Record]) -> int:
        """Insert jobs unchanged, with the rows of their latest attempts; returns how many were missing."""
        documents = [
            job_to_document(job, origin=self._origin) | ({"execution": execution_to_document(rows[-1])} if rows else {})
            for job, rows, _ in records
        ]
        refused = self._insert_new(documents)
        self._lanes.enter(self._lanes.entries(job for job, *_ in records))
        if taken := refused - self._stored(refused):
            told = f"another job there has the idempotency key, unique key or fire time of job {min(taken)}"
            raise Conflict("conflict", told)
        return len(documents) - len(refused)

    # ---- recovery

    def mend(self, now: datetime) -> None:
        """Complete what is stored, undo what has been staged for too long, and remove old records of undone requests."""
        with self._server.call():
            records = list(self._server.batches.find({"is_undone": False}, {"_id": 1}))
            there = self._server.jobs.find({"batch": {"$exists": True}}, {"batch": 1}).limit(MENDED_AT_ONCE)
            staged = {document["batch"] for document in there}
        if records:
            self._finish([record["_id"] for record in records])
        self._staged_since = {batch: self._staged_since.get(batch, now) for batch in staged}
        for batch in [batch for batch, since in self._staged_since.items() if now - since >= STALE]:
            self._undo(batch, now)
        with self._server.call(writes=True):
            self._server.batches.delete_many({"is_undone": True, "at": {"$lt": now - UNDONE_KEPT}})


def _duplicates(fault: BulkWriteError, documents: Sequence[Document]) -> set[str]:
    """The ids refused as duplicates; any other write error is raised as an error of the database."""
    errors = fault.details["writeErrors"]
    if any(error["code"] != DUPLICATE for error in errors) or fault.details.get("writeConcernErrors"):
        raise fault
    return {documents[error["index"]]["job_id"] for error in errors}
