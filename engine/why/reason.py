"""A reason why a job is not running, as clients get it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Code(StrEnum):
    """The reason codes."""

    DATABASE_UNAVAILABLE = "database_unavailable"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    CANCEL_REQUESTED = "cancel_requested"
    RUNNING = "running"
    HOST_SILENT = "host_silent"
    RETRY_WAIT = "retry_wait"
    SCHEDULED = "scheduled"
    TASK_NOT_SERVED = "task_not_served"
    QUEUE_NOT_SERVED = "queue_not_served"
    NO_WATCHER = "no_watcher"
    NO_QUEUE = "no_queue"
    NO_WORKER = "no_worker"
    NO_TEMPLATE = "no_template"
    NO_HTTP_WORKER = "no_http_worker"
    BLOCKED = "blocked"
    PAUSED = "paused"
    HELD = "held"
    LIMIT_FULL = "limit_full"
    RATE_LIMITED = "rate_limited"
    LAST_CHANCE = "last_chance"
    JOBS_AHEAD = "jobs_ahead"
    SLOTS_BUSY = "slots_busy"
    ABOUT_TO_START = "about_to_start"


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """One reason in words; `facts` are the numbers and names behind it."""

    code: Code
    message: str
    facts: dict[str, object] = {}
