"""The kind of an error: what errors of one cause have in common, so that failures can be grouped and filtered by it."""

from __future__ import annotations

import re

MAX_KIND_CHARS = 200
NOTHING_LEFT = "…"
"""The kind of an error that is only a number."""
_LONGEST_LINE = 2_000
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_VARYING = re.compile(
    rf"{_UUID}|0[xX][0-9a-fA-F]+"
    r"|(?<![A-Za-z0-9])[+-]?[0-9]+(?:[.,:][0-9]+)*(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9])"
    r"|(?<![A-Za-z0-9])(?:[0-9a-fA-F]{8,}|(?=[a-fA-F]*[0-9])[0-9a-fA-F]+)(?![A-Za-z0-9])"
    r"|[0-9]+(?:[.,:][0-9]+)*"
)
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]+")


def kind_of(error: str | None) -> str | None:
    """The error's first line without numbers and hexadecimal digits; None without an error. The kind of a kind is itself."""
    if error is None:
        return None
    line = error.strip().split("\n", 1)[0][:_LONGEST_LINE]
    kind = _SPACE.sub(" ", _VARYING.sub("", line)).strip()
    while (rest := _SPACE.sub(" ", _VARYING.sub("", kind[:MAX_KIND_CHARS])).strip()) != kind:
        kind = rest
    return kind or NOTHING_LEFT
