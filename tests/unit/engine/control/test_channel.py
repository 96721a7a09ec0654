"""The channel of an event loop: it never waits, whatever control does."""

from __future__ import annotations

import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard.engine.control.channel import Channel
from jobyard.engine.control.protocol import COUNTERS, ROSTER
from jobyard.engine.control.publisher import Publisher
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.world import World
from tests.support.control_process import ControlProcess
from tests.support.waiting import wait_for

NEVER_S = 0.25
"""What a turn may take at most: hundreds of times what it takes, and less than any deadline that it could have waited for."""


@pytest.fixture
def channel(control: ControlProcess) -> Iterator[Channel]:
    channel = Channel(control.run_dir, control.world, name="worker-7001")
    yield channel
    channel.close()


def rings(channel: Channel) -> bool:
    return bool(select.select([channel.bell], [], [], 0)[0])


def turned(channel: Channel) -> Channel:
    channel.turn()
    return channel


def longest_turn_s(publisher: Publisher, channel: Channel, world: World, *, turns: int = 50) -> float:
    took = []
    for _ in range(turns):
        began = world.monotonic()
        publisher.turn(rang=rings(channel), has_changed=True)
        took.append(world.monotonic() - began)
        select.select([channel.bell], [], [], 0.005)
    return max(took)


def test_it_opens_asks_and_hears(channel: Channel) -> None:
    wait_for(lambda: turned(channel).is_open)

    channel.ask(ROSTER, "read")
    wait_for(lambda: rings(channel))
    channel.turn()

    assert channel.answers() == [[]]
    assert channel.is_free and not rings(channel)


def test_an_answer_that_nobody_waits_for_rings_no_bell(channel: Channel, control: ControlProcess) -> None:
    wait_for(lambda: turned(channel).is_open)
    channel.waits_for_answer = False

    channel.ask(COUNTERS, "publish", "worker-7001", 1, 1.0, {})

    client = control.client()
    wait_for(lambda: "worker-7001" in client.call(COUNTERS, "read", []))
    assert not rings(channel)
    assert turned(channel).is_free


def test_the_end_of_control_rings_and_its_successor_is_found(channel: Channel, control: ControlProcess) -> None:
    wait_for(lambda: turned(channel).is_open)
    channel.waits_for_answer = False

    control.kill()
    wait_for(lambda: rings(channel))
    channel.turn()
    was_open, retry_s = channel.is_open, channel.sleep_s()
    control.start()

    wait_for(lambda: turned(channel).is_open)
    assert (was_open, channel.connections) == (False, 2)
    assert retry_s < 1


def test_where_no_control_is_it_only_tries_again(tmp_path: Path) -> None:
    control = ControlProcess(tmp_path)
    channel = Channel(control.run_dir, control.world, name="worker-7001")

    channel.turn()

    assert not channel.is_open and 0 < channel.sleep_s() <= 0.5
    channel.close()


def test_a_call_that_fails_there_ends_the_connection_and_is_not_repeated_at_once(channel: Channel) -> None:
    wait_for(lambda: turned(channel).is_open)

    channel.ask(ROSTER, "burn")
    wait_for(lambda: rings(channel))
    channel.turn()

    assert not channel.is_open and channel.sleep_s() > 0.1


def test_publishing_never_waits_for_a_control_that_stands_still_dies_or_comes_back(
    channel: Channel, control: ControlProcess
) -> None:  # fmt: skip
    world, count = control.world, iter(range(10**9))
    counters = lambda: ComponentCounters(started_at=1.0, stats={"count": next(count), "words": "x" * 20_000})  # noqa: E731
    publisher = Publisher(channel, world, name="worker-7001", read=counters)
    wait_for(lambda: publisher.turn(rang=True, has_changed=True) is not None and publisher.has_published)

    control.stand_still()
    stopped_s = longest_turn_s(publisher, channel, world)
    control.kill()
    killed_s = longest_turn_s(publisher, channel, world)
    control.start()
    control.stand_still()
    newcomer_s = longest_turn_s(publisher, channel, world)
    control.signal(signal.SIGCONT)

    assert max(stopped_s, killed_s, newcomer_s) < NEVER_S
    wait_for(lambda: longest_turn_s(publisher, channel, world, turns=1) >= 0 and channel.connections == 2 and channel.is_open)
