"""The one text format of times: RFC 3339, UTC, milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(at: datetime | None) -> str | None:
    """The time as `2026-01-04T02:04:20.123Z`: UTC, milliseconds."""
    return None if at is None else f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
