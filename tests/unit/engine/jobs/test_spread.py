"""Due times that are spread evenly, over several steps of one call."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest

from jobyard.engine.jobs.spread import Spread, read_cursor
from tests.support.world import START

SECOND = timedelta(seconds=1)


def test_a_known_number_of_jobs_is_spread_in_equal_steps() -> None:
    spread = Spread(begin=START, spread_ms=10_000, jobs=5)

    assert [spread.due_at(number) - START for number in range(5)] == [SECOND * n for n in (0, 2, 4, 6, 8)]


@pytest.mark.parametrize("count", [2, 7, 100, 1000])
def test_an_unknown_number_of_jobs_is_spread_nearly_evenly(count: int) -> None:
    spread = Spread(begin=START, spread_ms=3_600_000, jobs=0)

    due = sorted([*((spread.due_at(number) - START).total_seconds() for number in range(count)), 3600.0])

    assert 0 <= due[0] and max(later - earlier for earlier, later in pairwise(due)) <= 2.7 * 3600 / count


def test_more_jobs_than_were_counted_stay_within_the_time() -> None:
    spread = Spread(begin=START, spread_ms=10_000, jobs=3)

    assert all(START <= spread.due_at(number) <= START + 10 * SECOND for number in range(50))


def test_the_cursor_carries_the_spread_and_the_stores_own_cursor() -> None:
    spread = Spread(begin=START, spread_ms=10_000, jobs=5, done=2)

    assert read_cursor(spread.cursor("1767492260123-7")) == (spread, "1767492260123-7")
    assert spread.cursor(None) is None


@pytest.mark.parametrize("cursor", [None, "", "1767492260123-7", "~1-2-3~x", "~-1-2-3-4~x", "~1-2-3-4~"])
def test_any_other_cursor_is_the_stores(cursor: str | None) -> None:
    assert read_cursor(cursor) == (None, cursor)


def test_a_made_up_cursor_does_no_harm() -> None:
    spread, _ = read_cursor(f"~{'9' * 15}-{'9' * 8}-{'9' * 12}-{'9' * 12}~x")

    assert spread is not None and spread.spread_ms == 86_400_000 and spread.due_at(spread.done) >= spread.begin
