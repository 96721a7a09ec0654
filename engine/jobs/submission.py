"""THE fields of a new job: one table, from which parsing, error messages and the OpenAPI document all come.

`parse` reads a request body as received and returns the jobs, or reports the first invalid field and, in a batch, the index of
its job. The payload is checked but kept byte for byte: what is stored is what was sent.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobyard.engine.errors import InvalidRequest, TooLarge
from jobyard.engine.jobs import strict_json
from jobyard.engine.jobs.dependency_fields import (
    AFTER_SCHEMA,
    COMPLETED,
    GROUP_PATTERN,
    MAX_REF_CHARS,
    RUN_IF,
    check_single,
    linked,
    read_after,
    read_group,
    read_ref,
    read_run_if,
)
from jobyard.engine.jobs.expiry import expiry
from jobyard.engine.jobs.fields import Field, number, whole
from jobyard.engine.jobs.idempotency import digest_of
from jobyard.engine.jobs.job import Job, at_least
from jobyard.engine.jobs.limit_field import SCHEMA as LIMIT_SCHEMA
from jobyard.engine.jobs.limit_field import read_limit
from jobyard.engine.jobs.named_limits import limits_of
from jobyard.engine.jobs.request_fields import checked, object_of, unknown_field
from jobyard.engine.jobs.strict_json import MAX_DEPTH, shown
from jobyard.engine.jobs.submission_body import MAX_BATCH, located, payload_in, read_batch, read_ndjson
from jobyard.engine.jobs.tags import SCHEMA as TAGS_SCHEMA
from jobyard.engine.jobs.tags import joined, read_tags
from jobyard.engine.jobs.times import read_time
from jobyard.engine.jobs.unique import from_template, full_key, how_of, window_end
from jobyard.engine.jobs.unique_field import REPLACE, Asked, read_unique
from jobyard.engine.jobs.unique_field import SCHEMA as UNIQUE_SCHEMA
from jobyard.engine.world import later_id

MAX_PAYLOAD_BYTES = 1 << 20
MAX_DELAY_S = 315_360_000
PRIORITIES = {"low": 1, "normal": 5, "high": 9}
OF_HOOKS = "webhook"
"""The task whose jobs only hooks make."""

QUEUE_PATTERN = r"[A-Za-z0-9_.-]{1,64}"
NULLABLE = ("expires_s", "limit", "ref", "after", "run_if", "group")
"""Fields that may be sent as null, which means left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """A job's values where neither the request nor its task gives any. `tasks`: the registered tasks with their own defaults.

    `has_limit`: whether there is a limit of that name.
    """

    max_retries: int
    timeout_s: float
    tasks: Mapping[str, TaskDefaults]
    has_limit: Callable[[str], bool] = lambda name: True


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefaults:
    """The defaults that `@task` gives; None: the setting applies, or the field's own default.

    `unique`, `limit`: as in a submission, with fields of the payload.
    """

    max_retries: int | None = None
    timeout_s: float | None = None
    queue: str | None = None
    priority: int | None = None
    expires_s: float | None = None
    unique: Asked | None = None
    limit: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()


def _maybe(check: Callable[[object], object]) -> Callable[[object], object]:
    """Null means that the field is left out."""
    return lambda value: None if value is None else check(value)


def _text(words: str, pattern: str) -> Callable[[object], str]:
    compiled = re.compile(pattern, re.DOTALL)

    def check(value: object) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise ValueError(words)
        return value

    return check


def _priority(value: object) -> int:
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    return whole(0, 9)(value)


FIELDS: Mapping[str, Field] = {
    field.name: field
    for field in (
        Field(
            name="payload", schema={}, read=lambda value: value,
            meaning="the task's input: any JSON, at most 1 MiB and 100 levels deep, integers within 64 bits; returned as sent",
        ),
        Field(
            name="task", schema={"type": "string", "minLength": 1, "default": "echo"}, meaning="name of a registered task",
            read=_text("the name of a task", r".+"),
        ),
        Field(
            name="queue", schema={"type": "string", "pattern": f"^{QUEUE_PATTERN}$", "default": "default"},
            meaning="a label to filter by; default: the task's, otherwise `default`",
            read=_text("1 to 64 of the characters A-Z a-z 0-9 _ . -", QUEUE_PATTERN),
        ),
        Field(
            name="priority", read=_priority, meaning="9 runs first; low is 1, normal 5, high 9; default: the task's, otherwise 5",
            schema={
                "default": 5,
                "anyOf": [{"type": "integer", "minimum": 0, "maximum": 9}, {"type": "string", "enum": list(PRIORITIES)}],
            },
        ),
        Field(
            name="scheduled_at", schema={"type": "string", "format": "date-time"}, read=read_time,
            meaning="earliest start; a time in the past means now; cannot be combined with delay_s",
        ),
        Field(
            name="delay_s", schema={"type": "number", "minimum": 0, "maximum": MAX_DELAY_S, "default": 0},
            meaning="earliest start, in seconds from now; cannot be combined with scheduled_at",
            read=number(f"a number from 0 to {MAX_DELAY_S}", lambda value: 0 <= value <= MAX_DELAY_S),
        ),
        Field(
            name="max_retries", schema={"type": "integer", "minimum": 0, "maximum": 100}, read=whole(0, 100),
            meaning="how many times a failed job is retried; default: the task's, otherwise MAX_RETRIES",
        ),
        Field(
            name="timeout_s", schema={"type": "number", "exclusiveMinimum": 0, "maximum": 604800},
            meaning="how long one attempt may run; default: the task's, otherwise JOB_TIMEOUT_S",
            read=number("a number above 0, at most 604800", lambda value: 0 < value <= 604800),
        ),
        Field(
            name="expires_s", schema={"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": MAX_DELAY_S},
            meaning="cancel the job if it has not begun so many seconds after scheduled_at; default: the task's, otherwise never",
            read=_maybe(number(f"a number above 0, at most {MAX_DELAY_S}", lambda value: 0 < value <= MAX_DELAY_S)),
        ),
        Field(
            name="idempotency_key", schema={"type": "string", "minLength": 1, "maxLength": 255},
            meaning="a second request with the same key and body stores nothing and returns the first job's id",
            read=_text("a string of 1 to 255 characters", r".{1,255}"),
        ),
        Field(
            name="unique", schema=UNIQUE_SCHEMA, read=read_unique,
            meaning="at most one living job has a key: true (the payload is the key), a key, or an object; default: the task's; "
            "false or null: none",
        ),
        Field(
            name="limit", schema=LIMIT_SCHEMA, read=read_limit,
            meaning="the limit that the job is under, or a list of two, each with a partition if it has any; default: the task's",
        ),
        Field(
            name="ref", schema={"type": ["string", "null"], "minLength": 1, "maxLength": MAX_REF_CHARS}, read=read_ref,
            meaning="in a batch only: a name that the batch's other jobs may use in after; unique in it",
        ),
        Field(
            name="after", schema=AFTER_SCHEMA, read=read_after,
            meaning="what must have ended before the job begins: job ids, refs of the same batch, and groups",
        ),
        Field(
            name="run_if", schema={"anyOf": [{"type": "string", "enum": list(RUN_IF)}, {"type": "null"}]}, read=read_run_if,
            meaning="with after: completed (default): all of them completed, else the job is cancelled at once; ended: whatever "
            "became of them; failed: at least one failed or was cancelled, else the job is cancelled",
        ),
        Field(
            name="group", schema={"type": ["string", "null"], "pattern": f"^{GROUP_PATTERN}$"}, read=read_group,
            meaning="a name that jobs share, to be waited for, listed, counted, cancelled and retried together",
        ),
        Field(
            name="tags", schema=TAGS_SCHEMA, read=read_tags,
            meaning="names to find and change the job by; stored sorted, each once; those of the task are added",
        ),
    )
}  # fmt: skip


def parse(
    form: str, body: bytes, *, first_id: str, idempotency_key: str | None, now: datetime, defaults: Defaults
) -> list[Job]:  # fmt: skip
    """The jobs that a request submits; raises `InvalidRequest` or `TooLarge`. `form`: `job`, `batch` or `ndjson`.

    Garbage collection is off meanwhile: JSON values contain no cycles, and scanning millions of new lists takes ten times as long
    as creating them.
    """
    looks_for_garbage = gc.isenabled()
    gc.disable()
    try:
        return _parse(form, body, first_id=first_id, idempotency_key=idempotency_key, now=now, defaults=defaults)
    finally:
        if looks_for_garbage:
            gc.enable()


def _parse(
    form: str, body: bytes, *, first_id: str, idempotency_key: str | None, now: datetime, defaults: Defaults
) -> list[Job]:  # fmt: skip
    if form == "job":
        fields = object_of(strict_json.decode(body))
        _take_header_key(fields, idempotency_key)
        payload = payload_in(body)
        job = _make(fields, payload, first_id, now, defaults)
        check_single(job)
        return [job]
    objects, payloads = read_ndjson(body) if form == "ndjson" else read_batch(body)
    if len(objects) > MAX_BATCH:
        raise InvalidRequest("too_many_jobs", f"a batch holds at most {MAX_BATCH} jobs, not {len(objects)}", "jobs")
    jobs = []
    for index, (asked, payload) in enumerate(zip(objects, payloads, strict=True)):
        try:
            jobs.append(_make(object_of(asked, "a job"), payload, later_id(first_id, index), now, defaults))
        except (InvalidRequest, TooLarge) as wrong:
            raise located(wrong, index) from None
    return linked(jobs)


def _take_header_key(fields: dict[str, object], key: str | None) -> None:
    if key is None:
        return
    if fields.setdefault("idempotency_key", key) != key:
        raise InvalidRequest(
            "invalid_field", "the Idempotency-Key header and the field idempotency_key differ; give one of them", "idempotency_key"
        )


def _make(fields: Mapping[str, object], payload: bytes, job_id: str, now: datetime, defaults: Defaults) -> Job:
    given = {name: value for name, value in fields.items() if value is not None or name not in NULLABLE}
    values: dict[str, Any] = {name: _checked(name, value) for name, value in given.items()}
    check_payload(payload)
    task = str(values.pop("task", "echo"))
    wishes = defaults.tasks.get(task)
    if task == OF_HOOKS:
        raise InvalidRequest("invalid_field", f"only hooks make jobs of the task {OF_HOOKS}: PUT /api/hooks/NAME", "task")
    if wishes is None:
        known = ", ".join(sorted(known for known in defaults.tasks if known != OF_HOOKS))
        raise InvalidRequest("unknown_task", f"task {shown(task)} is not registered; known: {known}", "task")
    of_task = _defaults_of(wishes, defaults)
    digest = digest_of(fields, values | {"task": task}, of_task) if "idempotency_key" in values else None
    if wishes.limit is not None or "limit" in values:
        values["limit"] = limits_of(values.get("limit"), wishes.limit, payload, defaults.has_limit)
    if wishes.unique is not None or "unique" in values:
        values |= _unique(values["unique"] if "unique" in values else _of_task(wishes.unique, payload), task, payload, now)
    values.pop("payload", None)
    _check_waiting(values)
    if wishes.tags:
        values["tags"] = joined(values.get("tags", ()), wishes.tags)
    values = of_task | values
    values["scheduled_at"] = due = _due(values, now)
    if "expires_s" in values:
        values["expires_at"] = values["lapses_at"] = expiry(due, values["expires_s"])
    return Job(job_id=job_id, task=task, payload=payload, created_at=now, updated_at=now, request_digest=digest, **values)


def _defaults_of(wishes: TaskDefaults, defaults: Defaults) -> dict[str, Any]:
    of_task: dict[str, Any] = {
        "max_retries": defaults.max_retries if wishes.max_retries is None else wishes.max_retries,
        "timeout_s": defaults.timeout_s if wishes.timeout_s is None else wishes.timeout_s,
    }
    if wishes.queue is not None:
        of_task["queue"] = wishes.queue
    if wishes.priority is not None:
        of_task["priority"] = wishes.priority
    if wishes.expires_s is not None:
        of_task["expires_s"] = wishes.expires_s
    return of_task


def _of_task(asked: Asked | None, payload: bytes) -> Asked | None:
    if asked is None or asked.key is None:
        return asked
    try:
        return from_template(asked, json.loads(payload))
    except ValueError as wrong:
        raise InvalidRequest("invalid_field", f"payload must be {wrong}", "payload") from None


def _unique(asked: Asked | None, task: str, payload: bytes, now: datetime) -> dict[str, object]:
    if asked is None:
        return {"unique": None}
    key = full_key(task, asked.key, payload)
    how = how_of(asked)
    return {"unique": how, "unique_key": key, "held_key": key, "held_until": window_end(now, how)}


def _check_waiting(values: dict[str, Any]) -> None:
    """Complete what says which jobs are waited for."""
    if values.get("after", ()) is None:
        del values["after"]
    if "after" in values:
        values.setdefault("run_if", COMPLETED)
    elif "run_if" in values:
        raise InvalidRequest("invalid_field", "run_if says how after is meant; without after it must be left out", "run_if")
    how = values.get("unique")
    if how is not None and how.on_conflict == REPLACE and ("after" in values or "group" in values):
        told = 'unique must not have "on_conflict": "replace" in a job that has after or group, whose place no other can take'
        raise InvalidRequest("invalid_field", told, "unique")


def make_job(fields: Mapping[str, object], payload: bytes, *, job_id: str, now: datetime, defaults: Defaults) -> Job:
    """The job that these fields ask for; raises `InvalidRequest` or `TooLarge`. `payload`: its JSON text."""
    return _make(fields, payload, job_id, now, defaults)


def _checked(name: str, value: object) -> object:
    field = FIELDS.get(name)
    if field is None:
        raise unknown_field(name, FIELDS, "a job")
    return checked(name, value, field.read)


def check_payload(payload: bytes) -> None:
    """Raises `TooLarge` or `InvalidRequest` for a payload, as JSON text, that no job may have."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise TooLarge("payload_too_large", f"payload is {len(payload)} bytes long; at most {MAX_PAYLOAD_BYTES}", "payload")
    if strict_json.depth(payload, enough=MAX_DEPTH) > MAX_DEPTH:
        raise InvalidRequest("invalid_field", f"payload may be nested at most {MAX_DEPTH} levels deep", "payload")


def _due(values: dict[str, object], now: datetime) -> datetime:
    scheduled_at, delay_s = values.get("scheduled_at"), values.pop("delay_s", None)
    if scheduled_at is not None and delay_s is not None:
        raise InvalidRequest("invalid_field", "give either scheduled_at or delay_s, not both", "delay_s")
    if isinstance(scheduled_at, datetime):
        return max(scheduled_at, now)
    return now if delay_s is None else now + at_least(float(delay_s))  # type: ignore[arg-type]
