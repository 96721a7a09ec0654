"""The benchmark's reports of its results."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.bench.figures import KINDS, figure
from tests.bench.percentiles import moving_percentile, percentile
from tests.bench.report import digits, row, write_json
from tests.bench.table import Table

A_TABLE = Table(
    name="peers", title="Peers", columns=["name", "jobs/s"], rows=[["Huey", "2,955"], ["RQ", "95"]], note="As they are.",
)  # fmt: skip


def test_a_missed_goal_is_marked_in_both_directions() -> None:
    assert "MISSED" in row(figure("single_per_s", 2499))
    assert "MISSED" not in row(figure("single_per_s", 2500))
    assert "MISSED" in row(figure("latency_p50_ms", 4.1))
    assert "MISSED" in row(figure("earliest_ms", -1))


def test_the_json_file_holds_what_the_table_shows(tmp_path: Path) -> None:
    measured = [figure("batch_per_s", 25000.5, "a note"), figure("stop_s", 1.5), A_TABLE]
    write_json(tmp_path / "bench.json", measured, options={"quick": True})

    stored = json.loads((tmp_path / "bench.json").read_text())

    assert stored["figures"]["batch_per_s"] == {
        "value": 25000.5, "unit": "jobs/s", "goal": 25000, "better": "higher", "met": True, "note": "a note",
    }  # fmt: skip
    assert stored["figures"]["stop_s"]["met"] is None
    assert stored["tables"]["peers"]["rows"] == [{"name": "Huey", "jobs/s": "2,955"}, {"name": "RQ", "jobs/s": "95"}]
    assert stored["options"] == {"quick": True}


def test_a_table_is_aligned_markdown() -> None:
    assert A_TABLE.text().splitlines() == [
        "", "Peers:", "", "| name | jobs/s |", "| ---- | -----: |", "| Huey |  2,955 |", "| RQ   |     95 |", "", "As they are.",
    ]  # fmt: skip


@pytest.mark.parametrize(("value", "words"), [(12345.6, "12,346"), (12.34, "12.3"), (1.234, "1.23"), (0.0012, "0.0012"), (0, "0")])
def test_values_have_three_significant_digits(value: float, words: str) -> None:
    assert digits(value) == words


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile([3, 1, 2, 4], 50) == 2
    assert percentile([3, 1, 2, 4], 99) == 4


def test_a_moving_percentile_covers_a_window_around_each_point() -> None:
    points = [(0.0, [1.0]), (1.0, [3.0, 4.0]), (2.0, []), (9.0, [])]

    assert moving_percentile(points, 50, over_s=2)[:3] == [3, 3, 3]
    assert math.isnan(moving_percentile(points, 50, over_s=2)[3])


def test_every_kind_has_a_meaning_and_a_unit() -> None:
    assert all(kind.meaning and kind.unit for kind in KINDS.values())
