"""Makes the job that a schedule asks for, with the defaults that its task has at that time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import msgspec

from jobyard.engine.errors import JobyardError
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.submission import FIELDS, Defaults, TaskDefaults, make_job
from jobyard.engine.schedules.fire_times import EPOCH
from jobyard.engine.schedules.schedule import Schedule, number

SHOWN = ("queue", "priority", "max_retries", "timeout_s", "expires_s", "limit", "tags")
SECONDS = ("timeout_s", "expires_s")


def scheduled_job(schedule: Schedule, *, job_id: str, now: datetime, defaults: Defaults) -> Job:
    """The job, due now. A task that nobody has any more makes one, too; `why` says that no worker serves it."""
    of_task = defaults.tasks.get(_task(schedule), TaskDefaults())
    try:
        job = _make(schedule, job_id, now, defaults, of_task)
    except JobyardError:  # what the task declared after the schedule was stored does not fit: its unique key, or its tags
        job = _make(schedule, job_id, now, defaults, replace(of_task, unique=None, tags=()))
    return msgspec.structs.replace(job, schedule=schedule.name)


def shown_job(schedule: Schedule, defaults: Defaults) -> dict[str, object]:
    """The job's fields as clients see them, as a PUT takes them: what was given, and the defaults that hold now."""
    job = scheduled_job(schedule, job_id="", now=EPOCH, defaults=defaults)
    filled: dict[str, object] = {"task": job.task, "payload": msgspec.Raw(job.payload)}
    filled |= {name: getattr(job, name) for name in SHOWN if name in FIELDS}
    filled |= {name: number(getattr(job, name)) for name in SECONDS}
    return filled | {"unique": schedule.asked.job["unique"] if "unique" in schedule.asked.job else _shown_unique(job)}


def _shown_unique(job: Job) -> dict[str, object] | None:
    """What the task's declaration makes of this payload."""
    if job.unique is None or job.unique_key is None:
        return None
    key = job.unique_key if job.unique_key.startswith("/") else job.unique_key.partition("/")[2]
    return {
        "key": key, "until": job.unique.until, "for_s": number(job.unique.for_s), "on_conflict": job.unique.on_conflict,
        "at_latest_s": number(job.unique.at_latest_s),
    }  # fmt: skip


def _make(schedule: Schedule, job_id: str, now: datetime, defaults: Defaults, of_task: TaskDefaults) -> Job:
    tasks = {_task(schedule): of_task}
    enough = Defaults(max_retries=defaults.max_retries, timeout_s=defaults.timeout_s, tasks=tasks)
    return make_job(schedule.asked.job, schedule.asked.payload.encode(), job_id=job_id, now=now, defaults=enough)


def _task(schedule: Schedule) -> str:
    return str(schedule.asked.job.get("task", "echo"))
