"""Encodes new jobs as JSON and splits many of them into requests, with limits on jobs and bytes, and a key for every job.

The idempotency key makes a job's submission repeatable. The keys of one call differ only in the job's index, so the same jobs
with the same key prefix can be submitted again from the beginning: jobs that are stored already are not stored twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from jobyard.engine.client.values import Named
from jobyard.engine.errors import InvalidRequest, JobyardError
from jobyard.engine.jobs.json_text import NotJson, to_json_text
from jobyard.engine.jobs.strict_json import MAX_DEPTH
from jobyard.engine.jobs.unsent import UnsentJob

NewBatchJob: TypeAlias = UnsentJob | Mapping[str, Any]
MAX_JOBS = 10_000
MAX_BYTES = 8 << 20
"""Half of what the server accepts, since the last job may add a whole payload to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The jobs of one request. `first`: the index of its first job among all jobs."""

    first: int
    key: str
    jobs: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """The request's body."""
        return b'{"jobs":[' + b",".join(self.jobs) + b"]}"


class Chunker:
    """Collects jobs and returns each chunk when it is full; `rest` returns the last one."""

    def __init__(self, count: int, key: str) -> None:
        if not 1 <= count <= MAX_JOBS:
            raise ValueError(f"chunk must be from 1 to {MAX_JOBS}, not {count!r}")
        self._count = count
        self._key = key
        self._first = 0
        self._jobs: list[bytes] = []
        self._bytes = 0

    def add(self, job: Mapping[str, Any]) -> Chunk | None:
        """Add a job; the chunk if it is full now, else None."""
        index = self._first + len(self._jobs)
        try:
            text = encode_job({"idempotency_key": f"{self._key}-{index}", **without_none(_checked(job))})
        except InvalidRequest as wrong:
            raise with_resume_hint(wrong, stored=self._first, key=self._key, index=index) from None
        self._jobs.append(text)
        self._bytes += len(text)
        return self.rest() if len(self._jobs) == self._count or self._bytes >= MAX_BYTES else None

    def rest(self) -> Chunk | None:
        """The jobs that were added since the last chunk; None if there are none."""
        if not self._jobs:
            return None
        chunk = Chunk(first=self._first, key=self._key, jobs=tuple(self._jobs))
        self._first += len(self._jobs)
        self._jobs, self._bytes = [], 0
        return chunk


def one_chunk(jobs: Iterable[NewBatchJob], key: str) -> Chunk:
    """All jobs in one request, so that they may name one another."""
    encoded = []
    for index, job in enumerate(jobs):
        fields = job.fields if isinstance(job, UnsentJob) else _checked(job)
        try:
            encoded.append(encode_job({"idempotency_key": f"{key}-{index}", **without_none(fields)}))
        except InvalidRequest as wrong:
            raise with_resume_hint(wrong, stored=0, key=key, index=index) from None
    return Chunk(first=0, key=key, jobs=tuple(encoded))


def with_resume_hint(wrong: JobyardError, *, stored: int, key: str, index: int | None = None) -> JobyardError:
    """The error with a note on how to resume after it. `index`: of the job that caused it."""
    if index is not None:
        field = f"jobs[{index}]" + (f".{wrong.field}" if wrong.field else "")
        wrong = type(wrong)(wrong.code, f"jobs[{index}]: {wrong.message}", field)
    if stored:
        first = "the first job is" if stored == 1 else f"the first {stored} jobs are"
        wrong.add_note(f"{first} stored; with the same jobs and idempotency_key={key!r} none is stored twice")
    return wrong


def without_none(job: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were given: None counts as not given, except for the payload."""
    return {name: value for name, value in job.items() if value is not None or name == "payload"}


def fields_of(task: str | Named, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the job that `submit(task, *args, **kwargs)` submits; raises `TypeError` when they do not fit the task."""
    new_job = getattr(task, "new_job", None)
    if new_job is not None:
        return dict(new_job(args, kwargs))
    if len(args) + ("payload" in kwargs) > 1:
        raise TypeError(f"submit() takes one payload, but {len(args) + ('payload' in kwargs)} were given")
    return {"task": task, "payload": args[0] if args else None, **kwargs}


def _checked(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """A job of a batch; the payload fits the task's parameters, where the task is given with them."""
    new_job = getattr(job.get("task"), "new_job", None)
    if new_job is None:
        return job
    options = {name: value for name, value in job.items() if name not in ("task", "payload")}
    return dict(new_job((job.get("payload"),), options))


def encode_job(fields: Mapping[str, Any]) -> bytes:
    """The job as JSON text; raises `InvalidRequest` when it cannot be encoded."""
    plain = {name: _plain(name, value) for name, value in fields.items()}
    try:
        return to_json_text(plain, root="", max_depth=MAX_DEPTH + 1)
    except NotJson as wrong:
        raise InvalidRequest("invalid_json", f"the job cannot be sent as JSON: {str(wrong).lstrip('.:')}", "payload") from None


def _plain(name: str, value: Any) -> Any:
    if name == "task":
        return getattr(value, "name", value)
    if name != "scheduled_at" or not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise InvalidRequest("invalid_field", f"scheduled_at must be a datetime with a time zone, not {value!r}", "scheduled_at")
    return value.isoformat()
