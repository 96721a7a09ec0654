"""Spreads and their percentiles; minutes that no clock of the wall can move."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.metrics import (
    BOUNDS_S,
    MINUTES,
    MOST_TASKS,
    OTHER,
    Histogram,
    Minutes,
    Totals,
    all_attempts,
    minute_of,
    together,
)
from jobyard.engine.worker.attempt_metrics import AttemptMetrics
from tests.support.builders import a_job
from tests.support.world import START, FakeWorld


def spread_of(*seconds: float) -> Histogram:
    histogram = Histogram()
    for each in seconds:
        histogram.note(each)
    return histogram


def begun(late_s: float) -> Job:
    return a_job(status=Status.RUNNING, scheduled_at=START - timedelta(seconds=late_s), last_run_at=START)


def test_bounds_rise_and_are_round() -> None:
    assert list(BOUNDS_S) == sorted(set(BOUNDS_S))
    assert (BOUNDS_S[0], BOUNDS_S[6], BOUNDS_S[-1]) == (0.0001, 0.0016, 100_000.0)


def test_a_value_counts_for_the_first_bound_that_is_not_below_it() -> None:
    histogram = spread_of(0.001, 0.0010001, 0, -5, 1e9)

    counted = {bound: count for bound, count in zip((*BOUNDS_S, "beyond"), histogram.counts, strict=True) if count}
    assert counted == {0.0001: 2, 0.001: 1, 0.0016: 1, "beyond": 1}
    assert (histogram.count, histogram.sum_s) == (5, pytest.approx(1e9 + 0.0020001))


def test_percentiles_are_within_a_bucket_of_the_true_ones() -> None:
    histogram = spread_of(*(number / 1000 for number in range(1, 1001)))

    assert histogram.percentile(50) == pytest.approx(0.5, rel=0.05)
    assert histogram.percentile(99) == pytest.approx(0.99, rel=0.05)
    assert Histogram().percentile(50) is None
    assert spread_of(1e9).percentile(50) == BOUNDS_S[-1]


def test_spreads_add_up() -> None:
    assert together([spread_of(0.1), spread_of(0.1, 7)]).counts == spread_of(0.1, 0.1, 7).counts
    assert together([spread_of(0.5), spread_of(0.5, 7)]).sum_s == 8
    assert together([]) == Histogram()


class Counting:
    """Somebody who counts."""

    def __init__(self) -> None:
        self.world = FakeWorld()
        self.counts = {"done": 0}
        self.histogram = Histogram()
        self.minutes = Minutes(self.world, lambda: Totals(counts=self.counts, histograms={"run": self.histogram}))

    def count(self) -> None:
        self.minutes.turn()
        self.counts["done"] += 1
        self.histogram.note(0.5)

    def told(self) -> dict[int, int]:
        """How many by minute; as many as there are measurements."""
        minutes = [minute for minute in (*self.minutes.over(), self.minutes.under_way()) if minute is not None]
        assert all(minute.totals.counts["done"] == minute.totals.histograms["run"].count for minute in minutes)
        return {minute.number - minute_of(self.world): minute.totals.counts["done"] for minute in minutes}


def test_a_minute_has_what_was_counted_in_it() -> None:
    counting = Counting()
    counting.count()
    counting.count()
    counting.world.advance(120)
    counting.count()

    assert counting.told() == {-2: 2, 0: 1}
    assert counting.told() == {-2: 2, 0: 1}


def test_what_is_older_than_an_hour_is_forgotten_and_nothing_grows() -> None:
    counting = Counting()
    for _ in range(3 * MINUTES):
        counting.count()
        counting.world.advance(60)

    assert counting.told() == dict.fromkeys(range(1 - MINUTES, 0), 1)


@pytest.mark.parametrize("hours", [-10_000, -1, 1, 10_000])
def test_a_wall_clock_that_jumps_moves_nothing(hours: int) -> None:
    counting = Counting()
    counting.count()
    counting.world.step_wall_clock(hours * 3600)
    counting.count()
    counting.world.advance(60)

    assert counting.told() == {-1: 2}


def test_a_worker_measures_lag_and_run() -> None:
    attempt_metrics = AttemptMetrics()

    attempt_metrics.note_begun([begun(3), begun(-1)])
    attempt_metrics.note_ended("echo", "success", 250)
    attempt_metrics.note_ended("echo", "failed", 750)
    attempt_metrics.note_ended("echo", "failed", 0)

    assert attempt_metrics.lag == spread_of(3, 0)
    assert attempt_metrics.run == spread_of(0.25, 0.75, 0)
    assert attempt_metrics.attempts == {"echo": {"success": 1, "failed": 2}}


def test_tasks_past_the_hundredth_are_counted_together_here_and_where_several_are_put_together() -> None:
    first, second = AttemptMetrics(), AttemptMetrics()
    for number in range(150):
        first.note_ended(f"task{number:03}", "success", 1)
        second.note_ended(f"task{number + 50:03}", "success", 1)

    together = all_attempts([first.attempts, second.attempts])

    for attempts, count in ((first.attempts, 150), (second.attempts, 150), (together, 300)):
        assert len(attempts) == MOST_TASKS + 1
        assert sum(by["success"] for by in attempts.values()) == count
    assert first.attempts[OTHER] == {"success": 50}
