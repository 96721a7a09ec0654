"""A table of more than one figure a row, as people read it (Markdown, so that it can be pasted) and as JSON has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells are words already; `note` stands below and tells what must be known to read it."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def text(self) -> str:
        """In Markdown, the columns under each other; all but the first are numbers and end at the right."""
        widths = [max(len(row[index]) for row in [self.columns, *self.rows]) for index in range(len(self.columns))]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [_line(row, widths) for row in [self.columns, rule, *self.rows]]
        return "\n".join(["", f"{self.title}:", "", *lines, *(["", self.note] if self.note else [])])

    def as_json(self) -> dict[str, object]:
        """The same for programs."""
        return {"title": self.title, "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows], "note": self.note}


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return f"| {' | '.join([cells[0].ljust(widths[0]), *others])} |"
