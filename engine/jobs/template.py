"""Texts with fields of the payload in them, such as `customer/{customer_id}`, in what a task's declaration says of its jobs.

`{a}` is a field of the payload, `{a.b}` a field of a field, `{{` and `}}` are braces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from jobyard.engine.jobs.strict_json import shown

_PART = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[^{}]+")


class Template:
    """One text; raises `ValueError` when its braces do not match."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts = list(_parts(text))

    def fill(self, payload: object) -> str:
        """The text with the payload's fields; raises `ValueError` with what the payload must have."""
        return "".join(part if path is None else self._field(path, payload) for part, path in self._parts)

    def _field(self, path: str, payload: object) -> str:
        value = payload
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
            raise ValueError(f"an object whose field {path} is text or an integer, since the task's {shown(self.text)} names it")
        return str(value)


def _parts(text: str) -> Iterator[tuple[str, str | None]]:
    """Each literal part, or each field's path in the second place."""
    place = 0
    while place < len(text):
        found = _PART.match(text, place)
        if found is None:
            raise ValueError(f"{shown(text)} has a lone brace at character {place + 1}; a brace is written {{{{ or }}}}")
        place = found.end()
        if found[1] is not None:
            yield "", found[1]
        else:
            yield found[0][0] if found[0] in ("{{", "}}") else found[0], None
