"""The mark that a child writes between the output of one attempt and that of the next; its worker reads it."""

from __future__ import annotations


def mark_of(job_id: str, attempt: int) -> bytes:
    """What is printed after this is this attempt's."""
    return b"\0\x1e%s:%d\n" % (job_id.encode(), attempt)
