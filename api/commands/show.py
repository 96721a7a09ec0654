"""The commands' output: JSON for programs, tables and colours for people. Colours are used on terminals only."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from jobyard.engine.jobs.job import Status

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

COLOURS: Mapping[str, str] = {
    Status.COMPLETED: "green", Status.FAILED: "red", Status.CANCELLED: "yellow", Status.RUNNING: "cyan", "success": "green",
    "timeout": "red", "crashed": "red", "lost": "magenta", "healthy": "green", "down": "red",
}  # fmt: skip
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
GAP = "  "
MIN_CHARS = 8


def print_json(value: object) -> None:
    """Print one document on one line, so that a list of them is NDJSON."""
    click.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def progress_bar(length: int, label: str) -> ProgressBar[int]:
    """A progress bar on stderr, so that stdout stays usable; shown on a terminal only."""
    return click.progressbar(length=length, label=label, file=sys.stderr if sys.stderr.isatty() else io.StringIO())


def clean(text: str) -> str:
    """Untrusted text made safe for a terminal: nothing in it can move the cursor or change colours."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def on_one_line(text: str | None) -> str:
    """The first line of the text, made safe."""
    return clean((text or "").strip().partition("\n")[0])


def coloured(word: str) -> str:
    """A status in its colour."""
    colour = COLOURS.get(word)
    return click.style(word, fg=colour) if colour else word


def as_text(value: Any, *, indent: int | None = None) -> str:
    """A payload or a result as JSON, made safe."""
    return clean(json.dumps(value, ensure_ascii=False, indent=indent))


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> str:
    """A table whose columns are as wide as needed; on a terminal the last one is cut to fit."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(_width(cell) for cell in column) for column in zip(headers, *cells, strict=True)]
    screen = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    room = max(MIN_CHARS, screen - sum(widths[:-1]) - len(GAP) * (len(widths) - 1))
    lines = []
    for number, row in enumerate([list(headers), *cells]):
        row[-1] = row[-1] if _width(row[-1]) <= room else row[-1][: room - 1] + "…"
        padded = [_pad(cell, width, head in right) for cell, width, head in zip(row, widths, headers, strict=True)]
        line = GAP.join(padded).rstrip()
        lines.append(click.style(line, bold=True) if number == 0 else line)
    return "\n".join(lines)


def pairs(rows: Iterable[tuple[str, object]]) -> str:
    """Lines of `name  value`, without those that have no value."""
    shown = [(name, value) for name, value in rows if value not in (None, "")]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{click.style(name.ljust(width), bold=True)}{GAP}{value}" for name, value in shown)


def _width(cell: str) -> int:
    return len(ANSI.sub("", cell))


def _pad(cell: str, width: int, is_right: bool) -> str:
    room = " " * (width - _width(cell))
    return room + cell if is_right else cell + room
