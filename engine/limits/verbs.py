"""What can be asked of the limits."""

from __future__ import annotations

from enum import StrEnum


class LimitVerb(StrEnum):
    """What is asked of the limits."""

    LIST = "list"
    FIND = "find"
    PUT = "put"
    DELETE = "delete"
    PAUSE = "pause"
    RESUME = "resume"
    HOLD = "hold"
