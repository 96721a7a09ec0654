"""Text search in payloads and errors, identical in all stores.

A payload is stored as the JSON text that was sent. What is searched is that text with its escapes resolved, so it does not matter
how an encoder wrote it: `é` is found in `\\u00e9`, and `00e9` is not.
"""

from __future__ import annotations

import functools
import json
import re

from jobyard.engine.jobs.error_kind import kind_of
from jobyard.engine.jobs.job import Job, JobFilter

_decode = json.JSONDecoder(strict=False).decode
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "/": "\\/"}


class Finder:
    """Searches payload and error for one text, ignoring case."""

    def __init__(self, text: str) -> None:
        self._text = text.lower()
        self._in_bytes = self._text.encode() if self._text.isascii() else None

    def finds(self, payload: bytes, error: str | None) -> bool:
        """Whether either contains the text. Where possible nothing is decoded: ASCII text in a payload without escapes."""
        if self._in_bytes is not None and b"\\" not in payload:
            is_there = self._in_bytes in payload.lower()
        else:
            is_there = self._text in without_escapes(payload).lower()
        return is_there or (error is not None and self._text in error.lower())


def without_escapes(payload: bytes) -> str:
    r"""JSON text with each escape replaced by its character: `{"a":"\u00e9"}` gives `{"a":"é"}`.

    The whole text is turned into one JSON string, which the decoder resolves much faster than a pattern could.
    """
    text = payload.decode()
    if "\\" not in text:
        return text
    escaped = text.replace("\\\\", "\\u005c").replace('\\"', "\\u0022").replace('"', '\\"')
    found: str = _decode(f'"{escaped}"')
    return found


@functools.lru_cache(maxsize=64)
def pattern(text: str) -> str:
    """A pattern of all JSON spellings of the text, without regard to case. It may match more, such as what follows a backslash."""
    return "".join(_any_spelling(character) for character in text)


def _any_spelling(character: str) -> str:
    spellings = [character, _SHORT_ESCAPES.get(character, character)]
    for case in (character, character.lower(), character.upper()):
        spellings += [case, "".join(f"\\u{ord(unit):04x}" for unit in _utf16(case))]
    return f"(?:{'|'.join(re.escape(spelling) for spelling in dict.fromkeys(spellings))})"


def _utf16(text: str) -> str:
    """The text's UTF-16 code units as characters, which is how JSON escapes characters."""
    units = text.encode("utf-16-be")
    return "".join(chr(high << 8 | low) for high, low in zip(units[::2], units[1::2], strict=True))


def is_wanted(job: Job, wanted: JobFilter) -> bool:
    """Whether a job matches the filter; for stores without an index."""
    return (
        wanted.status in (None, job.status)
        and wanted.task in (None, job.task)
        and wanted.queue in (None, job.queue)
        and wanted.unique_key in (None, job.unique_key)
        and wanted.schedule in (None, job.schedule)
        and wanted.group in (None, job.group)
        and (wanted.tag is None or set(wanted.tag) <= set(job.tags))
        and (wanted.error_kind is None or wanted.error_kind == kind_of(job.error))
        and (wanted.created_after is None or job.created_at >= wanted.created_after)
        and (wanted.created_before is None or job.created_at < wanted.created_before)
        and (wanted.text is None or Finder(wanted.text).finds(job.payload, job.error))
    )
