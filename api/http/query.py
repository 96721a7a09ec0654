"""THE query parameters: one table, which parsing, error messages and the OpenAPI document are all derived from."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from flask import Request

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.selection import FILTERS, some_text
from jobyard.engine.jobs.times import read_time

MAX_LIMIT = 1000
DEFAULT_LIMIT = 100

COUNT_QUERY = tuple(FILTERS)
SHOW_QUERY = ("wait_s",)
FIRES_QUERY = ("count", "after")
FAILURES_QUERY = ("since",)
FIND_QUERY = ("job_id", *SHOW_QUERY)
LIST_QUERY = (*COUNT_QUERY, "limit", "cursor")
"""The query parameters that several routes have in common."""
MAX_WAIT_S = 60
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One row. `read` returns the value, or raises `ValueError` saying what is expected.

    `read_all`, of a parameter that may be given several times, does the same for all its values.
    """

    name: str
    schema: Mapping[str, object]
    meaning: str
    read: Callable[[str], object]
    read_all: Callable[[Sequence[str]], object] | None = None


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) or not 1 <= int(text) <= MAX_LIMIT:
        raise ValueError(f"an integer from 1 to {MAX_LIMIT}")
    return int(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= 100:
        raise ValueError("an integer from 1 to 100")
    return int(text)


def _wait_s(text: str) -> float:
    if not _NUMBER.fullmatch(text) or not 0 <= float(text) <= MAX_WAIT_S:
        raise ValueError(f"a number from 0 to {MAX_WAIT_S}")
    return float(text)


PARAMETERS: Mapping[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        *(
            Parameter(
                name=row.name, read=row.read, meaning=row.meaning, schema=row.schema_of_all(),
                read_all=row.read_all if row.most > 1 else None,
            )
            for row in FILTERS.values()
        ),
        Parameter(
            name="limit", read=_limit, meaning="the most jobs to return",
            schema={"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        ),
        Parameter(
            name="cursor", read=some_text, meaning="where the previous page ended, from the next URL of its Link header",
            schema={"type": "string", "minLength": 1},
        ),
        Parameter(
            name="count", read=_count, meaning="how many to return",
            schema={"type": "integer", "minimum": 1, "maximum": 100, "default": 5},
        ),
        Parameter(
            name="after", read=read_time, meaning="only later ones; default: now", schema={"type": "string", "format": "date-time"},
        ),
        Parameter(
            name="since", read=read_time, meaning="only failures at this time or later; default: all",
            schema={"type": "string", "format": "date-time"},
        ),
        Parameter(
            name="wait_s", read=_wait_s, schema={"type": "number", "minimum": 0, "maximum": MAX_WAIT_S, "default": 0},
            meaning="wait up to this many seconds for the job to end before answering",
        ),
        Parameter(
            name="job_id", read=lambda text: read_job_id(text), meaning="the job's id",
            schema={"type": "string", "pattern": "^[0-9a-fA-F]{24}$"},
        ),
    )
}  # fmt: skip


def read_query(request: Request, allowed: Collection[str]) -> dict[str, object]:
    """The parameters by name; raises `InvalidRequest` for an unknown, repeated or invalid one."""
    _check_encoding(request.query_string)
    values: dict[str, object] = {}
    for name, texts in request.args.lists():
        if name not in allowed:
            known = f"known: {', '.join(allowed)}" if allowed else "it takes none"
            raise InvalidRequest("unknown_field", f"{name[:100]!r} is not a query parameter of this request; {known}", name[:100])
        row = PARAMETERS[name]
        if len(texts) > 1 and row.read_all is None:
            raise InvalidRequest("repeated_field", f"the query parameter {name} is given {len(texts)} times", name)
        try:
            values[name] = row.read(texts[0]) if row.read_all is None else row.read_all(texts)
        except ValueError as expected:
            raise InvalidRequest("invalid_field", f"{name} must be {expected}, not {texts[0][:100]!r}", name) from None
    return values


def _check_encoding(query: bytes) -> None:
    """The HTTP library would silently replace bytes that are not UTF-8 by other text."""
    try:
        unquote_to_bytes(query).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("invalid_request", f"the query {query[:100].decode('latin-1')!r} is not valid UTF-8") from None


def read_job_id(text: str) -> str:
    """A job id in lower case; raises `InvalidRequest` for anything else."""
    if not re.fullmatch(r"[0-9a-fA-F]{24}", text, re.ASCII):
        raise InvalidRequest("invalid_job_id", f"job_id must be 24 hexadecimal digits, not {text[:100]!r}", "job_id")
    return text.lower()
