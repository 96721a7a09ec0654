"""Numbers in sentences."""

from __future__ import annotations

from jobyard.engine.words import counted


def test_one_is_singular_and_any_other_number_plural() -> None:
    assert [counted(number, "job") for number in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]
    assert [counted(number, "job is", "jobs are") for number in (1, 1000)] == ["1 job is", "1000 jobs are"]
