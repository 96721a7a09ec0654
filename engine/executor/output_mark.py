"""The mark that an executor writes to its output between two attempts; the worker splits the output at it."""

from __future__ import annotations


def mark_of(job_id: str, attempt: int) -> bytes:
    """The mark before the output of this attempt."""
    return b"\0\x1e%s:%d\n" % (job_id.encode(), attempt)
