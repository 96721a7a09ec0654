"""Replies as JSON text."""

from __future__ import annotations

import msgspec

from jobyard.engine.wire.messages import Json


def as_json(value: object, status: int = 200) -> Json:
    """The reply that has this value; datetimes, Structs and dataclasses in it are encoded as msgspec does."""
    return Json(body=msgspec.json.encode(value), status=status)
