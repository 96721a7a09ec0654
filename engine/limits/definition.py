"""THE fields of a limit: one table, from which parsing, error messages and the OpenAPI document all come."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.fields import Field, floating, one_of, whole
from jobyard.engine.jobs.job import at_least
from jobyard.engine.jobs.limit_field import NAME_PATTERN
from jobyard.engine.jobs.request_fields import checked, fields_of
from jobyard.engine.jobs.strict_json import shown
from jobyard.engine.jobs.submission import QUEUE_PATTERN
from jobyard.engine.jobs.times import read_time
from jobyard.engine.limits.limit import ON_FULL, WAIT, Numbers

NAME = re.compile(rf"\*|{NAME_PATTERN}|queue:{QUEUE_PATTERN}|hook:{NAME_PATTERN}|task:.{{1,255}}", re.DOTALL)
NAME_WORDS = "1 to 64 of the characters A-Z a-z 0-9 _ . -, or queue:NAME, task:NAME or *"
MAX_RUNNING, MAX_COUNT = 1_000, 100_000
SHORTEST_S, LONGEST_S = 0.1, 86_400
MAX_PAUSE_S, MAX_HOLD_S = 31_536_000, 86_400
MAX_REASON_CHARS = 200


def _maybe_whole(highest: int) -> Mapping[str, object]:
    return {"type": ["integer", "null"], "minimum": 1, "maximum": highest}


FIELDS: Mapping[str, Field] = {
    field.name: field
    for field in (
        Field(
            name="max_running", schema=_maybe_whole(MAX_RUNNING), read=whole(1, MAX_RUNNING),
            meaning="how many jobs may run at once, in each partition; null: any number",
        ),
        Field(
            name="count", schema=_maybe_whole(MAX_COUNT), read=whole(1, MAX_COUNT),
            meaning="how many jobs may begin in per_s seconds, in each partition; null: any number",
        ),
        Field(
            name="per_s", schema={"type": ["number", "null"], "minimum": SHORTEST_S, "maximum": LONGEST_S},
            read=floating(f"a number from {SHORTEST_S} to {LONGEST_S}", lambda value: SHORTEST_S <= value <= LONGEST_S),
            meaning="the seconds that count is for",
        ),
        Field(
            name="burst", schema={**_maybe_whole(MAX_COUNT), "default": 1}, read=whole(1, MAX_COUNT),
            meaning="how many may begin at once after a pause, at most count; null without a rate",
        ),
        Field(
            name="on_full", schema={"type": ["string", "null"], "enum": [*ON_FULL, None], "default": WAIT}, read=one_of(ON_FULL),
            meaning="what happens where max_running jobs run: the new job waits; it is cancelled when it is accepted; or the oldest"
            " running one is asked to cancel",
        ),
    )
}  # fmt: skip

PAUSE_FIELDS = ("reason", "for_s", "until")
_PAUSE_S = floating(f"a number above 0, at most {MAX_PAUSE_S}", lambda value: 0 < value <= MAX_PAUSE_S)
_HOLD_S = floating(f"a number above 0, at most {MAX_HOLD_S}", lambda value: 0 < value <= MAX_HOLD_S)


def check_name(name: str) -> str:
    """The name of a limit; raises `InvalidRequest`."""
    if not NAME.fullmatch(name):
        raise InvalidRequest("invalid_field", f"the name of a limit must be {NAME_WORDS}, not {shown(name)}", "name")
    return name


def parse(body: bytes) -> Numbers:
    """What a PUT asks for; raises `InvalidRequest`."""
    values = {name: _read(name, value) for name, value in fields_of(body, tuple(FIELDS)).items() if value is not None}
    if ("count" in values) != ("per_s" in values):
        missing = "per_s" if "count" in values else "count"
        raise _invalid(missing, "give count and per_s together: at most count jobs begin in per_s seconds")
    if "burst" in values and "count" not in values:
        raise _invalid("burst", "burst needs a rate: give count and per_s, too")
    if values.get("burst", 1) > values.get("count", 1):
        raise _invalid("burst", f"burst must be at most count, which is {values['count']}, not {values['burst']}")
    if values.get("on_full", WAIT) != WAIT and "max_running" not in values:
        raise _invalid("on_full", f"on_full {values['on_full']} needs max_running, since without it the limit is never full")
    return Numbers(**values)


def _read(name: str, value: object) -> Any:
    return checked(name, value, FIELDS[name].read)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedPause:
    """What the body of a pause asks for."""

    reason: str | None = None
    until: datetime | None = None


def parse_pause(body: bytes, now: datetime) -> AskedPause:
    """Raises `InvalidRequest`."""
    given = {name: value for name, value in fields_of(body, PAUSE_FIELDS).items() if value is not None}
    if "for_s" in given and "until" in given:
        raise _invalid("until", "give either for_s or until, not both")
    until: datetime | None = None
    if "for_s" in given:
        until = later(now, checked("for_s", given["for_s"], _PAUSE_S))
    elif "until" in given:
        until = checked("until", given["until"], read_time)
        if until <= now:
            raise _invalid("until", f"until must be a time in the future, not {shown(given['until'])}")
    return AskedPause(reason=None if "reason" not in given else checked("reason", given["reason"], _reason), until=until)


def parse_hold(body: bytes, now: datetime) -> datetime:
    """Until when; raises `InvalidRequest`."""
    return later(now, checked("for_s", fields_of(body, ("for_s",)).get("for_s"), _HOLD_S))


def later(now: datetime, seconds: float) -> datetime:
    """The time so many seconds from now."""
    return now + max(at_least(seconds), timedelta(milliseconds=1))


def _reason(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_REASON_CHARS:
        raise ValueError(f"text of at most {MAX_REASON_CHARS} characters")
    return value


def _invalid(field: str, words: str) -> InvalidRequest:
    return InvalidRequest("invalid_field", words, field)
