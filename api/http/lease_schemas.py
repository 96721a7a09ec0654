"""The schemas of HTTP workers' requests in the OpenAPI document, from the tables that read them."""

from __future__ import annotations

from collections.abc import Mapping

from jobyard.engine.jobs.fields import Field
from jobyard.engine.leases.declared_tasks import DECLARED
from jobyard.engine.leases.requests import LEASE_FIELDS, MAX_SETTLE, TOLD_FIELDS, Do

JOB_ID = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
TIME = {"type": "string", "format": "date-time"}
MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
MAYBE_TEXT = {"type": ["string", "null"]}
COUNT = {"type": "integer", "minimum": 0}
LEASED = {
    "job_id": JOB_ID, "epoch": COUNT, "attempt": COUNT, "task": {"type": "string"}, "queue": {"type": "string"}, "payload": {},
    "lease_s": {"type": "number"}, "deadline_at": TIME, "retry_count": COUNT, "results": {"type": ["object", "null"]},
    "tags": {"type": "array", "items": {"type": "string"}}, "schedule": MAYBE_TEXT, "fire_at": MAYBE_TIME,
    "traceparent": MAYBE_TEXT, "tracestate": MAYBE_TEXT,
}  # fmt: skip


def lease_schemas() -> dict[str, object]:
    """By name."""
    extended = {"lease_s": {"type": "number"}, "cancel_requested": {"type": "boolean"}}
    error = {"code": {"type": "string"}, "message": {"type": "string"}, "field": MAYBE_TEXT}
    row = _object({"job_id": JOB_ID, "ok": {"type": "boolean"}})
    optional = {**extended, "error": _object(error) | {"description": "where ok is false; with stop where the lease is lost"}}
    row["properties"] = {"job_id": JOB_ID, "ok": {"type": "boolean"}, **optional}
    return {
        "NewTask": _closed(DECLARED), "NewLease": _closed(LEASE_FIELDS, "worker", "tasks"),
        "Leases": {"type": "array", "items": _object(LEASED)}, "Extended": _object(extended),
        **{do.capitalize(): _closed(fields, "epoch") for do, fields in TOLD_FIELDS.items()},
        "Settle": {"type": "array", "maxItems": MAX_SETTLE, "items": {"oneOf": [_item(do) for do in Do]}},
        "Settled": {"type": "array", "items": row},
    }  # fmt: skip


def _item(do: Do) -> dict[str, object]:
    fields = _properties(TOLD_FIELDS[do])
    properties = {"job_id": JOB_ID, "do": {"const": do.value}, **fields}
    return {"type": "object", "properties": properties, "required": ["job_id", "do", "epoch"], "additionalProperties": False}


def _closed(fields: Mapping[str, Field], *required: str) -> dict[str, object]:
    return {"type": "object", "properties": _properties(fields), "required": list(required), "additionalProperties": False}


def _properties(fields: Mapping[str, Field]) -> dict[str, object]:
    return {name: {**field.schema, "description": field.meaning} for name, field in fields.items()}


def _object(properties: Mapping[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}
