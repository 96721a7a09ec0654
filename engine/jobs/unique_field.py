"""THE field `unique` of a new job and of `@task`: what it may be, and its schema. Imports only the standard library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from jobyard.engine.jobs.strict_json import shown

ENDED, BEGUN = UNTIL = ("ended", "begun")
RETURN, REPLACE, REFUSE = ON_CONFLICT = ("return", "replace", "refuse")
MAX_KEY_CHARS = 255
MAX_FOR_S = 31_536_000
_KEY = {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARS, "pattern": r"^[^\x00\r\n\u2028\u2029]*$"}
_SECONDS = {"type": ["number", "null"], "minimum": 0, "maximum": MAX_FOR_S}
_MAYBE_KEY = {"anyOf": [_KEY, {"type": "null"}]}
SCHEMA: Mapping[str, object] = {
    "anyOf": [
        {"type": ["boolean", "null"]},
        _KEY,
        {
            "type": "object", "additionalProperties": False,
            "properties": {
                "key": _MAYBE_KEY, "until": {"enum": [*UNTIL, None], "default": ENDED}, "for_s": {**_SECONDS, "default": 0},
                "on_conflict": {"enum": [*(word for word in ON_CONFLICT if word != REPLACE), None], "default": RETURN},
                "at_latest_s": {"type": "null"},
            },
        },
        {
            "type": "object", "additionalProperties": False, "required": ["until", "on_conflict"],
            "properties": {
                "key": _MAYBE_KEY, "until": {"const": BEGUN}, "for_s": {"enum": [0, None]}, "on_conflict": {"const": REPLACE},
                "at_latest_s": _SECONDS,
            },
        },
    ],
}  # fmt: skip


class Asked(NamedTuple):
    """What `unique` asks for; `key` is None for the digest of the payload."""

    key: str | None = None
    until: str = ENDED
    for_s: float = 0.0
    on_conflict: str = RETURN
    at_latest_s: float | None = None


def read_unique(value: object) -> Asked | None:
    """Parse the field `unique`; raises `ValueError` with what would be valid. None: the job has no unique key."""
    if value is None or value is False:
        return None
    if value is True:
        return Asked()
    if isinstance(value, str):
        return Asked(check_key(value))
    if not isinstance(value, dict):
        raise ValueError("true, a key, or an object with key, until, for_s, on_conflict, at_latest_s")
    return _read_object(value)


def _read_object(given: Mapping[str, object]) -> Asked:
    known = ("key", "until", "for_s", "on_conflict", "at_latest_s")
    for name in given:
        if name not in known:
            raise ValueError(f"an object with only the fields {', '.join(known)}; {shown(name)} is none of them")
    key = given.get("key")
    asked = Asked(
        key=None if key is None else check_key(key), until=_one_of("until", given, UNTIL), for_s=_seconds("for_s", given) or 0.0,
        on_conflict=_one_of("on_conflict", given, ON_CONFLICT), at_latest_s=_seconds("at_latest_s", given),
    )  # fmt: skip
    if asked.on_conflict == REPLACE and asked.until != BEGUN:
        raise ValueError('with "until": "begun" where on_conflict is "replace", since a job that has begun cannot be replaced')
    if asked.on_conflict == REPLACE and asked.for_s:
        raise ValueError('without for_s where on_conflict is "replace"')
    if asked.at_latest_s is not None and asked.on_conflict != REPLACE:
        raise ValueError('without at_latest_s unless on_conflict is "replace"')
    return asked


def check_key(value: object) -> str:
    """The key; raises `ValueError` with what would be valid."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_KEY_CHARS or any(sign in value for sign in "\0\r\n\u2028\u2029"):
        raise ValueError(f"a key of 1 to {MAX_KEY_CHARS} characters, without line breaks and NUL")
    return value


def _one_of(name: str, given: Mapping[str, object], words: tuple[str, ...]) -> str:
    value = given.get(name)
    if value is None:
        return words[0]
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"an object whose {name} is one of {', '.join(words)}")
    return value


def _seconds(name: str, given: Mapping[str, object]) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MAX_FOR_S:
        raise ValueError(f"an object whose {name} is a number from 0 to {MAX_FOR_S}")
    return float(value)
