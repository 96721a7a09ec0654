"""The fields of a new job that concern other jobs: `ref`, `after`, `run_if` and `group`.

A text in `after` is a ref of the same batch, or else a job's id; whether such a job is stored is looked at when the request is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from jobyard.engine.errors import InvalidRequest
from jobyard.engine.jobs.job import Dependency, Job
from jobyard.engine.jobs.strict_json import shown

MAX_REF_CHARS = 64
MAX_AFTER = 1_000
MAX_EDGES = 10_000
"""Of all jobs of one request together."""
GROUP_PATTERN = r"[A-Za-z0-9_.:-]{1,128}"
GROUP_WORDS = "1 to 128 of the characters A-Z a-z 0-9 _ . : -"
COMPLETED, ENDED, FAILED = RUN_IF = ("completed", "ended", "failed")
AFTER_SCHEMA = {
    "type": ["array", "null"], "maxItems": MAX_AFTER,
    "items": {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {
                "type": "object", "required": ["group"], "additionalProperties": False,
                "properties": {"group": {"type": "string", "pattern": f"^{GROUP_PATTERN}$"}},
            },
        ]
    },
}  # fmt: skip


def read_ref(value: object) -> str | None:
    """The name of a job within its batch."""
    if value is not None and not (isinstance(value, str) and 1 <= len(value) <= MAX_REF_CHARS):
        raise ValueError(f"a string of 1 to {MAX_REF_CHARS} characters")
    return value


def read_group(value: object) -> str | None:
    """A group's name; raises `ValueError` with what would be valid."""
    if value is not None and not (isinstance(value, str) and re.fullmatch(GROUP_PATTERN, value)):
        raise ValueError(GROUP_WORDS)
    return value


def read_run_if(value: object) -> str | None:
    """What must have become of the jobs that are waited for."""
    if value is not None and value not in RUN_IF:
        raise ValueError(f"one of {', '.join(RUN_IF)}")
    return None if value is None else str(value)


def read_after(value: object) -> tuple[Dependency, ...] | None:
    """What a job waits for, as asked: every text stands in `job_id`; see `linked`."""
    if value is None or value == []:
        return None
    if not isinstance(value, list) or len(value) > MAX_AFTER:
        raise ValueError(f'an array of at most {MAX_AFTER} job ids, refs of the same batch and {{"group": "name"}}')
    read = tuple(map(_read_one, value))
    _refuse_twice(read)
    return read


def _read_one(value: object) -> Dependency:
    if isinstance(value, str) and value:
        return Dependency(job_id=value)
    if isinstance(value, dict) and list(value) == ["group"] and isinstance(value["group"], str):
        return Dependency(group=read_group(value["group"]))
    raise ValueError(f'an array of job ids, refs of the same batch and {{"group": "name"}}; {shown(value)} is none of them')


def _refuse_twice(after: Sequence[Dependency]) -> None:
    if len(set(after)) < len(after):
        twice = next(one for number, one in enumerate(after) if one in after[:number])
        raise ValueError(f"an array that names each dependency once; {shown(twice.group or twice.job_id)} stands in it twice")


def check_single(job: Job) -> None:
    """A job that is submitted alone has no ref; raises `InvalidRequest`."""
    if job.ref is not None:
        raise InvalidRequest("invalid_field", "ref is for a job of a batch; a job that is submitted alone has none", "ref")


def linked(jobs: list[Job]) -> list[Job]:
    """The jobs of a batch with their refs resolved; raises `InvalidRequest`."""
    if not any(job.after or job.ref for job in jobs):
        return jobs
    edges = sum(len(job.after or ()) for job in jobs)
    if edges > MAX_EDGES:
        told = f'{edges} dependencies in one request; at most {MAX_EDGES}: give the jobs a group, and wait for {{"group": "name"}}'
        raise InvalidRequest("too_many_edges", told, "jobs")
    by_ref: dict[str, str] = {}
    for index, job in enumerate(jobs):
        if job.ref is not None and by_ref.setdefault(job.ref, job.job_id) != job.job_id:
            told = f"jobs[{index}]: ref must be unique in its batch, and {shown(job.ref)} is the ref of an earlier job"
            raise InvalidRequest("invalid_field", told, f"jobs[{index}].ref")
    return [job if job.after is None else _linked(job, by_ref) for job in jobs]


def _linked(job: Job, by_ref: dict[str, str]) -> Job:
    after = tuple(
        Dependency(job_id=by_ref[one.job_id], ref=one.job_id) if one.job_id in by_ref else one for one in job.after or ()
    )  # fmt: skip
    return msgspec.structs.replace(job, after=after)
