"""A worker's line to the queue, wherever that is."""

from __future__ import annotations

from engine.queue_line import QueueDoor, QueueLine
from engine.wire.messages import Want
from tests.support.network import FakeNetwork


def a_line(network: FakeNetwork, names: list[str]) -> QueueLine:
    return QueueLine(door=QueueDoor(network=network, names=lambda: names), worker="worker-7001")


def test_a_queue_that_is_started_later_elsewhere_is_found() -> None:
    network, names = FakeNetwork(), ["queue-6000"]
    line = a_line(network, names)
    line.reach()
    found_before = line.is_open

    queue = network.add("queue-6001")
    names[:] = ["queue-6001"]
    line.reach()
    line.want(1)

    assert (found_before, line.is_open, line.name) == (False, True, "queue-6001")
    assert queue.take() == [Want(count=1, worker="worker-7001")]


def test_a_name_that_a_dead_queue_left_does_not_hide_the_living_one() -> None:
    network = FakeNetwork()
    queue = network.add("queue-6001")

    line = a_line(network, ["queue-6000", "queue-6001", "queue-6002"])
    line.reach()
    line.want(1)

    assert len(queue.received) == 1


def test_who_does_not_answer_has_a_name_from_the_start() -> None:
    line = a_line(FakeNetwork(), ["queue-6000"])

    assert (line.name, line.is_open) == ("queue-6000", False)


def test_a_wish_is_said_again_when_half_of_it_came_or_it_has_become_much_less() -> None:
    network = FakeNetwork()
    queue = network.add("queue-6000")
    line = a_line(network, ["queue-6000"])
    line.reach()

    line.want(8)
    line.was_answered(3)
    line.want(8)
    line.was_answered(1)
    line.want(8)
    line.want(4)
    line.want(3)

    assert [message.count for message in queue.take() if isinstance(message, Want)] == [8, 8, 3]
