"""Turns answers into values, or into the errors of `engine/errors.py` with the server's code, message and field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from jobyard.engine.client.steps import NoAnswer, Response
from jobyard.engine.errors import (
    BrokenAnswer,
    Conflict,
    InvalidRequest,
    JobyardError,
    NotFound,
    Rejected,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unreachable,
)

T = TypeVar("T")

REJECTIONS: Mapping[int, type[Rejected]] = {
    401: Unauthorized, 403: Unauthorized, 404: NotFound, 409: Conflict, 413: TooLarge,
}  # fmt: skip
"""Any other 4xx from Jobyard is an `InvalidRequest`."""

TEMPORARY = frozenset({429, 502, 503, 504})
"""Jobyard itself sends only 503; the others may come from a proxy in between."""

UNAVAILABLE = "unavailable"
UNCERTAIN = frozenset({UNAVAILABLE, "outcome_unknown", "database_unavailable"})
"""The codes of 503 after which a cancel or a retry may have been done: the answer was lost on the way to the scheduler or to the
database. After any other code nothing was done."""

MAX_SHOWN_CHARS = 100


def is_temporary(answer: Response | NoAnswer) -> bool:
    """Whether sending the request again may help."""
    return isinstance(answer, NoAnswer) or answer.status in TEMPORARY


def is_uncertain(answer: Response | NoAnswer) -> bool:
    """Whether the request may have been carried out."""
    if isinstance(answer, NoAnswer):
        return answer.was_sent
    return answer.status in (502, 504) or (answer.status == 503 and _error_in(answer).get("code", UNAVAILABLE) in UNCERTAIN)


def retry_after_s(answer: Response | NoAnswer) -> float:
    """How long the server asks to wait before a retry; 0 when it does not."""
    details = answer.headers.get("retry-after", "") if isinstance(answer, Response) else ""
    return float(details) if details.isascii() and details.isdigit() else 0.0


def error_of(answer: Response | NoAnswer) -> JobyardError:
    """The error that this answer stands for."""
    if isinstance(answer, NoAnswer):
        return Unreachable(answer.message, was_sent=answer.was_sent)
    details = _error_in(answer)
    if not details and answer.status not in TEMPORARY:
        start = answer.body[:MAX_SHOWN_CHARS].decode("utf-8", "replace")
        return BrokenAnswer("broken_answer", f"HTTP {answer.status} is not an answer from Jobyard; it begins with {start!r}")
    code = str(details.get("code", UNAVAILABLE))
    message = str(details.get("message", f"HTTP {answer.status}"))
    if answer.status in TEMPORARY:
        return Unavailable(code, message, retry_after_s=int(retry_after_s(answer)) or 1)
    field = details.get("field")
    kind = REJECTIONS.get(answer.status, InvalidRequest) if answer.status < 500 else BrokenAnswer
    return kind(code, message, None if field is None else str(field))


def value_of(response: Response, kind: type[T]) -> T:
    """The body as this type; raises `BrokenAnswer`. Payloads and results are as Python's own JSON decoder reads them."""
    try:
        return msgspec.convert(json.loads(response.body), kind)
    except (ValueError, RecursionError, msgspec.MsgspecError) as wrong:
        raise BrokenAnswer("broken_answer", f"HTTP {response.status} with a body that Jobyard does not send: {wrong}") from None


def _error_in(response: Response) -> Mapping[str, Any]:
    try:
        error = json.loads(response.body)["error"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    return error if isinstance(error, dict) else {}
