"""The task `webhook`: sends one delivery of a hook, signed anew at each try as Standard Webhooks 1.0 says.

The worker gives it the hook's url and secrets, which no stored job has. Standard library only: it runs in the user's interpreter.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from jobyard.engine.tasks.context import Retry, Unrecoverable, current_job
from jobyard.engine.tasks.web import exchange
from jobyard.engine.world import World

NAME = "webhook"
PREFIX = "whsec_"
TRY_S = 15.0
DELAYS_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
MAX_RETRY_AFTER_S = 86_400.0
GONE = 410
GONE_WORDS = "the receiver answered 410 Gone, which disables the hook"


def new_secret() -> str:
    """A random secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def key_of(secret: str) -> bytes:
    """The bytes that a secret stands for; raises `ValueError` with what would be valid."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError(f"{PREFIX} followed by 24 to 64 bytes in base64")
    return key


def signature(secret_texts: Sequence[str], *, message_id: str, at_s: int, body: bytes) -> str:
    """The header `webhook-signature`, one part for each secret."""
    signed = f"{message_id}.{at_s}.".encode() + body
    digests = (hmac.new(key_of(secret), signed, hashlib.sha256).digest() for secret in secret_texts)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def deliver(payload: Any, *, allow_private: bool) -> dict[str, int]:
    """Send it. A 2xx is a success; anything else is tried again later, but for 410; redirects are not followed."""
    if not isinstance(payload, dict) or "url" not in payload:
        raise Unrecoverable("only hooks make jobs of the task webhook")
    now_s = int(World().now().timestamp())
    body = json.dumps(payload["event"], ensure_ascii=False, separators=(",", ":")).encode()
    headers = {
        "Content-Type": "application/json", "User-Agent": "Jobyard", "webhook-id": str(payload["event_id"]),
        "webhook-timestamp": str(now_s),
        "webhook-signature": signature(payload["secrets"], message_id=payload["event_id"], at_s=now_s, body=body),
    }  # fmt: skip
    if payload.get("traceparent"):
        headers["traceparent"] = payload["traceparent"]
    try:
        status, answered, _ = exchange(payload["url"], "POST", headers, body, TRY_S, allow_private=allow_private)
    except Unrecoverable:
        raise
    except Exception as fault:  # no connection, no answer in time, no HTTP
        raise Retry(f"{type(fault).__name__}: {fault}", delay_s=_delay_s({}, now_s)) from None
    if 200 <= status < 300:
        return {"status": status}
    if status == GONE:
        raise Unrecoverable(GONE_WORDS)
    raise Retry(f"the receiver answered {status}", delay_s=_delay_s(answered, now_s))


def _delay_s(headers: Mapping[str, str], now_s: float) -> float:
    """The delay of this try, which `Retry-After` can only lengthen."""
    usual = DELAYS_S[min(current_job().retry_count, len(DELAYS_S) - 1)]
    wished = next((text for name, text in headers.items() if name.lower() == "retry-after"), "")
    return max(usual, min(_seconds(wished, now_s), MAX_RETRY_AFTER_S))


def _seconds(text: str, now_s: float) -> float:
    if text.strip().isdigit():
        return float(text)
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - now_s
    except (TypeError, ValueError):
        return 0.0
