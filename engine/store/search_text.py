"""Text search in payloads and errors, identical in all stores.

A payload is stored as the JSON text that was sent, so the search also covers the JSON spellings of the text: `é` may be written
`\\u00e9`.
"""

from __future__ import annotations

import functools
import json

from jobyard.engine.jobs.job import Job, JobFilter


@functools.lru_cache(maxsize=64)
def spellings(text: str) -> tuple[str, ...]:
    """The text itself and its possible spellings in JSON."""
    cases = (text,) if text.isascii() else (text, text.lower(), text.upper())
    escaped = (json.dumps(case)[1:-1] for case in cases)
    return tuple(dict.fromkeys((text, json.dumps(text, ensure_ascii=False)[1:-1], *escaped)))


class Finder:
    """Searches payload and error for one text, ignoring case."""

    def __init__(self, text: str) -> None:
        self._text = text.lower()
        self._spellings = [spelling.lower() for spelling in spellings(text)]
        self._in_bytes = [spelling.encode() for spelling in self._spellings] if text.isascii() else []

    def finds(self, payload: bytes, error: str | None) -> bool:
        """Whether either contains the text; a search for ASCII text decodes nothing."""
        if self._in_bytes:
            small = payload.lower()
            is_there = any(spelling in small for spelling in self._in_bytes)
        else:
            text = payload.decode().lower()
            is_there = any(spelling in text for spelling in self._spellings)
        return is_there or (error is not None and self._text in error.lower())


def is_wanted(job: Job, wanted: JobFilter) -> bool:
    """Whether a job matches the filter; for stores without an index."""
    return (
        wanted.status in (None, job.status)
        and wanted.task in (None, job.task)
        and wanted.queue in (None, job.queue)
        and wanted.unique_key in (None, job.unique_key)
        and wanted.schedule in (None, job.schedule)
        and (wanted.created_after is None or job.created_at >= wanted.created_after)
        and (wanted.created_before is None or job.created_at < wanted.created_before)
        and (wanted.text is None or Finder(wanted.text).finds(job.payload, job.error))
    )
