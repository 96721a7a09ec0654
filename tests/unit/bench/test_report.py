"""What the benchmark shows of what it measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.figures import KINDS, figure
from tests.bench.report import row, shown, write_json
from tests.bench.spread import percentile


def test_a_missed_goal_is_told_whichever_way_is_better() -> None:
    assert "MISSED" in row(figure("single_per_s", 799))
    assert "MISSED" not in row(figure("single_per_s", 800))
    assert "MISSED" in row(figure("latency_p50_ms", 15.1))


def test_json_holds_what_the_table_shows(tmp_path: Path) -> None:
    write_json(tmp_path / "bench.json", [figure("batch_per_s", 9000.5, "a note"), figure("start_s", 1.5)], options={"quick": True})

    told = json.loads((tmp_path / "bench.json").read_text())

    assert told["figures"]["batch_per_s"] == {
        "value": 9000.5, "unit": "jobs/s", "goal": 8000, "better": "higher", "met": True, "note": "a note",
    }  # fmt: skip
    assert told["figures"]["start_s"]["met"] is None
    assert told["options"] == {"quick": True}


@pytest.mark.parametrize(("value", "words"), [(12345.6, "12,346"), (12.34, "12.3"), (1.234, "1.23"), (0.0012, "0.0012"), (0, "0")])
def test_numbers_are_short(value: float, words: str) -> None:
    assert shown(value) == words


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert percentile([3, 1, 2, 4], 50) == 2
    assert percentile([3, 1, 2, 4], 99) == 4


def test_every_kind_has_its_words() -> None:
    assert all(kind.meaning and kind.unit for kind in KINDS.values())
