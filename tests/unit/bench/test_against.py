"""The comparison with an earlier commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.against import Side, checkout_of, rows_of

SCRIPT = """#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in --json) file=$2; shift ;; --fail) echo "first" >&2; echo "no port" >&2; exit 1 ;; esac
    shift
done
printf '{"figures": {"single_per_s": {"value": 12.5}}}' > "$file"
"""


def test_ratios_are_of_neighbouring_runs_and_only_of_what_all_have() -> None:
    pairs = [
        ({"single_per_s": 100.0, "stop_s": 1.0, "earliest_ms": 0.0}, {"single_per_s": 150.0, "earliest_ms": 1.0}),
        ({"single_per_s": 200.0, "stop_s": 1.0, "earliest_ms": 0.0}, {"single_per_s": 200.0, "earliest_ms": 2.0}),
        ({"single_per_s": 100.0, "stop_s": 1.0, "earliest_ms": 0.0}, {"single_per_s": 120.0, "earliest_ms": 3.0}),
    ]

    assert rows_of(pairs) == [
        ["earliest_ms", "ms", "0", "2", "–", "–"],
        ["single_per_s", "jobs/s", "100", "150", "1.20", "1.00 to 1.50"],
    ]


def test_a_side_measures_with_its_own_benchmark_and_a_failure_has_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bench").write_text(SCRIPT)
    (tmp_path / "bin" / "bench").chmod(0o755)

    assert Side(tmp_path).measure(["--quick"]) == {"single_per_s": 12.5}
    with pytest.raises(RuntimeError, match="no port$"):
        Side(tmp_path).measure(["--fail"])


def test_an_unknown_commit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no commit 'no-such' in this repository"):
        checkout_of("no-such", tmp_path / "checkout")
