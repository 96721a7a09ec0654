"""The channel of an event loop: it never blocks, whatever control does."""

from __future__ import annotations

import resource
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard.engine.control.channel import Channel
from jobyard.engine.control.protocol import COUNTERS, ROSTER
from jobyard.engine.control.publisher import Publisher
from jobyard.engine.metrics import ComponentCounters
from tests.support.control_process import ControlProcess
from tests.support.waiting import wait_for

FEW = 10
"""Of 50 turns. A page fault may make a turn wait, too; one that waits for a control does so in every turn."""


@pytest.fixture
def channel(control: ControlProcess) -> Iterator[Channel]:
    channel = Channel(control.run_dir, control.world, name="worker-7001")
    yield channel
    channel.close()


def is_readable(channel: Channel) -> bool:
    return bool(select.select([channel.wakeup_fd], [], [], 0)[0])


def turned(channel: Channel) -> Channel:
    channel.tick()
    return channel


def turns_that_waited(publisher: Publisher, channel: Channel, *, turns: int = 50) -> int:
    """The number of turns in which this thread gave the processor away because it had to wait for something."""
    waited = 0
    for _ in range(turns):
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        publisher.tick(is_readable=is_readable(channel), has_changed=True)
        waited += resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw > before
        select.select([channel.wakeup_fd], [], [], 0.005)
    return waited


def test_it_connects_and_receives_answers(channel: Channel) -> None:
    wait_for(lambda: turned(channel).is_open)

    channel.ask(ROSTER, "read")
    wait_for(lambda: is_readable(channel))
    channel.tick()

    assert channel.answers() == [[]]
    assert channel.is_free and not is_readable(channel)


def test_an_answer_wakes_the_loop_only_on_request(channel: Channel, control: ControlProcess) -> None:
    wait_for(lambda: turned(channel).is_open)
    channel.waits_for_answer = False

    channel.ask(COUNTERS, "publish", "worker-7001", 1, 1.0, {})

    client = control.client()
    wait_for(lambda: "worker-7001" in client.call(COUNTERS, "read", []))
    assert not is_readable(channel)
    assert turned(channel).is_free


def test_the_end_of_control_wakes_the_loop_and_its_successor_is_found(channel: Channel, control: ControlProcess) -> None:
    wait_for(lambda: turned(channel).is_open)
    channel.waits_for_answer = False

    control.kill()
    wait_for(lambda: is_readable(channel))
    channel.tick()
    was_open, retry_s = channel.is_open, channel.sleep_s()
    control.start()

    wait_for(lambda: turned(channel).is_open)
    assert (was_open, channel.connections) == (False, 2)
    assert retry_s < 1


def test_without_a_control_process_it_only_retries(tmp_path: Path) -> None:
    control = ControlProcess(tmp_path)
    channel = Channel(control.run_dir, control.world, name="worker-7001")

    channel.tick()

    assert not channel.is_open and 0 < channel.sleep_s() <= 0.5
    channel.close()


def test_a_failed_call_closes_the_connection_and_is_not_retried_at_once(channel: Channel) -> None:
    wait_for(lambda: turned(channel).is_open)

    channel.ask(ROSTER, "burn")
    wait_for(lambda: is_readable(channel))
    channel.tick()

    assert not channel.is_open and channel.sleep_s() > 0.1


def test_publishing_never_blocks_on_a_control_that_is_stopped_dies_or_returns(
    channel: Channel, control: ControlProcess
) -> None:  # fmt: skip
    world, count = control.world, iter(range(10**9))
    counters = lambda: ComponentCounters(started_at=1.0, stats={"count": next(count), "words": "x" * 20_000})  # noqa: E731
    publisher = Publisher(channel, world, name="worker-7001", read=counters)
    wait_for(lambda: publisher.tick(is_readable=True, has_changed=True) is not None and publisher.has_published)

    control.stand_still()
    while_stopped = turns_that_waited(publisher, channel)
    control.kill()
    while_gone = turns_that_waited(publisher, channel)
    control.start()
    control.stand_still()
    with_newcomer = turns_that_waited(publisher, channel)
    control.signal(signal.SIGCONT)

    assert max(while_stopped, while_gone, with_newcomer) < FEW
    wait_for(lambda: turns_that_waited(publisher, channel, turns=1) >= 0 and channel.connections == 2 and channel.is_open)
