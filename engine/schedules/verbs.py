"""What can be asked of the schedules."""

from __future__ import annotations

from enum import StrEnum


class ScheduleVerb(StrEnum):
    """What is asked of the schedules."""

    LIST = "list"
    FIND = "find"
    PUT = "put"
    DELETE = "delete"
    PAUSE = "pause"
    RESUME = "resume"
    RUN = "run"
    FIRES = "fires"
    PREVIEW = "preview"
    BACKFILL = "backfill"
