"""The connection to MongoDB: client, collections, setup at start, and the translation of its errors.

Write concern is majority and journaled, so a write that was confirmed to a client survives the loss of any minority of servers.
Read concern is majority, so no one acts on data that could still be rolled back. Both apply to everything except the counters,
which can be recounted. The driver retries writes once. While no server that takes writes is known, a call fails at once instead
of waiting for one.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel, MongoClient, ReadPreference, UpdateOne, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.driver_info import DriverInfo
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidName,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern

from jobyard.engine.config import Settings
from jobyard.engine.errors import CannotStart, StoreUnavailable
from jobyard.engine.jobs import error_kind
from jobyard.engine.jobs.job import Status
from jobyard.engine.store.mongo.deployment import cautions, kind_of
from jobyard.engine.store.mongo.documents import CODEC, Document
from jobyard.engine.store.port import CAUTION

START_MS = 5_000
SELECTION_MS = 1_000
CONNECT_MS = 2_000
SOCKET_MS, LEAST_SOCKET_MS = 10_000, 1_000
MAJORITY_MS = 5_000
LOOK_MS = 1_000
RETRYABLE = "RetryableWriteError"
OLDEST = (4, 4)
COUNTS_ID = "jobs"
DUPLICATE = 11000
"""The code of a write error."""
TELLING = 4
"""Shorter passwords are not masked, because they occur in ordinary words."""

DUE = [("priority", DESCENDING), ("scheduled_at", ASCENDING), ("_id", ASCENDING)]
DUE_INDEX, DUE_IN_QUEUE_INDEX = "due_by_task", "due_by_task_and_queue"
STATUS, IS_PENDING = ("status", ASCENDING), {"status": Status.PENDING.value}
NEWEST_FIRST = [("created_at", DESCENDING), ("_id", DESCENDING)]
LIST_INDEXES = {
    "unique_key": "by_unique_key", "schedule": "by_schedule", "group": "by_group", "tag": "by_tag", "error_kind": "by_error_kind",
    "status": "by_status", "task": "by_task", "queue": "by_queue",
}  # fmt: skip
"""By filter; the first of those that are given selects the index."""
OLD_FINISHED_INDEX, PART = "finished", 1_000
FAILED_INDEX, IS_FAILED = "failed", {"status": Status.FAILED.value}


def _has(field: str) -> Document:
    """The filter of an index of the documents that have the field."""
    return {field: {"$exists": True}}


INDEXES: dict[str, tuple[IndexModel, ...]] = {
    "jobs": (
        IndexModel([("task", ASCENDING), *DUE, STATUS], name=DUE_INDEX, partialFilterExpression=IS_PENDING),
        IndexModel(
            [("task", ASCENDING), ("queue", ASCENDING), *DUE, STATUS], name=DUE_IN_QUEUE_INDEX, partialFilterExpression=IS_PENDING
        ),
        IndexModel([("holder", ASCENDING), ("_id", ASCENDING)], name="held", partialFilterExpression={"holder": {"$exists": True}}),
        IndexModel([("idempotency_key", ASCENDING)], name="by_key", unique=True, sparse=True),
        IndexModel([STATUS, ("finished_at", ASCENDING)], name="finished_by_status", partialFilterExpression=_has("finished_at")),
        IndexModel(
            [("finished_at", DESCENDING), ("task", ASCENDING), ("error_kind", ASCENDING), ("_id", ASCENDING), STATUS],
            name=FAILED_INDEX,
            partialFilterExpression=IS_FAILED,
        ),
        IndexModel([("error_kind", ASCENDING), *NEWEST_FIRST], name="by_error_kind", partialFilterExpression=_has("error_kind")),
        IndexModel([("tags", ASCENDING), *NEWEST_FIRST], name="by_tag", partialFilterExpression=_has("tags")),
        IndexModel([("batch", ASCENDING)], name="by_batch", sparse=True),
        IndexModel([("held_key", ASCENDING)], name="by_held_key", unique=True, sparse=True),
        IndexModel([("unique_key", ASCENDING), *NEWEST_FIRST], name="by_unique_key", partialFilterExpression=_has("unique_key")),
        IndexModel(
            [("schedule", ASCENDING), ("fire_at", ASCENDING)], name="by_fire", unique=True, partialFilterExpression=_has("fire_at")
        ),
        IndexModel([("schedule", ASCENDING), *NEWEST_FIRST], name="by_schedule", partialFilterExpression=_has("schedule")),
        IndexModel([("schedule", ASCENDING), ("status", ASCENDING)], name="living_fires", partialFilterExpression=_has("fire_at")),
        IndexModel(
            [("lane", ASCENDING), ("lane_priority", ASCENDING), ("scheduled_at", ASCENDING), ("_id", ASCENDING)],
            name="in_lanes",
            partialFilterExpression={**_has("lane"), **IS_PENDING},
        ),
        IndexModel([("hook_events.at", ASCENDING)], name="hook_events", sparse=True),
        IndexModel([("group", ASCENDING), *NEWEST_FIRST], name="by_group", partialFilterExpression=_has("group")),
        IndexModel(
            [("group", ASCENDING), ("status", ASCENDING), ("finished_at", ASCENDING)],
            name="in_groups",
            partialFilterExpression=_has("group"),
        ),
        IndexModel([("after.job_id", ASCENDING)], name="waits_for_job", partialFilterExpression=_has("after")),
        IndexModel([("after.group", ASCENDING)], name="waits_for_group", partialFilterExpression=_has("after")),
        IndexModel([("to_resolve", ASCENDING)], name="to_resolve", sparse=True),
        IndexModel([("finished_at", ASCENDING)], name="awaited", partialFilterExpression={"is_awaited": True}),
        IndexModel([("lapses_at", ASCENDING)], name="lapsing", sparse=True),
        IndexModel(NEWEST_FIRST, name="newest"),
        *(IndexModel([(field, ASCENDING), *NEWEST_FIRST], name=f"by_{field}") for field in ("status", "task", "queue")),
    ),
    "job_executions": (IndexModel([("job_id", ASCENDING), ("attempt", ASCENDING)], name="by_job", unique=True),),
    "schedules": (IndexModel([("next_fire_at", ASCENDING)], name="next_fire", sparse=True),),
    "parts": (
        IndexModel([("slots.key", ASCENDING)], name="by_slot", sparse=True),
        IndexModel([("slots.job_id", ASCENDING)], name="by_job", sparse=True),
    ),
    "lanes": (
        IndexModel([("priority", DESCENDING), ("ready_at", ASCENDING)], name="ready", partialFilterExpression=_has("ready_at")),
        IndexModel([("ready_at", ASCENDING)], name="next_ready", sparse=True),
        IndexModel(
            [("blocked_on", ASCENDING), ("priority", DESCENDING), ("blocked_at", ASCENDING)],
            name="blocked",
            partialFilterExpression=_has("blocked_on"),
        ),
        IndexModel([("parts", ASCENDING)], name="by_part"),
    ),
    "remembered_keys": (IndexModel([("job_id", ASCENDING)], name="by_job"),),
    "job_outputs": (IndexModel([("job_id", ASCENDING), ("attempt", ASCENDING)], name="by_job", unique=True),),
}


class MongoServer:
    """The collections, for one process; opened after its fork."""

    def __init__(
        self, client: MongoClient[Document], database: str, *, waiting: Callable[[bool], None] = lambda waits: None,
        takes_writes: Callable[[], bool] = lambda: True, primary: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        """`waiting` is called when a call begins and ends; `takes_writes`: whether a server that takes writes is known."""
        self._client = client
        self._takes_writes = takes_writes
        self._waiting = waiting
        self.primary = primary
        """The server that takes writes, with its election and start; None if currently unknown."""
        self._is_lost = self._is_unsure = False
        self.lost_writes = 0
        self.database: Database[Document] = client.get_database(
            database, codec_options=CODEC, read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern("majority"),
            write_concern=WriteConcern(w="majority", j=True, wtimeout=MAJORITY_MS),
        )  # fmt: skip
        self.jobs = self.database["jobs"]
        self.executions = self.database["job_executions"]
        self.outputs = self.database["job_outputs"]
        self.batches = self.database["batches"]
        self.remembered_keys = self.database["remembered_keys"]
        self.hosts = self.database["hosts"]
        self.schedules = self.database["schedules"]
        self.limits, self.limit_state = self.database["limits"], self.database["limit_state"]
        self.parts, self.lanes = self.database["parts"], self.database["lanes"]
        self.barrier = self.database["barrier"]
        self.counts: Collection[Document] = self.database.get_collection("counts", write_concern=WriteConcern(w=1))

    @contextlib.contextmanager
    def call(self, *, writes: bool = False) -> Iterator[None]:
        """Wraps every use of the server and translates its errors. `writes`: report uncertain writes as such.

        After a write whose reply was lost, one majority write precedes the next call: only then does a majority read show whether
        the lost write took effect.
        """
        if self._is_lost and not self._takes_writes():
            raise StoreUnavailable("the database is not available: no MongoDB server that accepts writes is known")
        self._waiting(True)
        try:
            if self._is_unsure:
                self.write_barrier()
                self._is_unsure = False
            yield
            self._is_lost = False
        except PyMongoError as fault:
            self._is_lost = isinstance(fault, ConnectionFailure)
            plain = _plainly(fault, writes)
            self._is_unsure = self._is_unsure or plain.may_be_stored
            self.lost_writes += writes
            raise plain from fault
        finally:
            self._waiting(False)

    def words(self) -> str:
        """The name and version, as `MongoDB 8.0.4`. Raises PyMongo's errors."""
        return f"MongoDB {self._client.server_info()['version']}"

    def hello(self) -> Mapping[str, Any]:
        """What the server says of its deployment. Raises PyMongo's errors."""
        return self._client.admin.command("hello")

    def write_barrier(self) -> None:
        """A majority write: what is read afterwards is no older than this call, even if the primary is being deposed."""
        self.barrier.update_one({"_id": "barrier"}, {"$inc": {"number": 1}}, upsert=True)

    def ping(self) -> None:
        """One round trip. Raises PyMongo's errors."""
        self._client.admin.command("ping")

    def close(self) -> None:
        """Close the client."""
        self._client.close()


def connect(settings: Settings, waiting: Callable[[bool], None] = lambda waits: None, *, holds: bool = True) -> MongoServer:
    """Create the client; sends nothing. `holds`: this process holds jobs and must be able to end them in time: calls are short."""
    socket_ms = min(SOCKET_MS, max(LEAST_SOCKET_MS, round(settings.lease_s * 1000 / 4))) if holds else SOCKET_MS
    client = _client(settings, SELECTION_MS, socket_ms)
    return MongoServer(
        client, settings.mongo_db, waiting=waiting, takes_writes=lambda: client.topology_description.has_writable_server(),
        primary=lambda: _primary(client),
    )  # fmt: skip


def prepare(settings: Settings) -> str:
    """Connect, and create missing collections, indexes and counters; once per start. Returns a description."""
    with _reached(settings) as (server, words):
        for name, indexes in INDEXES.items():
            server.database[name].create_indexes(list(indexes))
        bring_forward(server)
        _make_counters(server)
    return words


def examine(settings: Settings) -> str:
    """The same checks without creating anything. Raises `CannotStart`."""
    with _reached(settings) as (_, words):
        return words


@contextlib.contextmanager
def _reached(settings: Settings) -> Iterator[tuple[MongoServer, str]]:
    try:
        server = MongoServer(_checked_client(settings), settings.mongo_db)
        with contextlib.closing(server):
            hello = server.hello()
            words = f"{server.words()} ({kind_of(hello)}), database {settings.mongo_db}"
            _refuse_old(server)
            yield server, CAUTION.join([words, *cautions(hello, lease_s=settings.lease_s)])
    except (InvalidURI, ConfigurationError, InvalidName, ValueError, TypeError) as wrong:
        raise CannotStart(
            f"MONGO_URI or MONGO_DB cannot be used ({type(wrong).__name__}): an address looks like"
            " mongodb://user:password@host:27017/?replicaSet=rs0, with / : @ # ? in user and password percent-encoded"
        ) from None
    except PyMongoError as fault:
        raise CannotStart(f"the database at MONGO_URI cannot be used: {_why(fault, settings)}") from None


def _checked_client(settings: Settings) -> MongoClient[Document]:
    """Reject options that the driver does not know or cannot read; on its own it only warns and ignores them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client = _client(settings, START_MS, SOCKET_MS)
    if caught:
        client.close()
        told = "; ".join(dict.fromkeys(str(warning.message) for warning in caught))
        raise CannotStart(f"MONGO_URI has an option that cannot be used: {_without_secrets(told[:300], settings)}")
    return client


def _client(settings: Settings, selection_ms: int, socket_ms: int) -> MongoClient[Document]:
    return MongoClient(
        settings.mongo_uri, serverSelectionTimeoutMS=selection_ms, connectTimeoutMS=CONNECT_MS, socketTimeoutMS=socket_ms,
        heartbeatFrequencyMS=LOOK_MS, retryWrites=True, retryReads=True, appname="jobyard", maxPoolSize=4,
        driver=DriverInfo(name="jobyard"),
    )  # fmt: skip


def _primary(client: MongoClient[Document]) -> object:
    known = client.topology_description.server_descriptions().values()
    signs = [(one.address, one.election_id, (one.topology_version or {}).get("processId")) for one in known if one.is_writable]
    return sorted(signs, key=str) or None


def _refuse_old(server: MongoServer) -> None:
    version = server.database.client.server_info()["versionArray"]
    if tuple(version[:2]) < OLDEST:
        told = ".".join(map(str, version[:3]))
        raise CannotStart(f"the database is MongoDB {told}; {'.'.join(map(str, OLDEST))} or newer is needed")


def bring_forward(server: MongoServer) -> None:
    """What jobs of earlier versions lack, and the index that they had instead: done once, in parts that may be repeated."""
    old = server.jobs.index_information().get(OLD_FINISHED_INDEX)
    if old is None:
        return
    lacking = {"status": Status.FAILED.value, "error": {"$exists": True}, "error_kind": {"$exists": False}}
    while found := list(server.jobs.find(lacking, {"error": 1}).limit(PART)):
        kinds = [(one["_id"], error_kind.kind_of(one["error"])) for one in found]
        server.jobs.bulk_write([UpdateOne({"_id": job_id}, {"$set": {"error_kind": kind}}) for job_id, kind in kinds])
    with contextlib.suppress(OperationFailure):  # another host that starts at the same time has dropped it
        server.jobs.drop_index(OLD_FINISHED_INDEX)


def _make_counters(server: MongoServer) -> None:
    """Start the counters at zero; `mend` then counts existing jobs."""
    zeros = dict.fromkeys((str(status) for status in Status), 0)
    with contextlib.suppress(DuplicateKeyError):  # another host is starting at the same time
        server.counts.update_one({"_id": COUNTS_ID}, {"$setOnInsert": {**zeros, "version": 0}}, upsert=True)


def _plainly(fault: PyMongoError, writes: bool) -> StoreUnavailable:
    """The error in plain words. In a batch some writes may have taken effect, and so may a first try that the driver repeated."""
    told_so = isinstance(fault, AutoReconnect | WriteConcernError | ExecutionTimeout | BulkWriteError)
    was_sent = (told_so or fault.has_error_label(RETRYABLE)) and not isinstance(fault, ServerSelectionTimeoutError)
    return StoreUnavailable(f"the database is not available: {_in_short(fault)}", may_be_stored=writes and was_sent)


def _why(fault: PyMongoError, settings: Settings) -> str:
    if isinstance(fault, ServerSelectionTimeoutError):
        return f"no server answers ({_without_secrets(_in_short(fault), settings)}); start MongoDB, or correct MONGO_URI"
    if isinstance(fault, OperationFailure) and fault.code in (13, 18):
        return "it refuses the user or password of MONGO_URI, or that user may not write to MONGO_DB"
    return _without_secrets(_in_short(fault), settings)


def _in_short(fault: PyMongoError) -> str:
    """The first words; the driver appends its complete view of the servers."""
    if isinstance(fault, BulkWriteError):
        errors = [*fault.details.get("writeErrors", ()), *fault.details.get("writeConcernErrors", ())]
        return str(errors[0].get("errmsg", "") if errors else fault)[:300]
    return (str(fault).split(", Timeout:")[0].split(", full error:")[0].split(" (configured timeouts")[0])[:300]


def _without_secrets(text: str, settings: Settings) -> str:
    _, found, rest = (settings.mongo_uri or "").partition("://")
    secrets, at, _ = rest.rpartition("@")
    if found and at:
        text = text.replace(secrets, "…")
        password = secrets.partition(":")[2]
        text = text.replace(password, "…") if len(password) >= TELLING else text
    return text
