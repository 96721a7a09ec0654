"""Times, tables and output as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobyard.api.commands.logs import fresh
from jobyard.api.commands.show import table
from jobyard.api.commands.times import relative, span, when

NOW = datetime(2026, 1, 4, 2, 4, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (4.24, "4.2 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min 59 s"), (7500, "2 h 5 min"), (259200, "3 d")],
)
def test_a_span_has_two_units_at_most(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "now"), (-0.9, "now"), (10800, "in 3 h"), (-300, "5 min ago")])
def test_a_time_within_a_second_is_now(seconds: float, words: str) -> None:
    assert relative(seconds) == words


def test_a_time_of_another_day_has_its_date() -> None:
    assert when("2026-01-04T02:04:10.000Z", NOW) == "02:04:10 (10 s ago)"
    assert when((NOW + timedelta(days=2)).isoformat(), NOW) == "2026-01-06 02:04:20 (in 2 d)"
    assert when(None, NOW) == ""


def test_columns_are_aligned_whatever_their_colour() -> None:
    lines = table(("A", "N", "REST"), [("\x1b[32mlong\x1b[0m", 5, "x"), ("b", 10, "y")], right=("N",)).splitlines()

    assert lines[1:] == ["\x1b[32mlong\x1b[0m   5  x", "b     10  y"]


@pytest.mark.parametrize(
    ("known", "output", "new"),
    [("", "a", "a"), ("a", "a", ""), ("ab", "abc", "c"), ("x" * 300 + "end", "x" * 250 + "end, more", ", more"),
     ("ab", "zz", "zz")],
)  # fmt: skip
def test_only_new_output_is_printed_even_when_the_beginning_is_gone(known: str, output: str, new: str) -> None:
    assert fresh(known, output) == new
