"""Replies: JSON bodies, and THE table that gives every error code its HTTP status.

Replies are plain values, independent of how they are sent; `http.app` turns them into Flask responses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from jobyard.engine.errors import JobyardError, Unavailable
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Json, Refused

STATUS_OF: Mapping[str, int] = {
    "invalid_request": 400, "invalid_json": 400, "invalid_field": 400, "unknown_field": 400, "repeated_field": 400,
    "unknown_task": 400, "unknown_limit": 400, "invalid_cron": 400, "never_fires": 400, "unknown_time_zone": 400,
    "unknown_job": 400, "unknown_group": 400, "cycle": 400, "too_many_edges": 400,
    "invalid_job_id": 400, "invalid_cursor": 400, "too_many_jobs": 400, "unauthorized": 401,
    "origin_not_allowed": 403, "forbidden": 403, "not_found": 404, "method_not_allowed": 405, "not_acceptable": 406,
    "request_timeout": 408,
    "conflict": 409, "idempotency_conflict": 409, "not_unique": 409, "group_ended": 409, "blocked_by": 409, "lease_lost": 409,
    "payload_too_large": 413, "body_too_large": 413, "uri_too_long": 414, "unsupported_media_type": 415, "expectation_failed": 417,
    "misdirected_host": 421, "headers_too_large": 431, "internal_error": 500, "not_implemented": 501, "unavailable": 503,
    "overloaded": 503, "no_scheduler": 503, "outcome_unknown": 503, "database_unavailable": 503, "query_too_broad": 503,
}  # fmt: skip
CODE_OF = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large", 415: "unsupported_media_type"}
"""The error codes of statuses that the HTTP library raises."""

HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON body with its status and all headers except those that describe the body."""

    body: bytes
    status: int
    headers: Mapping[str, str]


def json_reply(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply with this JSON text and a line break, so that a shell's prompt comes on a line of its own."""
    return Reply(body + b"\n", status, {**HEADERS, **(headers or {})})


def value_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply with this value as JSON."""
    return json_reply(msgspec.json.encode(value), status, headers)


def error_body(code: str, message: str, field: str | None = None, details: Mapping[str, object] | None = None) -> bytes:
    """The one form of every error."""
    return msgspec.json.encode({"error": {"code": code, "message": message, "field": field, **(details or {})}})


def error_reply(error: JobyardError | Refused, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply for this error; a 503 always has `Retry-After`."""
    retry_after_s = error.retry_after_s if isinstance(error, Unavailable | Refused) else None
    status = STATUS_OF.get(error.code, 500)
    more = {"Retry-After": str(retry_after_s or 1)} if status == 503 else {}
    return json_reply(error_body(error.code, error.message, error.field, error.details), status, {**more, **(headers or {})})


def message_reply(answer: Message) -> Reply:
    """A reply with a component's answer."""
    if isinstance(answer, Json):
        return json_reply(answer.body, answer.status)  # with 204, without a body
    return error_reply(answer) if isinstance(answer, Refused) else unexpected(answer)


def unexpected(answer: Message) -> Reply:
    """A component sent a message that does not answer the request: an internal error."""
    return json_reply(error_body("internal_error", f"a component answered {type(answer).__name__}"), 500)
