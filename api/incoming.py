"""A request as its bytes come in: whether a thread can go on with it without having to wait for its client.

Nothing is judged here. What is no request for sure, and what cannot be waited for, is ready at once: gunicorn says what is wrong
with it, or reads the rest.
"""

from __future__ import annotations

import re

AHEAD_BYTES = 1 << 16
"""So much of a request is waited for without a thread; of a longer one the rest is waited for by its thread."""

_FIRST_LINE = re.compile(rb"[!-~]+ [!-~]+ HTTP/1\.[01]\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*(?=\r\n)", re.IGNORECASE)
_CANNOT_WAIT = re.compile(rb"\r\n(?:expect|transfer-encoding):", re.IGNORECASE)


class Incoming:
    """One request; perhaps the beginning of the next behind it."""

    def __init__(self, *, most_body_bytes: int) -> None:
        """A longer body is refused, so it need not be waited for."""
        self._most_body_bytes = most_body_bytes
        self._data = b""
        self._wanted: int | None = None

    @property
    def data(self) -> bytes:
        """All that has come."""
        return self._data

    def add(self, data: bytes) -> bool:
        """More has come; whether it is ready."""
        self._data = self._data + data if self._data else data
        if self._wanted is None:
            self._wanted = self._find_end()
        return len(self._data) >= (AHEAD_BYTES if self._wanted is None else self._wanted)

    def _find_end(self) -> int | None:
        """How many bytes to wait for; None while its head does not say."""
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return 0 if b"\n" in self._data and not _FIRST_LINE.match(self._data) else None
        lengths = _LENGTH.findall(self._data, 0, end + 2)
        if len(lengths) != 1 or _CANNOT_WAIT.search(self._data, 0, end + 2):
            return 0
        length = int(lengths[0])
        return min(end + 4 + length, AHEAD_BYTES) if length <= self._most_body_bytes else 0
