"""A table with several figures per row, as text (Markdown, so that it can be pasted) and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells are formatted text. `note`: printed below the table, to explain it."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def text(self) -> str:
        """The table as aligned Markdown; all columns but the first are numbers, aligned to the right."""
        widths = [max(len(row[index]) for row in [self.columns, *self.rows]) for index in range(len(self.columns))]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [_line(row, widths) for row in [self.columns, rule, *self.rows]]
        return "\n".join(["", f"{self.title}:", "", *lines, *(["", self.note] if self.note else [])])

    def as_json(self) -> dict[str, object]:
        """The table for programs."""
        return {"title": self.title, "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows], "note": self.note}


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return f"| {' | '.join([cells[0].ljust(widths[0]), *others])} |"
