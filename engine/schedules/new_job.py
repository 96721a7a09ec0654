"""Makes the job that a schedule asks for, with the defaults that its task has at that time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import msgspec

from jobyard.engine.errors import JobyardError
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.submission import Defaults, TaskDefaults, make_job
from jobyard.engine.schedules.schedule import Schedule


def scheduled_job(schedule: Schedule, *, job_id: str, now: datetime, defaults: Defaults) -> Job:
    """The job, due now. A task that nobody has any more makes one, too; `why` says that no worker serves it."""
    of_task = defaults.tasks.get(_task(schedule), TaskDefaults())
    try:
        job = _make(schedule, job_id, now, defaults, of_task)
    except JobyardError:  # what the task declared after the schedule was stored does not fit: its unique key, or its tags
        job = _make(schedule, job_id, now, defaults, replace(of_task, unique=None, tags=()))
    return msgspec.structs.replace(job, schedule=schedule.name)


def shown_job(schedule: Schedule, defaults: Defaults) -> dict[str, object]:
    """The job's fields as clients see them: what was given, and the defaults that hold now."""
    of_task = defaults.tasks.get(_task(schedule), TaskDefaults())
    filled: dict[str, object] = {
        "task": "echo", "payload": msgspec.Raw(schedule.asked.payload.encode()), "queue": "default", "priority": 5,
        "max_retries": defaults.max_retries if of_task.max_retries is None else of_task.max_retries,
        "timeout_s": defaults.timeout_s if of_task.timeout_s is None else of_task.timeout_s, "unique": None,
    }  # fmt: skip
    tags = {*map(str, schedule.asked.job.get("tags") or ()), *of_task.tags}
    return filled | schedule.asked.job | ({"tags": sorted(tags)} if tags else {})


def _make(schedule: Schedule, job_id: str, now: datetime, defaults: Defaults, of_task: TaskDefaults) -> Job:
    tasks = {_task(schedule): of_task}
    enough = Defaults(max_retries=defaults.max_retries, timeout_s=defaults.timeout_s, tasks=tasks)
    return make_job(schedule.asked.job, schedule.asked.payload.encode(), job_id=job_id, now=now, defaults=enough)


def _task(schedule: Schedule) -> str:
    return str(schedule.asked.job.get("task", "echo"))
