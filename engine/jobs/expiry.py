"""When a job expires that does not begin (`expires_s`), and what each change of a job makes of that; see `jobs.lifecycle`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from jobyard.engine.jobs.job import Job, at_least

LAST_TIME = datetime(9999, 12, 31, tzinfo=UTC)


def expiry(scheduled_at: datetime, expires_s: float | None) -> datetime | None:
    """When a job expires that is due at this time, unless it has begun; None: never."""
    if expires_s is None:
        return None
    lasts = at_least(expires_s)
    return scheduled_at + lasts if lasts < LAST_TIME - scheduled_at else LAST_TIME


def never_expiring(job: Job) -> dict[str, Any]:
    """The fields of a change after which the job cannot expire; none for the many jobs that never could."""
    return {} if job.lapses_at is None else {"lapses_at": None}


def expiring_again(job: Job) -> dict[str, Any]:
    """A job that had begun for the first time since it was submitted or retried, and has not after all, may expire again.

    After a begin, every other way back to `pending` moves `scheduled_at`, from which that time counts.
    """
    if job.expires_at is None:
        return {}
    has_not_begun = job.attempt == 1 or job.expires_at == expiry(job.scheduled_at, job.expires_s)
    return {"lapses_at": job.expires_at} if has_not_begun else {}


def expiring_anew(job: Job, now: datetime) -> dict[str, Any]:
    """The fields of a retry on request: its time counts from now on."""
    if job.expires_s is None:
        return {}
    expires_at = expiry(now, job.expires_s)
    return {"expires_at": expires_at, "lapses_at": expires_at}
