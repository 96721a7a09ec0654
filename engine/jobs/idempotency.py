"""What an idempotency key compares: the meaning of a request, not its text.

A request means the same when a default is spelled out (`"queue": "default"`), a value is written in another way (`"high"` and 9, 60
and 60.0) or an instant is given in another zone. The payload is compared as JSON: the order of its fields does not matter, `1.0`
is not 1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

DIGEST_BYTES = 16
"""Of each of the two digests that are stored: that of the meaning, then that of the text, which 0.1 stored alone."""

SECONDS = ("delay_s", "timeout_s")
FIXED_DEFAULTS: Mapping[str, object] = {"payload": None, "task": "echo", "queue": "default", "priority": 5, "delay_s": 0}


def digest_of(fields: Mapping[str, object], checked: Mapping[str, object], defaults: Mapping[str, object]) -> bytes:
    """The digest of a request. `fields`: as they were sent; `checked`: their values once checked; `defaults`: of what is a setting.

    A setting that changes later does not change the digest of a request that leaves its field out.
    """
    known = {**FIXED_DEFAULTS, **defaults}
    meant = {name: _plain(name, value) for name, value in checked.items() if name not in known or value != known[name]}
    return _digest(meant) + _digest(fields)


def is_same_request(stored: bytes | None, asked: bytes | None) -> bool:
    """Whether the request that a key was used for first means what this one means; `stored` may come from version 0.1."""
    if stored is None or asked is None or len(stored) != DIGEST_BYTES or len(asked) <= DIGEST_BYTES:
        return (stored or b"")[:DIGEST_BYTES] == (asked or b"")[:DIGEST_BYTES]
    return stored == asked[DIGEST_BYTES:]


def _digest(fields: Mapping[str, object]) -> bytes:
    asked = {name: value for name, value in fields.items() if name != "idempotency_key"}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()[:DIGEST_BYTES]


def _plain(name: str, value: object) -> object:
    """As JSON, the same for all ways to write it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return float(value) if name in SECONDS and isinstance(value, int) else value
