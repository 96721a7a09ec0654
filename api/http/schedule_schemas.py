"""The schemas of schedules in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping

from jobyard.engine.jobs.submission import FIELDS as JOB_FIELDS
from jobyard.engine.schedules.definition import FIELDS, NOT_FOR_SCHEDULES
from jobyard.engine.schedules.schedule import ORIGINS, OVERLAP, REASONS

JOB_ID = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
TIME = {"type": "string", "format": "date-time"}
MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
MAYBE_TEXT = {"type": ["string", "null"]}
COUNT = {"type": "integer", "minimum": 0}
TIMES = {"type": "array", "items": TIME}
IDS = {"type": "array", "items": JOB_ID}


def schedule_schemas() -> dict[str, object]:
    """By name."""
    fields = {name: _described(field.schema, field.meaning) for name, field in FIELDS.items()}
    job = {name: {**field.schema, "description": field.meaning} for name, field in JOB_FIELDS.items()}
    paused = {"by": {"type": "string"}, "since": TIME, "reason": MAYBE_TEXT}
    state: dict[str, object] = {
        "next_fire_at": MAYBE_TIME, "last_fire_at": MAYBE_TIME, "last_job_id": MAYBE_TEXT, "fires": COUNT,
        "missed": _object({reason: COUNT for reason in REASONS}), "missed_is_exact": {"type": "boolean"},
        "last_missed_at": MAYBE_TIME, "paused": {"type": ["object", "null"], "properties": paused, "required": list(paused)},
        "origin": {"type": "string", "enum": list(ORIGINS)},
    }  # fmt: skip
    schedule = _object({"name": {"type": "string"}, **fields, "job": {"type": "object"}, **state}, next_fires=TIMES)
    backfill = _object({"from": TIME, "to": TIME}, overlap={"type": ["string", "null"], "enum": [*OVERLAP, None], "default": "all"})
    allowed = {name: schema for name, schema in job.items() if name not in NOT_FOR_SCHEDULES}
    return {
        "ScheduledJob": {"type": "object", "properties": allowed, "additionalProperties": False},
        "NewSchedule": {"type": "object", "properties": fields, "required": ["job"], "additionalProperties": False},
        "Schedule": schedule, "Schedules": {"type": "array", "items": {"$ref": "#/components/schemas/Schedule"}},
        "Preview": _object({"next_fires": TIMES}), "Times": TIMES,
        "Pause": {"type": "object", "properties": {"reason": {**MAYBE_TEXT, "maxLength": 200}}, "additionalProperties": False},
        "Nothing": {"type": "object", "additionalProperties": False, "maxProperties": 0},
        "Ran": _object({"job_id": JOB_ID}, existing={"type": "boolean"}, replaced={"type": "boolean"}),
        "Backfill": {**backfill, "additionalProperties": False}, "Backfilled": _object({"job_ids": IDS}),
    }  # fmt: skip


def _described(schema: Mapping[str, object], meaning: str) -> Mapping[str, object]:
    return {**schema, "description": meaning}


def _object(properties: Mapping[str, object], **optional: object) -> dict[str, object]:
    return {"type": "object", "properties": {**properties, **optional}, "required": list(properties)}
