"""THE field `limit` of a new job and of `@task`: what it may be, and its schema. Imports only the standard library."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from jobyard.engine.jobs.strict_json import shown
from jobyard.engine.jobs.template import Template

NAME_PATTERN = r"[A-Za-z0-9_.-]{1,64}"
PARTITION_PATTERN = r"[A-Za-z0-9_.:@=+-]{1,128}"
PART_PATTERN = rf"{NAME_PATTERN}(/{PARTITION_PATTERN})?"
MAX_LIMITS = 2
WORDS = (
    'the name of a limit, with or without a partition ("stripe", "customer/7"), or a list of two: a name has 1 to 64 of the'
    " characters A-Z a-z 0-9 _ . -, a partition 1 to 128 of these and : @ = +"
)
_PART = re.compile(PART_PATTERN, re.ASCII)
_NAME = re.compile(NAME_PATTERN, re.ASCII)
_ONE = {"type": "string", "pattern": f"^{PART_PATTERN}$"}
SCHEMA: Mapping[str, object] = {
    "anyOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1, "maxItems": MAX_LIMITS, "uniqueItems": True}, {"type": "null"}]
}


def read_limit(value: object) -> tuple[str, ...] | None:
    """Parse a job's field `limit`; raises `ValueError` with what would be valid. None: the job names no limit."""
    return None if value is None else _different(tuple(_part(one) for one in _listed(value)))


def read_templates(value: object) -> tuple[str, ...] | None:
    """Parse what `@task` says, where fields of the payload may be named: `customer/{customer_id}`. Raises `ValueError`."""
    if value is None:
        return None
    texts = tuple(str(one) if isinstance(one, str) else _part(one) for one in _listed(value))
    for text in texts:
        Template(text)
        if not _NAME.fullmatch(text.partition("/")[0]):
            raise ValueError(WORDS)
        if "{" not in text:
            _part(text)
    return _different(texts)


def from_templates(texts: Sequence[str], payload: object) -> tuple[str, ...]:
    """The limits for this payload; raises `ValueError` with what the payload must have."""
    filled = tuple(Template(text).fill(payload) for text in texts)
    for text, part in zip(texts, filled, strict=True):
        if not _PART.fullmatch(part):
            told = "1 to 128 of the characters A-Z a-z 0-9 _ . : @ = + -"
            raise ValueError(f"such that the partition of the task's limit {shown(text)} has {told}")
    return filled


def name_of(part: str) -> str:
    """The limit's name."""
    return part.partition("/")[0]


def _listed(value: object) -> Sequence[object]:
    if isinstance(value, list | tuple):
        if not 1 <= len(value) <= MAX_LIMITS:
            raise ValueError(WORDS)
        return value
    return (value,)


def _part(value: object) -> str:
    if isinstance(value, str) and _PART.fullmatch(value):
        return value
    if isinstance(value, str) and (value == "*" or value.startswith(("queue:", "task:", "hook:"))):
        raise ValueError(f"{WORDS}; {shown(value)} is not named by jobs, since it applies by itself")
    raise ValueError(WORDS)


def _different(parts: tuple[str, ...]) -> tuple[str, ...]:
    names = [name_of(part) for part in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"a list of two different limits; {shown(names[0])} is named twice")
    return parts
