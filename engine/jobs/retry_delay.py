"""How long a failed job waits before its next attempt."""

from __future__ import annotations

from datetime import timedelta

from jobyard.engine.jobs.job import at_least


def retry_delay(
    retry_count: int, *, retry_base_s: float, retry_max_s: float | None = None, wish_s: float | None = None
) -> timedelta:  # fmt: skip
    """Retry n is delayed by n² × base, at most by the maximum; or by what the attempt asked for (`Retry`)."""
    if wish_s is not None:
        return at_least(wish_s)
    usual_s = retry_count**2 * retry_base_s
    return at_least(usual_s if retry_max_s is None else min(usual_s, retry_max_s))
