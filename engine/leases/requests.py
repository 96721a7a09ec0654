"""THE fields of the requests of HTTP workers: tables from which parsing, error messages and the OpenAPI document come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from jobyard.engine.errors import InvalidRequest, TooLarge
from jobyard.engine.jobs import strict_json
from jobyard.engine.jobs.fields import Field, floating, whole
from jobyard.engine.jobs.request_fields import checked, object_of, unknown_field
from jobyard.engine.jobs.strict_json import MAX_DEPTH, shown
from jobyard.engine.jobs.submission import MAX_DELAY_S, QUEUE_PATTERN

MAX_COUNT, MAX_TASKS, MAX_WORKER_CHARS = 100, 100, 128
LEAST_LEASE_S, MOST_LEASE_S = 5.0, 3600.0
MAX_WAIT_S = 60
MAX_SETTLE = 1_000
MAX_RESULT_BYTES = 1 << 20
MAX_NOTE_CHARS = 200
JOB_ID_PATTERN = r"[0-9a-f]{24}"


class Do(StrEnum):
    """What a worker does with a job that it has leased."""

    COMPLETE = "complete"
    FAIL = "fail"
    RELEASE = "release"
    EXTEND = "extend"


class LeaseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A worker asks for jobs. `lease_s`: how long it keeps each without extending it; `wait_s`: how long it waits for the first."""

    worker: str
    tasks: tuple[str, ...]
    queues: tuple[str, ...] | None = None
    count: int = 1
    lease_s: float
    wait_s: float = 0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker tells of a job that it has leased; only the fields of `do` have a meaning."""

    job_id: str
    do: Do
    epoch: int = -1
    result: bytes = b"null"
    output: str | None = None
    error: str | None = None
    traceback: str | None = None
    retry_delay_s: float | None = None
    unrecoverable: bool = False
    cancelled: bool = False
    delay_s: float = 0
    lease_s: float | None = None
    progress: tuple[float | None, str | None] | None = None


def default_lease_s(lease_s: float) -> float:
    """The length of a lease that asks for none, where LEASE_S is set to this."""
    return min(MOST_LEASE_S, max(LEAST_LEASE_S, lease_s))


def _number(low: float, high: float) -> Callable[[object], float]:
    return floating(f"a number from {low:g} to {high:g}", lambda value: low <= value <= high)


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def _worker(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_WORKER_CHARS or not value.isprintable():
        raise ValueError(f"a name of 1 to {MAX_WORKER_CHARS} printable characters")
    return value


def _names(what: str, fits: Callable[[str], bool]) -> Callable[[object], tuple[str, ...]]:
    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_TASKS:
            raise ValueError(f"an array of 1 to {MAX_TASKS} {what}")
        if not all(isinstance(name, str) and fits(name) for name in value):
            raise ValueError(f"an array of {what}")
        return tuple(sorted(set(value)))

    return check


def _progress(value: object) -> tuple[float | None, str | None]:
    if not isinstance(value, dict) or not value or not value.keys() <= {"fraction", "note"}:
        raise ValueError("an object with fraction, note, or both")
    fraction, note = value.get("fraction"), value.get("note")
    if fraction is not None and (not isinstance(fraction, int | float) or isinstance(fraction, bool) or not 0 <= fraction <= 1):
        raise ValueError("an object whose fraction is a number from 0 to 1")
    if note is not None and (not isinstance(note, str) or len(note) > MAX_NOTE_CHARS):
        raise ValueError(f"an object whose note is text of at most {MAX_NOTE_CHARS} characters")
    return (None if fraction is None else float(fraction)), note


def _table(*fields: Field) -> Mapping[str, Field]:
    return {field.name: field for field in fields}


def _is_queue(name: str) -> bool:
    return 1 <= len(name) <= 64 and name.isascii() and all(sign.isalnum() or sign in "_.-" for sign in name)


_TEXT = {"type": ["string", "null"]}
_LEASE_S = Field(
    name="lease_s", schema={"type": ["number", "null"], "minimum": LEAST_LEASE_S, "maximum": MOST_LEASE_S},
    read=_number(LEAST_LEASE_S, MOST_LEASE_S),
    meaning="seconds until the lease ends unless it is extended; never beyond the job's timeout_s; default: LEASE_S, at least 5",
)  # fmt: skip
_EPOCH = Field(
    name="epoch", schema={"type": "integer", "minimum": 0}, read=whole(0, (1 << 63) - 1),
    meaning="that of the lease; with the job's id, its token",
)  # fmt: skip
_OUTPUT = Field(
    name="output", schema=_TEXT, read=_text, meaning="what was printed since the last time; the last 64 KiB of an attempt are kept"
)
_ERROR = Field(name="error", schema=_TEXT, read=_text, meaning="why it failed; at most 4,000 characters are kept")

LEASE_FIELDS = _table(
    Field(
        name="worker", schema={"type": "string", "minLength": 1, "maxLength": MAX_WORKER_CHARS}, read=_worker,
        meaning="a name for the worker, shown wherever a worker's name is",
    ),
    Field(
        name="tasks", read=_names("names of tasks", lambda name: 0 < len(name) <= 1000),
        schema={"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": MAX_TASKS},
        meaning="the tasks that the worker runs, declared by PUT /api/tasks/{task}",
    ),
    Field(
        name="queues", read=_names("names of queues", _is_queue), meaning="take jobs of these queues only; default: any",
        schema={
            "type": ["array", "null"], "items": {"type": "string", "pattern": f"^{QUEUE_PATTERN}$"}, "minItems": 1,
            "maxItems": MAX_TASKS,
        },
    ),
    Field(
        name="count", schema={"type": ["integer", "null"], "minimum": 1, "maximum": MAX_COUNT, "default": 1},
        read=whole(1, MAX_COUNT), meaning="how many jobs at most",
    ),
    _LEASE_S,
    Field(
        name="wait_s", schema={"type": ["number", "null"], "minimum": 0, "maximum": MAX_WAIT_S, "default": 0},
        read=_number(0, MAX_WAIT_S), meaning="how long to wait for the first job",
    ),
)  # fmt: skip

TOLD_FIELDS: Mapping[Do, Mapping[str, Field]] = {
    Do.EXTEND: _table(
        _EPOCH, _LEASE_S,
        Field(
            name="progress", read=_progress, meaning="how far it has come",
            schema={
                "type": ["object", "null"], "additionalProperties": False, "minProperties": 1,
                "properties": {
                    "fraction": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                    "note": {"type": ["string", "null"], "maxLength": MAX_NOTE_CHARS},
                },
            },
        ),
        _OUTPUT,
    ),
    Do.COMPLETE: _table(
        _EPOCH,
        Field(name="result", schema={}, read=lambda value: value, meaning="any JSON, at most 1 MiB; returned as sent"),
        _OUTPUT,
    ),
    Do.FAIL: _table(
        _EPOCH, _ERROR,
        Field(name="traceback", schema=_TEXT, read=_text, meaning="where it failed; at most 4,000 characters are kept"),
        Field(
            name="retry_delay_s", schema={"type": ["number", "null"], "minimum": 0, "maximum": MAX_DELAY_S},
            read=_number(0, MAX_DELAY_S), meaning="when to try again; default: as for every task",
        ),
        Field(
            name="unrecoverable", schema={"type": ["boolean", "null"], "default": False}, read=_switch,
            meaning="do not try again",
        ),
        Field(
            name="cancelled", schema={"type": ["boolean", "null"], "default": False}, read=_switch,
            meaning="it was stopped because cancellation was requested; counts only if it was",
        ),
        _OUTPUT,
    ),
    Do.RELEASE: _table(
        _EPOCH,
        Field(
            name="delay_s", schema={"type": ["number", "null"], "minimum": 0, "maximum": MAX_DELAY_S, "default": 0},
            read=_number(0, MAX_DELAY_S), meaning="seconds until the job is due again",
        ),
    ),
}  # fmt: skip
SETTLE_ONLY = ("job_id", "do")


def read_lease(body: bytes, *, lease_s: float) -> LeaseRequest:
    """The request; raises `InvalidRequest`. `lease_s`: the default."""
    values = _read(object_of(strict_json.decode(body)), LEASE_FIELDS, required=("worker", "tasks"))
    return LeaseRequest(**{"lease_s": default_lease_s(lease_s), **values})


def read_told(do: Do, job_id: str, body: bytes) -> Told:
    """What the body of a request about one job tells; raises `InvalidRequest` or `TooLarge`."""
    return _told(do, job_id, object_of(strict_json.decode(body)), bytes(_decode_result(body).result))


def read_settle(body: bytes) -> list[Told | tuple[str, InvalidRequest | TooLarge]]:
    """The items of the array, each with its error if it has one; raises `InvalidRequest` if it is no array of objects with ids."""
    items = strict_json.decode(body)
    if not isinstance(items, list):
        raise InvalidRequest("invalid_json", f"the body must be a JSON array, not {shown(items)}")
    if len(items) > MAX_SETTLE:
        raise InvalidRequest("invalid_field", f"the array may have at most {MAX_SETTLE} items, not {len(items)}")
    ids = [_job_id(item, index) for index, item in enumerate(items)]
    results = [bytes(one.result) for one in _decode_results(body)]
    return [_item(job_id, item, result) for job_id, item, result in zip(ids, items, results, strict=True)]


def _job_id(item: object, index: int) -> str:
    if not isinstance(item, dict):
        raise InvalidRequest("invalid_json", f"[{index}] must be a JSON object, not {shown(item)}", f"[{index}]")
    job_id = item.get("job_id")
    if not isinstance(job_id, str) or len(job_id) != 24 or not set(job_id) <= set("0123456789abcdef"):
        words = f"[{index}].job_id must be 24 hexadecimal digits, not {shown(job_id)}"
        raise InvalidRequest("invalid_job_id", words, f"[{index}].job_id")
    return job_id


def _item(job_id: str, item: Mapping[str, object], result: bytes) -> Told | tuple[str, InvalidRequest | TooLarge]:
    try:
        do = item.get("do")
        if do not in tuple(Do):
            raise InvalidRequest("invalid_field", f"do must be one of {', '.join(Do)}, not {shown(do)}", "do")
        return _told(Do(str(do)), job_id, {name: value for name, value in item.items() if name not in SETTLE_ONLY}, result)
    except (InvalidRequest, TooLarge) as wrong:
        return job_id, wrong


def _told(do: Do, job_id: str, fields: Mapping[str, object], result: bytes) -> Told:
    values = _read(fields, TOLD_FIELDS[do], required=("epoch",))
    if do is Do.COMPLETE:
        _check_result(result)
        values["result"] = result
    return Told(job_id=job_id, do=do, **values)


def _check_result(result: bytes) -> None:
    if len(result) > MAX_RESULT_BYTES:
        raise TooLarge("payload_too_large", f"result is {len(result)} bytes long; at most {MAX_RESULT_BYTES}", "result")
    if strict_json.depth(result, enough=MAX_DEPTH) > MAX_DEPTH:
        raise InvalidRequest("invalid_field", f"result may be nested at most {MAX_DEPTH} levels deep", "result")


def _read(given: Mapping[str, object], known: Mapping[str, Field], *, required: Sequence[str]) -> dict[str, Any]:
    """The checked values; a null is a field that was left out."""
    values: dict[str, Any] = {}
    for name, value in given.items():
        field = known.get(name)
        if field is None:
            raise unknown_field(name, known)
        if value is not None and name != "result":
            values[name] = checked(name, value, field.read)
    for name in required:
        if name not in values:
            raise InvalidRequest("invalid_field", f"{name} is missing: {known[name].meaning}", name)
    return values


class _ResultOnly(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"null")


_decode_result = msgspec.json.Decoder(_ResultOnly).decode
_decode_results = msgspec.json.Decoder(list[_ResultOnly]).decode
