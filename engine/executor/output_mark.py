"""The mark that an executor writes between the outputs of two attempts; its worker reads it."""

from __future__ import annotations


def mark_of(job_id: str, attempt: int) -> bytes:
    """The mark; what is printed after it belongs to this attempt."""
    return b"\0\x1e%s:%d\n" % (job_id.encode(), attempt)
