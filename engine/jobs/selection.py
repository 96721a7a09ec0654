"""THE fields that select jobs: one table, used for the query of a list and for the body of a bulk request.

`parse` reads such a body as received. `scheduler.bulk` carries out what is requested for the selected jobs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs import strict_json
from jobyard.engine.jobs.dependency_fields import GROUP_PATTERN, read_group
from jobyard.engine.jobs.error_kind import kind_of
from jobyard.engine.jobs.fields import as_integer
from jobyard.engine.jobs.job import JobFilter, Status
from jobyard.engine.jobs.lifecycle import Verb
from jobyard.engine.jobs.spread import MAX_SPREAD_S
from jobyard.engine.jobs.strict_json import LONGEST_SHOWN, shown
from jobyard.engine.jobs.submission import FIELDS, QUEUE_PATTERN
from jobyard.engine.jobs.tags import MAX_TAGS, TAG_SCHEMA, read_tag
from jobyard.engine.jobs.times import read_time
from jobyard.engine.jobs.unique import MAX_SHOWN_KEY_CHARS

MAX_STEP = 1000
DEFAULT_STEP = 500
MAX_TEXT_CHARS = 200
RETRY_FIELDS = ("spread_s", "priority")
_TEXT = re.compile(rf"[^\x00-\x1f\x7f]{{1,{MAX_TEXT_CHARS}}}")
_TEXT_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT_CHARS, "pattern": r"^[^\x00-\x1f\x7f]*$"}
_TIME = {"type": "string", "format": "date-time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One field; `read` returns the value or raises `ValueError` with what would be valid.

    `most`: how often it may be given, with different values; a body then has a list of them, or one alone.
    """

    name: str
    schema: Mapping[str, object]
    meaning: str
    read: Callable[[str], object]
    most: int = 1

    def read_all(self, values: Sequence[object]) -> object:
        """The value of all that was given; raises `ValueError`."""
        if not 1 <= len(values) <= self.most:
            raise ValueError(f"one, or a list of 1 to {self.most}")
        read = []
        for value in values:
            if not isinstance(value, str):
                raise ValueError("a string" if self.most == 1 else "a string or a list of strings")
            read.append(self.read(value))
        return read[0] if self.most == 1 else tuple(dict.fromkeys(read))

    def schema_of_all(self) -> Mapping[str, object]:
        """That of a list of values, where several may be given."""
        return self.schema if self.most == 1 else {"type": "array", "items": self.schema, "minItems": 1, "maxItems": self.most}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """One page of the selected jobs: at most `limit`, after the cursor. `priority` and `spread_s` are for a retry."""

    wanted: JobFilter
    limit: int
    cursor: str | None
    priority: int | None = None
    spread_s: float | None = None


def _status(text: str) -> Status:
    try:
        return Status(text)
    except ValueError:
        raise ValueError("one of " + ", ".join(Status)) from None


def _queue(text: str) -> str:
    if not re.fullmatch(QUEUE_PATTERN, text):
        raise ValueError("1 to 64 of the characters A-Z a-z 0-9 _ . -")
    return text


def _text(text: str) -> str:
    if not _TEXT.fullmatch(text):
        raise ValueError(f"1 to {MAX_TEXT_CHARS} characters, none of them a control character")
    return text


def _unique_key(text: str) -> str:
    if not 1 <= len(text) <= MAX_SHOWN_KEY_CHARS:
        raise ValueError(f"1 to {MAX_SHOWN_KEY_CHARS} characters")
    return text


def _group(text: str) -> str:
    return read_group(text) or ""


def _error_kind(text: str) -> str | None:
    """An error's whole first line stands for its kind."""
    return kind_of(_text(text))


def some_text(text: str) -> str:
    """Any text that is not empty."""
    if not text:
        raise ValueError("not empty")
    return text


FILTERS: Mapping[str, Filter] = {
    row.name: row
    for row in (
        Filter(name="status", read=_status, meaning="only jobs of this status", schema={"type": "string", "enum": list(Status)}),
        Filter(name="task", read=some_text, meaning="only jobs of this task", schema={"type": "string", "minLength": 1}),
        Filter(
            name="queue", read=_queue, meaning="only jobs of this queue", schema={"type": "string", "pattern": f"^{QUEUE_PATTERN}$"}
        ),
        Filter(
            name="text", read=_text,
            meaning="only jobs whose payload or error contains this text; case, and how JSON escapes a character, do not matter",
            schema=_TEXT_SCHEMA,
        ),
        Filter(
            name="unique_key", read=_unique_key, meaning="only jobs with this unique key, as a job shows it",
            schema={"type": "string", "minLength": 1, "maxLength": MAX_SHOWN_KEY_CHARS},
        ),
        Filter(
            name="schedule", read=_queue, meaning="only jobs that this schedule made",
            schema={"type": "string", "pattern": f"^{QUEUE_PATTERN}$"},
        ),
        Filter(
            name="group", read=_group, meaning="only members of this group",
            schema={"type": "string", "pattern": f"^{GROUP_PATTERN}$"},
        ),
        Filter(
            name="tag", read=read_tag, most=MAX_TAGS, meaning="only jobs that have this tag; given several times: all of them",
            schema=TAG_SCHEMA,
        ),
        Filter(
            name="error_kind", read=_error_kind, schema=_TEXT_SCHEMA,
            meaning="only jobs whose error is of this kind: its first line without numbers and hexadecimal digits",
        ),
        Filter(name="created_after", read=read_time, meaning="only jobs created at this time or later", schema=_TIME),
        Filter(name="created_before", read=read_time, meaning="only jobs created before this time", schema=_TIME),
    )
}  # fmt: skip


def parse(body: bytes, verb: Verb | None = None) -> Selection:
    """What a request selects, to be changed by the verb; raises `InvalidRequest`. Selecting all jobs takes an empty filter."""
    more = RETRY_FIELDS if verb is Verb.RETRY else ()
    asked = _object(strict_json.decode(body), "the body", "the body", ("filter", "limit", "cursor", *more))
    if "filter" not in asked:
        raise InvalidRequest("invalid_field", 'filter is required; {"filter": {}} selects all jobs', "filter")
    fields = _object(asked["filter"], "filter", "a filter", FILTERS)
    values = {name: _read(name, value) for name, value in fields.items()}
    wanted = JobFilter(**values)  # type: ignore[arg-type]
    return Selection(
        wanted=wanted, limit=_limit(asked.get("limit", DEFAULT_STEP)), cursor=_cursor(asked.get("cursor")),
        priority=_priority(asked.get("priority")), spread_s=_spread_s(asked.get("spread_s")),
    )  # fmt: skip


def _object(value: object, name: str, what: str, known: Mapping[str, object] | tuple[str, ...]) -> dict[str, object]:
    if not isinstance(value, dict):
        code, field = ("invalid_field", name) if name == "filter" else ("invalid_json", None)
        raise InvalidRequest(code, f"{name} must be a JSON object, not {shown(value)}", field)
    for key in value:
        if key not in known:
            told = f"{shown(key)} is not a field of {what}; known: {', '.join(known)}"
            raise InvalidRequest("unknown_field", told, key[:LONGEST_SHOWN])
    return value


def _read(name: str, value: object) -> object:
    try:
        return FILTERS[name].read_all(value if isinstance(value, list) and FILTERS[name].most > 1 else [value])
    except ValueError as wrong:
        raise InvalidRequest("invalid_field", f"filter.{name} must be {wrong}, not {shown(value)}", f"filter.{name}") from None


def _limit(value: object) -> int:
    value = as_integer(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_STEP:
        raise InvalidRequest("invalid_field", f"limit must be an integer from 1 to {MAX_STEP}, not {shown(value)}", "limit")
    return value


def _cursor(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and value):
        raise InvalidRequest("invalid_field", f"cursor must be the previous response's, or null, not {shown(value)}", "cursor")
    return value


def _priority(value: object) -> int | None:
    try:
        return None if value is None else int(str(FIELDS["priority"].read(value)))
    except ValueError as wrong:
        raise InvalidRequest("invalid_field", f"priority must be {wrong}, not {shown(value)}", "priority") from None


def _spread_s(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MAX_SPREAD_S:
        raise InvalidRequest("invalid_field", f"spread_s must be a number from 0 to {MAX_SPREAD_S}, not {shown(value)}", "spread_s")
    return float(value)
