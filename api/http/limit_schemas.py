"""The schemas of limits in the OpenAPI document."""

from __future__ import annotations

from jobyard.engine.limits.definition import FIELDS, MAX_HOLD_S, MAX_PAUSE_S, MAX_REASON_CHARS
from jobyard.engine.limits.limit import ORIGINS

TIME = {"type": "string", "format": "date-time"}
MAYBE_TIME = {"type": ["string", "null"], "format": "date-time"}
MAYBE_TEXT = {"type": ["string", "null"]}
COUNT = {"type": "integer", "minimum": 0}
SECONDS = {"type": ["number", "null"], "exclusiveMinimum": 0}


def limit_schemas() -> dict[str, object]:
    """By name."""
    fields = {name: {**field.schema, "description": field.meaning} for name, field in FIELDS.items()}
    paused = {"by": {"type": "string"}, "since": TIME, "reason": MAYBE_TEXT, "until": MAYBE_TIME}
    waiting = _object({"count": COUNT, "is_exact": {"type": "boolean"}})
    part = {"partition": {"type": "string"}, "running": COUNT, "waiting": waiting, "next_at": MAYBE_TIME}
    state = {
        "paused": {"type": ["object", "null"], "properties": paused, "required": list(paused)}, "hold_until": MAYBE_TIME,
        "origin": {"type": "string", "enum": list(ORIGINS)}, "running": COUNT, "waiting": waiting, "next_at": MAYBE_TIME,
    }  # fmt: skip
    shown = {"name": {"type": "string"}, **fields, **state}
    reason = {**MAYBE_TEXT, "maxLength": MAX_REASON_CHARS}
    return {
        "NewLimit": {"type": "object", "properties": fields, "additionalProperties": False},
        "Limit": _object(
            shown,
            partitions={"type": "array", "items": _object(part), "description": "the fullest 20; in the answer about one limit"},
            effective_within_s={**COUNT, "description": "in the answer of a pause: how soon it holds everywhere"},
        ),
        "Limits": {"type": "array", "items": {"$ref": "#/components/schemas/Limit"}},
        "PauseLimit": {
            "type": "object", "additionalProperties": False,
            "properties": {"reason": reason, "for_s": {**SECONDS, "maximum": MAX_PAUSE_S}, "until": MAYBE_TIME},
            "not": {"required": ["for_s", "until"], "properties": {"for_s": {"type": "number"}, "until": {"type": "string"}}},
        },
        "Hold": {
            "type": "object", "additionalProperties": False, "required": ["for_s"],
            "properties": {"for_s": {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_HOLD_S}},
        },
    }  # fmt: skip


def _object(properties: dict[str, object], **optional: object) -> dict[str, object]:
    return {"type": "object", "properties": {**properties, **optional}, "required": list(properties)}
