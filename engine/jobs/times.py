"""Reads times as clients send them: RFC 3339 with a zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from math import ceil

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:\.(\d{1,12}))?([Zz]|[+-]\d\d:[0-5]\d)", re.ASCII)


def read_time(value: object) -> datetime:
    """Parse a time, rounded up to a millisecond; raises `ValueError` with what would be valid."""
    found = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("a time such as 2026-01-04T02:04:20.123Z (RFC 3339 with a zone)")
    day, clock, seconds, fraction, zone = found.groups()
    try:
        whole = datetime.fromisoformat(f"{day}T{clock}:{min(int(seconds), 59):02}{zone.upper()}").astimezone(UTC)
        if int(seconds) > 60 or (seconds == "60" and (whole.hour, whole.minute) != (23, 59)):
            raise ValueError("seconds")
        milliseconds = ceil(int(fraction or 0) * 1000 / 10 ** len(fraction or "")) + 1000 * (seconds == "60")
        return whole + timedelta(milliseconds=milliseconds)
    except (ValueError, OverflowError):
        raise ValueError("a time that exists, in the years 1 to 9999") from None
