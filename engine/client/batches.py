"""New jobs as JSON, and many of them cut into requests: so many jobs at most, so many bytes at most, a key for every job.

The key makes a job's submission repeatable. The keys of one call differ in the job's place only, so that the same jobs with the
same first part of the key can be submitted again from the beginning: those that are stored already are not stored twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobyard.engine.errors import InvalidRequest, JobyardError

MAX_JOBS = 10_000
MAX_BYTES = 8 << 20
"""Half of what the server takes, because one job may add a whole payload to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One request's worth. `first`: the place of its first job among all."""

    first: int
    key: str
    jobs: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """What is sent."""
        return b'{"jobs":[' + b",".join(self.jobs) + b"]}"


class Chunker:
    """Takes job after job and hands out each chunk when it is full; `rest` is the last one."""

    def __init__(self, count: int, key: str) -> None:
        if not 1 <= count <= MAX_JOBS:
            raise ValueError(f"chunk must be from 1 to {MAX_JOBS}, not {count!r}")
        self._count = count
        self._key = key
        self._first = 0
        self._jobs: list[bytes] = []
        self._bytes = 0

    def add(self, job: Mapping[str, Any]) -> Chunk | None:
        """The chunk that is full now."""
        place = self._first + len(self._jobs)
        try:
            text = encode_job({"idempotency_key": f"{self._key}-{place}", **given(job)})
        except InvalidRequest as wrong:
            raise remark(wrong, stored=self._first, key=self._key, place=place) from None
        self._jobs.append(text)
        self._bytes += len(text)
        return self.rest() if len(self._jobs) == self._count or self._bytes >= MAX_BYTES else None

    def rest(self) -> Chunk | None:
        """What has gathered."""
        if not self._jobs:
            return None
        chunk = Chunk(first=self._first, key=self._key, jobs=tuple(self._jobs))
        self._first += len(self._jobs)
        self._jobs, self._bytes = [], 0
        return chunk


def remark(wrong: JobyardError, *, stored: int, key: str, place: int | None = None) -> JobyardError:
    """The error with a note on how to go on after it; `place`: of the job that it is about."""
    if place is not None:
        field = f"jobs[{place}]" + (f".{wrong.field}" if wrong.field else "")
        wrong = type(wrong)(wrong.code, f"jobs[{place}]: {wrong.message}", field)
    if stored:
        wrong.add_note(f"{stored} jobs before are stored; with the same jobs and idempotency_key={key!r} none is stored twice")
    return wrong


def given(job: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are given: an option that is None is not."""
    return {name: value for name, value in job.items() if value is not None or name == "payload"}


def encode_job(fields: Mapping[str, Any]) -> bytes:
    """The text that is sent; raises `InvalidRequest` for what is no JSON."""
    plain = {name: _plain(name, value) for name, value in fields.items()}
    try:
        return json.dumps(plain, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as wrong:
        raise InvalidRequest("invalid_json", f"the job cannot be sent as JSON: {wrong}", "payload") from None


def _plain(name: str, value: Any) -> Any:
    if name == "task":
        return getattr(value, "name", value)
    if name != "scheduled_at" or not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise InvalidRequest("invalid_field", f"scheduled_at must be a datetime with a time zone, not {value!r}", "scheduled_at")
    return value.isoformat()
