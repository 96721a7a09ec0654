"""The schemas of hooks in the OpenAPI document."""

from __future__ import annotations

from jobyard.engine.hooks.hook import EVENTS, MAX_TAGS, MAX_URL_CHARS, RESULT

JOB_ID = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
TIME = {"type": "string", "format": "date-time"}
MAYBE_TEXT = {"type": ["string", "null"]}
_URL = {"type": ["string", "null"], "maxLength": MAX_URL_CHARS, "description": "where events are sent; instead of job"}
_JOB = {"type": ["object", "null"], "description": "the job that is submitted, with the event in its payload; instead of url"}
_EVENTS = {"type": "array", "items": {"type": "string", "enum": list(EVENTS)}, "minItems": 1, "uniqueItems": True}
_INCLUDE = {
    "type": ["array", "null"], "items": {"const": RESULT}, "maxItems": 1,
    "description": "what an event has besides: the result, null and result_too_large over 256 KiB",
}  # fmt: skip
_TAG = {"anyOf": [MAYBE_TEXT, {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": MAX_TAGS}]}
_FILTER = {
    "type": ["object", "null"], "additionalProperties": False, "description": "only events of such jobs",
    "properties": {"task": MAYBE_TEXT, "queue": MAYBE_TEXT, "group": MAYBE_TEXT, "schedule": MAYBE_TEXT, "tag": _TAG},
}  # fmt: skip
_SECRET = {"type": ["string", "null"], "description": "whsec_ and 24 to 64 bytes in base64; made if left out, shown once"}


def hook_schemas() -> dict[str, object]:
    """By name."""
    fields = {"url": _URL, "events": _EVENTS, "filter": _FILTER, "secret": _SECRET, "job": _JOB, "include": _INCLUDE}
    off = {"type": ["object", "null"], "properties": {"at": TIME, "reason": {"type": "string"}}, "required": ["at", "reason"]}
    told = {
        "name": {"type": "string"}, "url": MAYBE_TEXT, "events": _EVENTS, "filter": {"type": "object"},
        "job": {"type": ["object", "null"]}, "include": {"type": "array"}, "disabled": off,
    }  # fmt: skip
    hook = {"type": "object", "properties": {**told, "secret": {"type": "string"}}, "required": list(told)}
    span = {"from": TIME, "to": TIME}
    return {
        "NewHook": {"type": "object", "properties": fields, "required": ["events"], "additionalProperties": False},
        "Hook": hook, "Hooks": {"type": "array", "items": {"$ref": "#/components/schemas/Hook"}},
        "Tested": {"type": "object", "properties": {"job_id": JOB_ID}, "required": ["job_id"]},
        "Replay": {"type": "object", "properties": span, "required": ["from", "to"], "additionalProperties": False},
        "Replayed": {"type": "object", "properties": {"job_ids": {"type": "array", "items": JOB_ID}}, "required": ["job_ids"]},
    }  # fmt: skip
