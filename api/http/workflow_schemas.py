"""The schemas of groups and graphs in the OpenAPI document."""

from __future__ import annotations

from jobyard.engine.jobs.job import Status

JOB_ID = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
TIME = {"type": "string", "format": "date-time"}
MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
MAYBE_TEXT = {"type": ["string", "null"]}
STATUS = {"type": "string", "enum": list(Status)}
COUNT = {"type": "integer", "minimum": 0}


def workflow_schemas() -> dict[str, object]:
    """By name."""
    counts = _object({status.value: COUNT for status in Status})
    node = {"job_id": JOB_ID, "task": {"type": "string"}, "status": STATUS, "ref": MAYBE_TEXT, "group": MAYBE_TEXT}
    source = {"anyOf": [JOB_ID, _object({"group": {"type": "string"}})]}
    return {
        "Group": _object(
            {
                "name": {"type": "string"}, "counts": counts, "created_at": TIME, "ended_at": MAYBE_TIME,
                "waiting": {"type": "array", "items": JOB_ID, "maxItems": 100, "description": "jobs that wait for the group"},
            }
        ),
        "Groups": {"type": "array", "items": {"$ref": "#/components/schemas/Group"}},
        "Graph": _object(
            {
                "nodes": {"type": "array", "items": _object(node), "maxItems": 500},
                "edges": {"type": "array", "items": _object({"from": source, "to": JOB_ID})}, "is_whole": {"type": "boolean"},
            }
        ),
    }  # fmt: skip


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties)}
