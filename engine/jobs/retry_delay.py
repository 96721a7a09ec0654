"""How long a failed job waits before its next attempt."""

from __future__ import annotations

from datetime import timedelta

from jobyard.engine.jobs.job import at_least


def retry_delay(retry_count: int, *, retry_base_s: float, wish_s: float | None = None) -> timedelta:
    """Retry n is delayed by n² × base, or by what the task asked for."""
    return at_least(retry_count**2 * retry_base_s if wish_s is None else wish_s)
