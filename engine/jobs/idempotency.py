"""Compares two requests with the same idempotency key by what they mean, not by their text.

Two requests are the same if they differ only in a default that is spelled out (`"queue": "default"`), in how a value is written
(`"high"` and 9, 60 and 60.0) or in the zone of a time. The payload is compared as JSON: the order of its fields does not matter,
but `1.0` differs from 1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

import msgspec

from jobyard.engine.jobs.unique_field import Asked

DIGEST_BYTES = 16
"""The length of each stored digest: first that of the meaning, then that of the text. Version 0.1 stored the latter alone."""

SECONDS = ("delay_s", "timeout_s", "expires_s")
FIXED_DEFAULTS: Mapping[str, object] = {
    "payload": None, "task": "echo", "queue": "default", "priority": 5, "delay_s": 0, "tags": (),
}  # fmt: skip


def digest_of(fields: Mapping[str, object], checked: Mapping[str, object], defaults: Mapping[str, object]) -> bytes:
    """The digest of a request. `fields`: as sent; `checked`: their validated values; `defaults`: those that depend on settings.

    Changing such a setting later does not change the digest of a request that omits the field.
    """
    known = {**FIXED_DEFAULTS, **defaults}
    meant = {name: _plain(name, value) for name, value in checked.items() if name not in known or value != known[name]}
    return _digest(meant) + _digest(fields)


def is_same_request(stored: bytes | None, asked: bytes | None) -> bool:
    """Whether two requests with one key mean the same; `stored` is the first one's digest and may come from version 0.1."""
    if stored is None or asked is None or len(stored) != DIGEST_BYTES or len(asked) <= DIGEST_BYTES:
        return (stored or b"")[:DIGEST_BYTES] == (asked or b"")[:DIGEST_BYTES]
    return stored == asked[DIGEST_BYTES:]


def _digest(fields: Mapping[str, object]) -> bytes:
    asked = {name: value for name, value in fields.items() if name != "idempotency_key"}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()[:DIGEST_BYTES]


def _plain(name: str, value: object) -> object:
    """The value as JSON, in one canonical form."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Asked):
        return value._asdict()
    if isinstance(value, tuple):
        return msgspec.to_builtins(value)
    return float(value) if name in SECONDS and isinstance(value, int) else value
