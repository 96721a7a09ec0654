"""The schedules that task modules declare: `@task(..., cron=...)` and `schedule(...)` note them, each start stores them.

They are noted as the body of the request that would store them, and checked by the server, in the same words.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

TIMING_OPTIONS = (
    "cron", "every_s", "time_zone", "overlap", "catch_up", "catch_up_max", "jitter_s", "starts_at", "ends_at", "dst_gap",
    "dst_fold",
)  # fmt: skip
JOB_OPTIONS = ("priority", "queue", "max_retries", "timeout_s", "expires_s", "limit", "unique", "tags")
DECLARED: dict[str, dict[str, Any]] = {}
"""By name. A module is executed once in a process, and so are its declarations."""


def schedule(
    name: str, *, task: Any, payload: Any = None, cron: str | None = None, every_s: float | None = None,
    time_zone: str | None = None, overlap: str | None = None, catch_up: str | None = None, catch_up_max: int | None = None,
    jitter_s: float | None = None,
    starts_at: datetime | str | None = None, ends_at: datetime | str | None = None, dst_gap: str | None = None,
    dst_fold: str | None = None, priority: int | str | None = None, queue: str | None = None, max_retries: int | None = None,
    timeout_s: float | None = None, expires_s: float | None = None, limit: Any = None,
    unique: bool | str | Mapping[str, Any] | None = None, tags: Any = None,
) -> None:  # fmt: skip
    """Declare a schedule: a job of this task (what `@task` returns, or its name) at each fire time, with this payload.

    The arguments are the fields of a schedule and of its job. Raises `ValueError` when the name is taken.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    _declare(str(given.pop("name")), given)


def declare_for_task(name: str, payload: Any, timing: Mapping[str, Any]) -> None:
    """What `@task` declares: a schedule with the task's name, if it was given `cron` or `every_s`."""
    given = {field: value for field, value in timing.items() if value is not None}
    if "cron" in given or "every_s" in given:
        _declare(name, {**given, "task": name, **({} if payload is None else {"payload": payload})})
    elif given or payload is not None:
        field = next(iter(given), "payload")
        raise ValueError(f"task {name!r} has {field} of a schedule, but neither cron nor every_s")


def _declare(name: str, given: dict[str, Any]) -> None:
    job = {field: given.pop(field) for field in ("payload", *JOB_OPTIONS) if field in given}
    task = given.pop("task")
    body = {field: value.isoformat() if isinstance(value, datetime) else value for field, value in given.items()}
    body["job"] = {"task": getattr(task, "name", task), **job}
    if DECLARED.setdefault(name, body) != body:
        raise ValueError(f"schedule {name!r} is declared twice")
