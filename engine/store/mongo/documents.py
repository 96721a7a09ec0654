"""Converts values to and from MongoDB documents, with the API's field names so that users can read them in their own tools.

Times are BSON dates, ids ObjectIds plus their hex digits; `payload` and `result` are JSON text, because a BSON value would not
always be returned exactly as sent. Null fields are omitted. Internal fields:

    holder     the owner that must be dead before the job is recovered, while it is held
    execution  the row of the last attempt that ended, so that a job and its attempt change in one write
    stamp      the last write that moved the job, so that a lost reply can be settled
    batch      the request that the job belongs to, until it is complete (status `staged`: not visible)
    origin     the host that accepted the job
    error_kind what follows from `error`, see `jobs.error_kind`

A job in a lane has its priority in `lane_priority`: the indexes of due jobs begin with the priority, so that those without a lane
are found as if there were no others.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from bson import ObjectId
from bson.codec_options import CodecOptions

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.error_kind import kind_of
from jobyard.engine.jobs.job import CancelledBecause, Dependency, Execution, ExecutionStatus, Job, Status, Unique
from jobyard.engine.jobs.lifecycle import HELD, Change, execution_id

Document = dict[str, Any]

STAGED, PURGED = "staged", "purged"
HIDDEN = (STAGED, PURGED)
"""Statuses of documents that are not yet, or no longer, a job."""

CODEC: CodecOptions[Document] = CodecOptions(tz_aware=True)
JSON_TEXT = ("payload", "result")
BYTES = ("request_digest",)
STATUSES = {str(status): status for status in Status}
SMALL = {"payload": 0, "result": 0, "execution": 0}
"""A projection; see `jobs.job.without_payload`."""
JOB_FIELDS = Job.__struct_fields__
EXECUTION_FIELDS = {"execution": 1, "status": 1, "attempt": 1, "locked_by": 1, "last_run_at": 1}
"""A projection; see `executions_in`."""
STRUCTS: Mapping[str, Any] = {
    "unique": Unique, "limit": tuple[str, ...], "after": tuple[Dependency, ...], "cancelled_because": CancelledBecause,
    "tags": tuple[str, ...],
}  # fmt: skip
"""Rare fields that hold more than one value, and their types."""


def job_to_document(job: Job, *, origin: str) -> Document:
    """The document of a new or copied job."""
    document: Document = {"_id": ObjectId(job.job_id)}
    for name in JOB_FIELDS:
        value = getattr(job, name)
        if value is not None and value != ():
            document[name] = to_bson(name, value)
    if job.lane is not None:
        document["lane_priority"] = document.pop("priority")
    if job.status in HELD:
        document["holder"] = job.holder
    if job.error is not None:
        document["error_kind"] = kind_of(job.error)
    document["origin"] = origin
    return document


def document_to_job(document: Mapping[str, Any]) -> Job:
    """The job of a document."""
    values = {name: document[name] for name in JOB_FIELDS if name in document}
    values["status"] = STATUSES[values["status"]]
    if "lane_priority" in document:
        values["priority"] = document["lane_priority"]
    for name in JSON_TEXT:
        if name in values:
            values[name] = values[name].encode()
    for name in STRUCTS.keys() & values.keys():
        values[name] = msgspec.convert(values[name], STRUCTS[name])
    return Job(**values)


def to_bson(name: str, value: Any) -> Any:
    """A job's value as stored."""
    if name in JSON_TEXT:
        return value.decode()
    if name in STRUCTS:
        return msgspec.to_builtins(value)
    return value.value if name == "status" else value


def guard_of(change: Change) -> Document:
    """The filter that matches only if the guard holds."""
    guard: Document = {"_id": ObjectId(change.job_id), "status": change.status.value, "epoch": change.epoch}
    guard |= {"cancel_requested_at": None} if change.unless_cancelled else {}
    return guard | ({} if change.unless_extended is None else {"locked_until": change.unless_extended})


def update_of(change: Change, stamp: ObjectId) -> Document:
    """The update with the new values; fields that become null are removed."""
    values: Document = {name: value for name, value in change.fields.items() if value is not None and value != ()}
    if change.execution is not None and change.execution.status is not ExecutionStatus.RUNNING:
        values["execution"] = execution_to_document(change.execution)
    if "epoch" in values:
        values["stamp"] = stamp
    gone = [name for name in change.fields if name not in values]
    if "error" in change.fields:
        kind = kind_of(values.get("error"))
        values |= {} if kind is None else {"error_kind": kind}
        gone += ["error_kind"] if kind is None else []
    if "lane" in change.fields:
        used, unused = ("priority", "lane_priority") if change.fields["lane"] is None else ("lane_priority", "priority")
        values[used] = values.pop("priority")
        gone.append(unused)
    if change.fields["status"] in HELD:
        holder = change.fields.get("locked_by") or change.fields.get("claimed_by")
        values |= {"holder": holder} if holder else {}
    else:
        gone.append("holder")
    update: Document = {"$set": {name: to_bson(name, value) for name, value in values.items()}}
    return update | ({"$unset": dict.fromkeys(gone, "")} if gone else {})


def running_execution(document: Mapping[str, Any]) -> Document | None:
    """The row of the attempt that runs, which only the job's own fields describe; None if none does."""
    if document["status"] != Status.RUNNING:
        return None
    job_id, attempt = str(document["_id"]), document["attempt"]
    return {
        "_id": execution_id(job_id, attempt), "execution_id": execution_id(job_id, attempt), "job_id": job_id, "attempt": attempt,
        "worker_id": document["locked_by"], "status": ExecutionStatus.RUNNING.value, "started_at": document["last_run_at"],
    }  # fmt: skip


def executions_in(document: Mapping[str, Any]) -> list[Document]:
    """The rows that a document with `EXECUTION_FIELDS` holds, latest first."""
    running, last = running_execution(document), document.get("execution")
    rows = [running] if running is not None else []
    return [*rows, last] if last is not None and last["_id"] not in {row["_id"] for row in rows} else rows


def execution_to_document(execution: Execution) -> Document:
    """A document of `job_executions`; its id is the execution's."""
    document: Document = {"_id": execution.execution_id}
    for name in Execution.__struct_fields__:
        value = getattr(execution, name)
        if value is not None:
            document[name] = value.value if name == "status" else value
    return document


def document_to_execution(document: Mapping[str, Any]) -> Execution:
    """The execution of a document."""
    values = {name: document[name] for name in Execution.__struct_fields__ if name in document}
    values["status"] = ExecutionStatus(values["status"])
    return Execution(**values)


def cursor_of(document: Mapping[str, Any]) -> str:
    """The cursor of a page that ends with this document: newest first, by creation time, then by id."""
    created_at: datetime = document["created_at"]
    return f"{created_at.replace(tzinfo=None).isoformat(timespec='milliseconds')}-{document['_id']}"


def past(cursor: str | None, comes: str) -> Document:
    """The filter for what follows a page's end; `comes` says whether that is older (`$lt`) or younger (`$gt`)."""
    if cursor is None:
        return {}
    created_at, job_id = _place(cursor)
    beyond = [{"created_at": {comes: created_at}}, {"created_at": created_at, "_id": {comes: job_id}}]
    return {"created_at": {f"{comes}e": created_at}, "$or": beyond}


def down_to(cursor: str | None) -> Document:
    """The filter for what a page that ends there may contain."""
    if cursor is None:
        return {}
    created_at, job_id = _place(cursor)
    within = [{"created_at": {"$gt": created_at}}, {"created_at": created_at, "_id": {"$gte": job_id}}]
    return {"created_at": {"$gte": created_at}, "$or": within}


def _place(cursor: str) -> tuple[datetime, ObjectId]:
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})-([0-9a-f]{24})", cursor, re.ASCII)
    with contextlib.suppress(ValueError):
        if match is not None:
            return datetime.fromisoformat(f"{match[1]}+00:00"), ObjectId(match[2])
    shown = cursor[:100]
    raise InvalidRequest("invalid_cursor", f"the cursor {shown!r} is not valid; use the one from the Link header", "cursor")
