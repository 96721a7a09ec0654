"""How much waits, against `MAX_PENDING`."""

from __future__ import annotations

from collections.abc import Mapping

from jobyard.engine.errors import Unavailable
from jobyard.engine.jobs.job import Status
from jobyard.engine.words import counted


def waiting_in(counts: Mapping[Status, int]) -> int:
    """How many jobs wait: those that are pending, and those that wait for others."""
    return counts[Status.PENDING] + counts[Status.BLOCKED]


def too_many(waiting: int, limit: int) -> Unavailable:
    """The error where so many wait that no more are taken."""
    words = f"{counted(waiting, 'job is', 'jobs are')} pending or blocked and MAX_PENDING is {limit}"
    return Unavailable("overloaded", words, retry_after_s=5)
