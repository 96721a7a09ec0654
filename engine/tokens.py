"""The tokens of clients: what each may do, and the name by which the log tells what it changed.

    API_TOKEN      everything
    READ_TOKEN     looks: the dashboard, lists, metrics
    WORKER_TOKEN   runs jobs: leases and what becomes of them

Each setting holds a token, or several with commas between them; `name=token` gives one a name.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import NamedTuple

API, READ, WORKER = "API_TOKEN", "READ_TOKEN", "WORKER_TOKEN"
DEFAULT_NAMES: Mapping[str, str] = {API: "api", READ: "read", WORKER: "worker"}
RESERVED = "code"
"""What stands for declarations in task modules, where a client's name would."""
WORDS = "visible ASCII characters without spaces, for example 32 random hex digits (or several with commas between; or name=token)"
_NAMED = re.compile(r"([A-Za-z0-9_.-]{1,64})=(?=[^=])(.+)|(?=[^=])(.+)", re.ASCII)
_SECRET = re.compile(r"[\x21-\x2b\x2d-\x7e]+")
LEASES = re.compile(r"/api/leases(/settle)?|/api/jobs/[^/]+/(extend|complete|fail|release)")


class Token(NamedTuple):
    """One token. `setting`: the one that it is from, which says what it is good for."""

    setting: str
    name: str
    secret: str


def read_tokens(setting: str, text: str | None) -> tuple[Token, ...]:
    """The tokens of a setting's value; raises `ValueError` with what would be valid.

    Equals signs at the end belong to the token, as base64 has them.
    """
    tokens = [_read(setting, word.strip()) for word in (text or "").split(",") if word.strip()]
    if len({token.secret for token in tokens}) < len(tokens):
        raise ValueError("tokens that differ from each other")
    return tuple(tokens)


def _read(setting: str, word: str) -> Token:
    found = _NAMED.fullmatch(word)
    name, secret = (found[1] or DEFAULT_NAMES[setting], found[2] or found[3]) if found else ("", "")
    if not _SECRET.fullmatch(secret):
        raise ValueError(WORDS)
    if name == RESERVED:
        raise ValueError(f"a token with another name than {RESERVED}")
    return Token(setting, name, secret)


def first_secret(text: str) -> str:
    """What a client sends that finds the server's setting in its environment: the first token, without its name."""
    return read_tokens(API, text)[0].secret


def find_token(tokens: tuple[Token, ...], given: str) -> Token | None:
    """The token that a client sent; takes the same time whichever it is."""
    sent = given.encode("utf-8", "replace")
    found = [token for token in tokens if hmac.compare_digest(sent, token.secret.encode())]
    return found[0] if found else None


def may_ask(token: Token, method: str, path: str) -> bool:
    """Whether the token is good for such a request."""
    if token.setting == WORKER:
        return method == "POST" and LEASES.fullmatch(path) is not None
    return token.setting == API or method in ("GET", "HEAD")
