"""The rules of limits, by themselves: parts and lanes, what stands against a begin, and rates."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from jobyard.engine.limits.limit import Limit, Numbers, Paused
from jobyard.engine.limits.rules import (
    Code,
    Obstacle,
    PartState,
    clamped,
    from_micros,
    interval,
    is_implicit,
    lane_for,
    lane_of,
    limit_of,
    micros,
    next_token,
    obstacle,
    partition_of,
    parts_of,
    take_token,
)
from tests.support.builders import a_job
from tests.support.world import START

SECOND = timedelta(seconds=1)
PAUSED = Paused(by="api", since=START)


def find(limit: Limit, state: PartState = PartState(), now: datetime = START, part: str | None = None) -> Obstacle | None:  # noqa: B008
    return obstacle((part or limit.name,), limits={limit.name: limit}, state=lambda part: state, now=now)


# ---- names


@pytest.mark.parametrize(
    ("part", "limit", "partition"),
    [
        ("stripe", "stripe", None), ("customer/7", "customer", "7"), ("a/b:c@d", "a", "b:c@d"), ("queue:mail", "queue:mail", None),
        ("task:a/b", "task:a/b", None), ("task:/", "task:/", None), ("*", "*", None), ("schedule:s", "schedule:s", None),
    ],
)  # fmt: skip
def test_a_part_is_a_limit_or_one_of_its_partitions(part: str, limit: str, partition: str | None) -> None:
    assert (limit_of(part), partition_of(part)) == (limit, partition)


def test_a_lane_is_the_text_of_its_parts_in_any_order() -> None:
    assert lane_of(["b", "a"]) == lane_of(["a", "b", "a"])
    assert parts_of(lane_of(["task:x,\"y", "ü"]) or "") == ("task:x,\"y", "ü")
    assert lane_of([]) is None


def test_a_job_under_no_limit_has_no_lane() -> None:
    assert lane_for(a_job(queue="mail"), {"queue:other", "task:other"}) is None


def test_a_job_is_under_what_it_names_and_what_applies_by_itself() -> None:
    lane = lane_for(a_job(limit=("stripe",), queue="mail", task="send"), {"queue:mail", "task:send", "*", "queue:x"})

    assert parts_of(lane or "") == ("*", "queue:mail", "stripe", "task:send")


def test_a_job_of_a_schedule_keeps_that_part_when_it_gets_its_lane_anew() -> None:
    job = a_job(lane='["queue:mail","schedule:s"]')

    assert lane_for(job, ()) == '["schedule:s"]'


@pytest.mark.parametrize(("name", "applies"), [("*", True), ("queue:a", True), ("task:a", True), ("a", False), ("hook:a", False)])
def test_some_limits_apply_by_themselves(name: str, applies: bool) -> None:
    assert is_implicit(name) is applies


# ---- obstacles


def test_without_a_limit_nothing_stands_against_a_begin() -> None:
    assert obstacle(("gone", "gone/1"), limits={}, state=lambda part: PartState(running=1000), now=START) is None


def test_a_part_is_full_at_max_running() -> None:
    limit = Limit(name="a", numbers=Numbers(max_running=2))

    assert find(limit, PartState(running=1)) is None
    assert find(limit, PartState(running=2)) == Obstacle(Code.FULL, "a", "a")
    assert find(limit, PartState(running=5), part="a/1") == Obstacle(Code.FULL, "a/1", "a")


def test_a_pause_comes_before_a_full_part() -> None:
    limit = Limit(name="a", numbers=Numbers(max_running=1), paused=PAUSED)

    found = find(limit, PartState(running=1))

    assert found == Obstacle(Code.PAUSED, "a", "a")
    assert found.blocked_on == "=a"


def test_a_pause_with_an_end_is_over_then() -> None:
    limit = Limit(name="a", paused=Paused(by="api", since=START, until=START + SECOND))

    assert find(limit) == Obstacle(Code.PAUSED, "a", "a", START + SECOND)
    assert find(limit, now=START + SECOND) is None


def test_a_hold_of_the_limit_and_of_a_part_both_count() -> None:
    held = Limit(name="a", hold_until=START + SECOND)

    assert find(held, part="a/1") == Obstacle(Code.HELD, "a/1", "a", START + SECOND)
    assert find(Limit(name="a"), PartState(hold_until=START + SECOND)) == Obstacle(Code.HELD, "a", "a", START + SECOND)


def test_of_several_what_time_does_not_remove_comes_first_then_what_lasts_longest() -> None:
    limits = {
        "a": Limit(name="a", hold_until=START + SECOND), "b": Limit(name="b", hold_until=START + 3 * SECOND),
        "c": Limit(name="c", numbers=Numbers(max_running=1)),
    }  # fmt: skip

    def found(*parts: str) -> str:
        one = obstacle(parts, limits=limits, state=lambda part: PartState(running=1), now=START)
        return "" if one is None else one.part

    assert (found("a", "b"), found("a", "b", "c")) == ("b", "c")


def test_a_schedule_s_part_is_one_at_a_time_without_a_row() -> None:
    full = obstacle(("schedule:s",), limits={}, state=lambda part: PartState(running=1), now=START)

    assert full == Obstacle(Code.FULL, "schedule:s", "schedule:s")


# ---- rates


def test_tokens_come_evenly() -> None:
    numbers, tat, begun = Numbers(count=10, per_s=1), 0, []
    for millisecond in range(3000):
        now = micros(START) + millisecond * 1000
        if next_token(numbers, tat, now) <= now:
            tat = take_token(numbers, tat, now)
            begun.append(millisecond)

    assert begun == list(range(0, 3000, 100))


def test_intervals_are_rounded_up_so_that_nothing_begins_too_early() -> None:
    assert interval(Numbers(count=3, per_s=1)) == 333_334
    assert interval(Numbers(count=100_000, per_s=0.1)) == 1
    assert interval(Numbers(max_running=1)) == 0
    assert from_micros(1_001) == from_micros(2_000)


@pytest.mark.parametrize("seed", range(30))
def test_no_window_has_more_than_count_and_burst_allow(seed: int) -> None:
    dice = random.Random(seed)
    count = dice.randint(1, 20)
    numbers = Numbers(count=count, per_s=dice.choice([0.1, 1, 7, 60]), burst=dice.randint(1, count))
    window, now, tat = int((numbers.per_s or 0) * 1_000_000), micros(START), 0
    begun: list[int] = []
    while len(begun) < 300:
        now += dice.choice([0, 1000, interval(numbers), dice.randint(0, window)])
        if next_token(numbers, tat, now) <= now:
            tat = take_token(numbers, tat, now)
            begun.append(now)

    most = max(sum(since <= at < since + window for at in begun) for since in begun)
    assert most <= count + numbers.burst - 1


def test_after_a_pause_no_more_than_the_burst_begin_at_once() -> None:
    numbers, tat, now = Numbers(count=10, per_s=1, burst=3), 0, micros(START)
    begun = 0
    while next_token(numbers, tat, now) <= now:
        tat = take_token(numbers, tat, now)
        begun += 1

    assert begun == 3


def test_a_tat_that_is_too_late_is_clamped() -> None:
    numbers, now = Numbers(count=10, per_s=1, burst=2), micros(START)

    assert clamped(numbers, now + 10**12, now) == now + 200_000
    assert clamped(numbers, now + 5, now) == now + 5
