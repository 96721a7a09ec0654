"""A traceback of bounded length that keeps its code lines: a long message is cut before any line that leads to the error.

Standard library only: this runs where users' code lives.
"""

from __future__ import annotations

import re
import traceback
from types import TracebackType

_FRAME = re.compile(r"\n?[ |+-]*(File \"|\[Previous line|(Exception Group )?Traceback \(most|The above exception|During handling)")
"""A frame with its code line, or one of the lines between stacks; all else are messages and notes."""
_SOURCE = "    "
MESSAGE_SHARE = 4
"""Messages and notes get a quarter of the length; the frames get the rest."""


def traceback_text(wrong: BaseException, trace: TracebackType | None, *, max_chars: int) -> str:
    """As Python prints it, beginning at `trace`, at most `max_chars`; of a long one the end."""
    parts = list(traceback.format_exception(type(wrong), wrong, trace))
    text = "".join(parts)
    if len(text) <= max_chars:
        return text
    room = max_chars // MESSAGE_SHARE
    for number in _by_importance(parts):
        parts[number] = _cut(parts[number], min(room, max_chars // MESSAGE_SHARE // 2))
        room -= len(parts[number])
    text = "".join(parts)
    return text if len(text) <= max_chars else "…" + text[-max_chars + 1 :]


def _by_importance(parts: list[str]) -> list[int]:
    """The numbers of the messages: first those behind a stack, from the last exception on, then notes and anything else.

    The line that a SyntaxError shows, and the marks below it, which are as long from Python 3.13 on, come last.
    """
    words = [number for number, part in enumerate(parts) if _FRAME.match(part) is None]
    source = [number for number in words if parts[number].startswith(_SOURCE)]
    ends = [number for number in words if number not in source and number and _FRAME.match(parts[number - 1]) is not None]
    return ends[::-1] + [number for number in words if number not in ends and number not in source] + source


def _cut(words: str, room: int) -> str:
    """The beginning, which names the exception, and that something is missing; nothing if there is no room."""
    return words if len(words) <= room else words[: room - 2] + "…\n" if room > 2 else ""
