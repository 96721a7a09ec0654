"""The schemas of requests that change stored jobs, one or all that a filter selects, in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobyard.engine.jobs.edits import RETRY_FIELDS
from jobyard.engine.jobs.selection import DEFAULT_STEP, FILTERS, MAX_STEP, Filter
from jobyard.engine.jobs.spread import MAX_SPREAD_S, PATTERN
from jobyard.engine.jobs.submission import FIELDS
from jobyard.engine.jobs.tags import SCHEMA as TAGS

JOB_ID = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
TIME = {"type": "string", "format": "date-time"}
FAILURES: Mapping[str, Mapping[str, object]] = {
    "task": {"type": "string"}, "error_kind": {"type": "string"}, "count": {"type": "integer", "minimum": 1}, "first_at": TIME,
    "last_at": TIME, "example_job_id": JOB_ID,
    "is_exact": {"type": "boolean", "description": "false: there are more than 100,000 failures, and older ones are not counted"},
}  # fmt: skip


def change_schemas(cursor: str | None) -> dict[str, object]:
    """By name. `cursor`: the pattern of this database's cursors."""
    retry = {name: {**FIELDS[name].schema, "description": FIELDS[name].meaning} for name in RETRY_FIELDS}
    tags = {"type": "object", "properties": {"tags": TAGS}, "required": ["tags"], "additionalProperties": False}
    spread = None if cursor is None else f"^({PATTERN})?{cursor.removeprefix('^')}"
    bulk = selection(spread)
    bulk["properties"] |= {
        "spread_s": {
            "type": ["number", "null"], "minimum": 0, "maximum": MAX_SPREAD_S,
            "description": "spread the due times evenly over so many seconds, for all steps of one call; default: due at once",
        },
        "priority": {"anyOf": [{"type": "null"}, FIELDS["priority"].schema], "description": "their new priority"},
    }  # fmt: skip
    failures = {"type": "object", "properties": FAILURES, "required": list(FAILURES)}
    return {
        "Retry": {"type": "object", "properties": retry, "additionalProperties": False}, "RetrySelection": bulk,
        "NewTags": {"anyOf": [tags, TAGS], "description": "in an object, or the list alone"},
        "Failures": {"type": "array", "items": failures},
    }  # fmt: skip


def selection(pattern: str | None) -> dict[str, Any]:
    """The body of a request that changes many jobs."""
    rows = {row.name: {**_in_body(row), "description": row.meaning} for row in FILTERS.values()}
    description = "which jobs; {} selects all"
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_STEP, "default": DEFAULT_STEP, "description": "how many at most"}
    cursor = {"type": ["string", "null"], "minLength": 1, "description": "the cursor of the previous answer"}
    cursor |= {} if pattern is None else {"pattern": pattern}
    wanted = {"type": "object", "properties": rows, "additionalProperties": False, "description": description}
    properties = {"filter": wanted, "limit": limit, "cursor": cursor}
    return {"type": "object", "properties": properties, "required": ["filter"], "additionalProperties": False}


def _in_body(row: Filter) -> Mapping[str, object]:
    return row.schema if row.most == 1 else {"anyOf": [row.schema, row.schema_of_all()]}
