"""The table for people and the JSON file for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.figures import Figure
from tests.bench.table import Table

FORMAT = 1
ROW = "{name:<34}{value:>12} {unit:<8}{goal:>10}  {words}"


def head() -> str:
    """The table's first line."""
    return ROW.format(name="figure", value="value", unit="unit", goal="goal", words="")


def row(figure: Figure) -> str:
    """One line of the table."""
    kind = figure.kind
    sign = "≥" if kind.higher_is_better else "≤"
    missed = kind.is_met_by(figure.value) is False
    words = ", ".join(filter(None, ["MISSED" if missed else "", figure.note]))
    return ROW.format(
        name=kind.name, value=digits(figure.value), unit=kind.unit,
        goal="" if kind.goal is None else f"{sign} {digits(kind.goal)}", words=words or kind.meaning,
    ).rstrip()  # fmt: skip


def as_text(measured: Figure | Table) -> str:
    """A figure or a table as readable text."""
    return row(measured) if isinstance(measured, Figure) else measured.text()


def digits(value: float) -> str:
    """The value with three significant digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def write_json(path: Path, measured: Sequence[Figure | Table], *, options: dict[str, object]) -> None:
    """Write all figures and tables, with the machine and the options."""
    whole = {
        "format": FORMAT, "measured_at": datetime.now(UTC).isoformat(timespec="seconds"), "options": options,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()},
        "figures": {figure.kind.name: _as_json(figure) for figure in measured if isinstance(figure, Figure)},
        "tables": {table.name: table.as_json() for table in measured if isinstance(table, Table)},
    }  # fmt: skip
    path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def _as_json(figure: Figure) -> dict[str, object]:
    kind = figure.kind
    return {
        "value": round(figure.value, 4), "unit": kind.unit, "goal": kind.goal,
        "better": "higher" if kind.higher_is_better else "lower", "met": kind.is_met_by(figure.value), "note": figure.note,
    }  # fmt: skip
