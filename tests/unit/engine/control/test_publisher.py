"""The timing of publications, with a channel that only records calls."""

from __future__ import annotations

from typing import Any

import pytest

from jobyard.engine.control.publisher import BURST, EVERY_S, IN_PASSING_S, LATEST, MINUTES, Publisher
from jobyard.engine.metrics import ComponentCounters, Minute, Totals
from tests.support.world import FakeWorld

FOREVER = float("inf")


class FakeChannel:
    """A channel that is open at once, and answers when the test says so."""

    def __init__(self) -> None:
        self.is_open = True
        self.is_asked = False
        self.answers_at_once = True
        self.waits_for_answer = True
        self.connections = 1
        self.asked: list[tuple[Any, ...]] = []
        self.retry_s = FOREVER

    @property
    def is_free(self) -> bool:
        return self.is_open and not self.is_asked

    def tick(self) -> None:
        if self.answers_at_once:
            self.is_asked = False

    def answers(self) -> list[Any]:
        return []

    def ask(self, name: str, method: str, *arguments: object) -> None:
        self.is_asked = True
        self.asked.append(arguments)

    def sleep_s(self) -> float:
        return self.retry_s

    def close(self) -> None:
        self.is_open = False


class Desk:
    """A component with one counter."""

    def __init__(self) -> None:
        self.world = FakeWorld()
        self.channel = FakeChannel()
        self.done = 0
        self.polls = 0
        self.minutes: list[Minute] = []
        self.read = 0
        self.publisher = Publisher(self.channel, self.world, name="worker-7001", read=self.counters)  # type: ignore[arg-type]

    def counters(self) -> ComponentCounters:
        self.read += 1
        return ComponentCounters(
            started_at=1.0, stats={"done": self.done, "polls": self.polls}, in_passing=("polls",), minutes=[*self.minutes]
        )

    def tick(self, *, after_s: float = 0.0, has_changed: bool = True, is_readable: bool = False) -> float:
        self.world.advance(after_s)
        return self.publisher.tick(is_readable=is_readable, has_changed=has_changed)

    def sent(self) -> list[dict[str, str]]:
        """The parts of each message."""
        return [arguments[-1] for arguments in self.channel.asked]


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.tick()
    desk.channel.asked.clear()
    return desk


def test_the_first_tick_publishes_everything() -> None:
    desk = Desk()

    sleep_s = desk.tick()

    assert [set(parts) for parts in desk.sent()] == [{LATEST, MINUTES}]
    assert sleep_s == FOREVER


def test_unchanged_counters_are_not_published(desk: Desk) -> None:
    sleeps = [desk.tick(after_s=1) for _ in range(5)]

    assert desk.sent() == []
    assert sleeps == [FOREVER] * 5


def test_a_change_after_a_rest_is_published_before_the_next_sleep(desk: Desk) -> None:
    desk.done += 1

    desk.tick(after_s=5)

    assert ['"done":1' in parts[LATEST] for parts in desk.sent()] == [True]


def test_steady_changes_are_published_ten_times_a_second(desk: Desk) -> None:
    for _ in range(5000):
        desk.done += 1
        sleep_s = desk.tick(after_s=0.001)
    desk.tick(after_s=min(sleep_s, EVERY_S))

    assert 45 <= len(desk.sent()) <= 50 + 1 + BURST
    assert '"done":5000' in desk.sent()[-1][LATEST]


def test_after_a_rest_a_few_changes_are_published_at_once(desk: Desk) -> None:
    desk.tick(after_s=5, has_changed=False)
    for _ in range(BURST):
        desk.done += 1
        desk.tick()

    assert len(desk.sent()) == BURST


def test_an_idle_tick_reads_no_counters(desk: Desk) -> None:
    read = desk.read

    desk.tick(after_s=5, has_changed=False)

    assert desk.read == read


def test_values_in_passing_are_published_with_others_or_every_few_seconds(desk: Desk) -> None:
    desk.polls += 1
    desk.tick(after_s=2)
    alone = len(desk.sent())
    desk.polls += 1
    desk.tick(after_s=IN_PASSING_S)
    desk.polls += 1
    desk.done += 1
    desk.tick(after_s=1)

    assert alone == 0
    assert [('"polls":2' in parts[LATEST], '"polls":3' in parts[LATEST]) for parts in desk.sent()] == [(True, False), (False, True)]


def test_while_an_answer_is_outstanding_only_the_newest_counters_wait(desk: Desk) -> None:
    desk.channel.is_asked = desk.channel.answers_at_once = False
    for _ in range(3):
        desk.done += 1
        sleep_s = desk.tick(after_s=1)

    desk.channel.answers_at_once = True
    desk.tick(is_readable=True, has_changed=False)

    assert sleep_s == FOREVER and desk.channel.waits_for_answer is False
    assert ['"done":1' in parts[LATEST] for parts in desk.sent()] == [True, False]
    assert '"done":3' in desk.sent()[-1][LATEST]


def test_a_new_control_process_receives_everything(desk: Desk) -> None:
    desk.minutes = [Minute(number=7, totals=Totals(counts={"done": 1}))]
    desk.tick(after_s=1)
    desk.channel.connections += 1

    desk.tick(after_s=1, is_readable=True, has_changed=False)

    assert [set(parts) for parts in desk.sent()] == [{MINUTES}, {LATEST, MINUTES}]


def test_while_control_is_away_the_channel_determines_the_retries(desk: Desk) -> None:
    desk.channel.is_open = False
    desk.channel.retry_s = 0.5
    desk.done += 1

    sleep_s = desk.tick(after_s=1, is_readable=True)

    assert sleep_s == 0.5
    assert desk.sent() == []


def test_the_last_counters_are_published_on_close(desk: Desk) -> None:
    desk.done += 1

    desk.publisher.close()

    assert ['"done":1' in parts[LATEST] for parts in desk.sent()] == [True]
    assert not desk.channel.is_open
