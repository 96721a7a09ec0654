"""The OpenAPI 3.1 document, generated from the tables: routes, query parameters, fields of a new job, statuses, error codes."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from jobyard.api.http.change_schemas import change_schemas, selection
from jobyard.api.http.hook_schemas import hook_schemas
from jobyard.api.http.lease_schemas import lease_schemas
from jobyard.api.http.limit_schemas import limit_schemas
from jobyard.api.http.operations import EXAMPLES, TAGS, operation_of
from jobyard.api.http.query import PARAMETERS, Parameter
from jobyard.api.http.reply import STATUS_OF
from jobyard.api.http.routes import GATEWAY, ROUTES, Route
from jobyard.api.http.schedule_schemas import schedule_schemas
from jobyard.api.http.workflow_schemas import workflow_schemas
from jobyard.engine.jobs.dependency_fields import GROUP_PATTERN
from jobyard.engine.jobs.job import ExecutionStatus, Status
from jobyard.engine.jobs.submission import FIELDS
from jobyard.engine.jobs.submission_body import MAX_BATCH
from jobyard.engine.leases.declared_tasks import NAME_PATTERN as TASK_NAME_PATTERN
from jobyard.engine.leases.declared_tasks import ORIGINS
from jobyard.engine.leases.requests import Do
from jobyard.engine.limits.definition import NAME
from jobyard.engine.schedules.definition import NAME_PATTERN
from jobyard.engine.version import version
from jobyard.engine.why.reason import Code

SERVERS = (
    {"url": ".", "description": "where this document is served"},
    {"url": "http://127.0.0.1:8080", "description": "the default address"},
)
JOB_ID = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
TIME = {"type": "string", "format": "date-time"}
MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
MAYBE_TEXT = {"type": ["string", "null"]}
MAYBE_TEXTS = {"type": ["array", "null"], "items": {"type": "string"}}
DEPENDENCY = {"type": "object", "properties": {"job_id": {"type": "string"}, "ref": MAYBE_TEXT, "group": {"type": "string"}}}
CANCELLED_BECAUSE = {
    "type": ["object", "null"], "properties": {"reason": {"type": "string"}}, "required": ["reason"],
    "description": "set where Jobyard itself cancelled the job: the reason, and what caused it",
}  # fmt: skip
RUN_IF_WITHOUT_AFTER = {
    "required": ["run_if"], "properties": {"run_if": {"type": "string"}},
    "not": {"required": ["after"], "properties": {"after": {"type": "array"}}},
}  # fmt: skip
OBJECTS = {"type": "array", "items": {"type": "object"}}
COUNT = {"type": "integer", "minimum": 0}
SCHEDULE_NAME = {"type": "string", "pattern": f"^{NAME_PATTERN}$"}
PATH_PARTS: Mapping[str, Mapping[str, object]] = {
    "job_id": {"schema": PARAMETERS["job_id"].schema, "description": PARAMETERS["job_id"].meaning},
    "schedule": {"schema": SCHEDULE_NAME, "description": "the schedule's name"},
    "hook": {"schema": SCHEDULE_NAME, "description": "the hook's name"},
    "task": {"schema": {"type": "string", "pattern": f"^{TASK_NAME_PATTERN}$"}, "description": "the task's name"},
    "group": {"schema": {"type": "string", "pattern": f"^{GROUP_PATTERN}$"}, "description": "the group's name"},
    "limit": {"schema": {"type": "string", "pattern": f"^({NAME.pattern})$"}, "description": "the limit's name"},
    "name": {"schema": {"type": "string", "pattern": r"^[a-z-]+\.[a-z]+$"}, "description": "the file's name"},
}
ANSWER_HEADERS = {
    "X-Request-ID": {
        "description": "The request's own X-Request-ID if it is valid, else a new one; log lines caused by the request carry it",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    }
}
EVERYWHERE = (401, 403, 421, 500)
WITH_A_BODY = (408, 501)
MEANINGS = {
    200: "Accepted before, or an existing job has the unique key; no job is added", 400: "Malformed or out of bounds",
    401: "The token is missing or wrong", 403: "The Origin is not allowed, or the token is not good for this", 404: "Not found",
    406: "Only HTML is available here",
    408: "The body was not received in time", 409: "Conflicts with the job's state, a lease, an idempotency key or a unique key",
    413: "Too large", 415: "Unsupported media type or compressed body", 421: "The Host is not served here",
    500: "Internal error; the message has the error_id to look for in the log", 501: "A transfer coding other than chunked",
    503: "Temporarily unavailable: try again after Retry-After seconds; nothing was stored",
}  # fmt: skip

JOB: Mapping[str, Mapping[str, object]] = {
    "job_id": JOB_ID, "task": {"type": "string"}, "payload": {}, "queue": {"type": "string"},
    "priority": {"type": "integer", "minimum": 0, "maximum": 9}, "status": {"type": "string", "enum": list(Status)},
    "scheduled_at": TIME, "created_at": TIME, "updated_at": TIME, "claimed_by": MAYBE_TEXT, "claimed_at": MAYBE_TIME,
    "queued_at": MAYBE_TIME, "locked_by": MAYBE_TEXT, "locked_until": MAYBE_TIME, "last_run_at": MAYBE_TIME,
    "next_run_at": MAYBE_TIME, "finished_at": MAYBE_TIME, "attempt": COUNT, "epoch": COUNT, "lost_count": COUNT,
    "retry_count": COUNT, "max_retries": COUNT, "timeout_s": {"type": "number"}, "idempotency_key": MAYBE_TEXT, "result": {},
    "error": MAYBE_TEXT, "unique_key": MAYBE_TEXT, "limit": MAYBE_TEXTS, "after": {"type": ["array", "null"], "items": DEPENDENCY},
    "run_if": MAYBE_TEXT, "ref": MAYBE_TEXT, "group": MAYBE_TEXT, "schedule": MAYBE_TEXT, "fire_at": MAYBE_TIME,
    "expires_s": {"type": ["number", "null"]}, "expires_at": MAYBE_TIME, "cancelled_because": CANCELLED_BECAUSE,
    "traceparent": MAYBE_TEXT, "tracestate": MAYBE_TEXT, "tags": {"type": "array", "items": {"type": "string"}},
}  # fmt: skip
EXECUTION: Mapping[str, Mapping[str, object]] = {
    "execution_id": {"type": "string"}, "job_id": JOB_ID, "attempt": COUNT, "worker_id": {"type": "string"},
    "status": {"type": "string", "enum": list(ExecutionStatus)}, "started_at": TIME, "finished_at": MAYBE_TIME,
    "duration_ms": {"type": ["integer", "null"]}, "error_message": MAYBE_TEXT, "traceback": MAYBE_TEXT,
}  # fmt: skip
PROGRESS: Mapping[str, Mapping[str, object]] = {
    "fraction": {"type": "number", "minimum": 0, "maximum": 1}, "note": {"type": "string"}, "at": TIME,
}  # fmt: skip
OUTPUT: Mapping[str, Mapping[str, object]] = {
    "attempt": COUNT, "output": {"type": "string"}, "is_cut": {"type": "boolean"}, "is_running": {"type": "boolean"},
    "progress": {"type": ["object", "null"], "properties": PROGRESS, "required": list(PROGRESS)},
}  # fmt: skip
BODIES = {
    "selection": "Selection", "job": "NewJob", "schedule": "NewSchedule", "pause": "Pause", "nothing": "Nothing",
    "backfill": "Backfill", "retry_selection": "RetrySelection", "retry": "Retry", "tags": "NewTags", "limit": "NewLimit",
    "pause_limit": "PauseLimit", "hold": "Hold", "task": "NewTask", "lease": "NewLease", "settle": "Settle", "hook": "NewHook",
    "replay": "Replay", **{do.value: do.capitalize() for do in Do},
}  # fmt: skip
OPTIONAL_BODIES = ("pause", "nothing", "retry", "limit", "pause_limit", "task")
TASK: Mapping[str, Mapping[str, object]] = {
    "task": {"type": "string"}, "max_retries": COUNT, "timeout_s": {"type": "number"},
    "parameters": {
        "type": ["object", "null"],
        "description": "what the payload must be, as JSON Schema; null: the task takes its payload whole",
    },
    "origin": {
        "type": "string", "enum": list(ORIGINS),
        "description": "code: defined in a task module; api: declared for HTTP workers",
    },
}  # fmt: skip
PERCENTILES: Mapping[str, object] = {
    "type": ["object", "null"], "properties": {name: {"type": "number"} for name in ("p50", "p95", "p99")},
    "required": ["p50", "p95", "p99"],
}  # fmt: skip


@functools.lru_cache(maxsize=8)
def document(*, tasks: tuple[str, ...] | None = None, cursor: str | None = None) -> bytes:
    """The document as JSON text. `tasks`: those that can be submitted now; `cursor`: the pattern of this database's cursors.

    Without them it is right for every service, but says less of these.
    """
    paths: dict[str, dict[str, object]] = {}
    for route in ROUTES:
        if GATEWAY in route.kinds:
            path = re.sub("<([a-z_]+)>", r"{\1}", route.path)
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, cursor)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Jobyard", "version": version(), "description": "A durable job scheduler: the gateway's interface."},
            "servers": SERVERS, "paths": paths,
            "tags": [{"name": name, "description": words} for name, words in TAGS.items()],
            "components": {
                "schemas": _with_examples(_schemas(tasks, cursor)),
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
            "security": [{}, {"token": []}],
        }
    )


def _operation(route: Route, cursor: str | None) -> dict[str, object]:
    row = operation_of(route.method, route.path)
    parameters = [_parameter(PARAMETERS[name], cursor) for name in route.query]
    parts = re.findall("<([a-z_]+)>", route.path)
    parameters.extend({"name": name, "in": "path", "required": True, **PATH_PARTS[name]} for name in parts)
    operation: dict[str, object] = {
        "operationId": row.id, "tags": [row.tag], "summary": route.summary, "description": row.description or f"{route.summary}.",
        "parameters": parameters, "responses": _responses(route),
    }  # fmt: skip
    if route.body is not None:
        operation["requestBody"] = {"required": route.body not in OPTIONAL_BODIES, "content": _bodies(route.body)}
    return operation


def _parameter(row: Parameter, cursor: str | None) -> dict[str, object]:
    required = row.name == "job_id"
    schema = row.schema if row.name != "cursor" or cursor is None else {**row.schema, "pattern": cursor}
    return {"name": row.name, "in": "query", "required": required, "schema": schema, "description": row.meaning}


def _bodies(body: str) -> dict[str, object]:
    if body in BODIES:
        return {"application/json": {"schema": _ref(BODIES[body])}}
    lines = _list_of("NewJob") | {"maxItems": MAX_BATCH, "description": "one job per line"}
    return {"application/json": {"schema": _ref("NewBatch")}, "application/x-ndjson": {"schema": lines}}


def _responses(route: Route) -> dict[str, object]:
    answer = {"content": {route.media_type: {"schema": _ref(route.answer)}}}
    told = {} if route.status == 204 else answer
    responses: dict[str, object] = {str(route.status): {"description": route.summary, "headers": ANSWER_HEADERS, **told}}
    for status in sorted({*route.errors, *EVERYWHERE, *(WITH_A_BODY if route.body else ())} - {route.status}):
        schema = answer["content"] if status == 200 else {"application/json": {"schema": _ref("Error")}}
        responses[str(status)] = {"description": MEANINGS[status], "headers": ANSWER_HEADERS, "content": schema}
    return responses


def _with_examples(schemas: dict[str, Any]) -> dict[str, Any]:
    return {name: schema | ({"examples": [EXAMPLES[name]]} if name in EXAMPLES else {}) for name, schema in schemas.items()}


def _schemas(tasks: tuple[str, ...] | None, cursor: str | None) -> dict[str, Any]:
    accepted = {"job_id": JOB_ID, "status": {"type": "string", "enum": list(Status)}, "message": {"type": "string"}}
    uniqueness = {"existing": {"type": "boolean"}, "replaced": {"type": "boolean"}}
    indexes = {"type": "array", "items": COUNT}
    counts = {"type": "object", "properties": {status: COUNT for status in Status}}
    error = {"code": {"type": "string", "enum": sorted(STATUS_OF)}, "message": {"type": "string"}, "field": MAYBE_TEXT}
    details = {"job_id": JOB_ID, "group": {"type": "string"}, "stop": {"const": True}}
    return {
        "NewJob": _new_job(tasks),
        "NewBatch": _object({"jobs": _list_of("NewJob") | {"maxItems": MAX_BATCH}}) | {"additionalProperties": False},
        "Job": _object(JOB), "Jobs": _list_of("Job"), "Execution": _object(EXECUTION),
        "Task": _object(TASK, unique={"type": "object"}), "Tasks": _list_of("Task"),
        "Executions": _list_of("Execution"), "Accepted": _object(accepted, **uniqueness),
        "AcceptedBatch": _object({"job_ids": {"type": "array", "items": JOB_ID}}, existing=indexes, replaced=indexes),
        "Count": _object({"count": COUNT, "is_exact": {"type": "boolean"}}),
        "Selection": selection(cursor), **change_schemas(cursor),
        "Step": _object({"changed": COUNT, "skipped": COUNT, "cursor": MAYBE_TEXT}),
        "Why": _object({"job_id": JOB_ID, "status": {"type": ["string", "null"], "enum": [*Status, None]}, "reasons": _reasons()}),
        "Health": _object({"status": {"type": "string"}}), "Counters": {"type": "object"}, "Document": {"type": "object"},
        "History": _object({"minutes": _list_of("Minute"), "queue_depth": _object(dict.fromkeys(map(str, range(10)), COUNT))}),
        "Minute": _object({"at": TIME, **dict.fromkeys(("accepted", "succeeded", "failed", "retried"), COUNT),
                          "lag_ms": PERCENTILES, "duration_ms": PERCENTILES}),
        "JobLogs": _object({"job_id": JOB_ID, "attempts": _list_of("Output")}),
        "Output": _object(OUTPUT) | {"additionalProperties": False},
        "Text": {"type": "string"}, **schedule_schemas(), **limit_schemas(), **workflow_schemas(), **lease_schemas(),
        **hook_schemas(),
        "Stats": _object(
            {"jobs": counts, "processes": OBJECTS, "components": {"type": "object"}, "http_workers": OBJECTS}
        ),
        "Queue": _object({"size": COUNT, "ready": COUNT, "leased": COUNT, "items": OBJECTS}),
        "Error": _object({"error": _object(error, **details)}),
    }  # fmt: skip


def _new_job(tasks: tuple[str, ...] | None) -> dict[str, object]:
    fields = {name: {**field.schema, "description": field.meaning} for name, field in FIELDS.items()}
    if tasks is not None:
        fields["task"]["enum"] = list(tasks)
    return {
        "type": "object", "properties": fields, "additionalProperties": False,
        "not": {"anyOf": [{"required": ["scheduled_at", "delay_s"]}, RUN_IF_WITHOUT_AFTER]},
    }  # fmt: skip


def _reasons() -> dict[str, object]:
    reason = _object({"code": {"type": "string", "enum": list(Code)}, "message": {"type": "string"}})
    return {"type": "array", "minItems": 1, "items": reason, "description": "each reason has further fields, depending on its code"}


def _object(properties: Mapping[str, object], **optional: object) -> dict[str, object]:
    return {"type": "object", "properties": {**properties, **optional}, "required": list(properties)}


def _list_of(name: str) -> dict[str, object]:
    return {"type": "array", "items": _ref(name)}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
