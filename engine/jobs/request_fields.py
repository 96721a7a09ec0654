"""The fields of a request's body: read one by one, with the same errors whatever the request is about."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs import strict_json
from jobyard.engine.jobs.strict_json import LONGEST_SHOWN, shown

T = TypeVar("T")


def object_of(value: object, what: str = "the body") -> dict[str, object]:
    """The value, which must be a JSON object."""
    if not isinstance(value, dict):
        raise InvalidRequest("invalid_json", f"{what} must be a JSON object, not {shown(value)}")
    return value


def optional_object(body: bytes) -> dict[str, object]:
    """The object that a body is which may be left out."""
    return object_of(strict_json.decode(body)) if body.strip() else {}


def fields_of(body: bytes, known: Collection[str]) -> dict[str, object]:
    """The fields of a body all of whose fields are optional, so that it may be left out."""
    given = optional_object(body)
    for name in given:
        if name not in known:
            raise unknown_field(name, known)
    return given


def unknown_field(name: str, known: Collection[str], what: str = "this request") -> InvalidRequest:
    """The error for a field that `what` does not have."""
    told = f"known: {', '.join(known)}" if known else "it takes none"
    return InvalidRequest("unknown_field", f"{shown(name)} is not a field of {what}; {told}", name[:LONGEST_SHOWN])


def checked(name: str, value: object, read: Callable[[object], T]) -> T:
    """What `read` makes of the value. It raises `ValueError` with what would be valid, which becomes `InvalidRequest`."""
    try:
        return read(value)
    except ValueError as wrong:
        raise InvalidRequest("invalid_field", f"{name} must be {wrong}, not {shown(value)}", name) from None
