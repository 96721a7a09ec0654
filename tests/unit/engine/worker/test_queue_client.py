"""A worker's line to the queue, wherever that is."""

from __future__ import annotations

from jobyard.engine.wire.messages import Want
from jobyard.engine.wire.queue_connector import QueueConnector
from jobyard.engine.worker.queue_client import QueueClient
from tests.support.network import FakeNetwork


def a_line(network: FakeNetwork, names: list[str]) -> QueueClient:
    return QueueClient(connector=QueueConnector(network=network, names=lambda: names), worker="worker-7001")


def test_a_queue_that_is_started_later_elsewhere_is_found() -> None:
    network, names = FakeNetwork(), ["queue-6000"]
    handle = a_line(network, names)
    handle.reach()
    found_before = handle.is_open

    queue = network.add("queue-6001")
    names[:] = ["queue-6001"]
    handle.reach()
    handle.want(1)

    assert (found_before, handle.is_open, handle.name) == (False, True, "queue-6001")
    assert queue.take() == [Want(count=1, worker="worker-7001")]


def test_a_name_that_a_dead_queue_left_does_not_hide_the_living_one() -> None:
    network = FakeNetwork()
    queue = network.add("queue-6001")

    handle = a_line(network, ["queue-6000", "queue-6001", "queue-6002"])
    handle.reach()
    handle.want(1)

    assert len(queue.received) == 1


def test_who_does_not_answer_has_a_name_from_the_start() -> None:
    handle = a_line(FakeNetwork(), ["queue-6000"])

    assert (handle.name, handle.is_open) == ("queue-6000", False)


def test_a_wish_is_said_again_when_half_of_it_came_or_it_has_become_much_less() -> None:
    network = FakeNetwork()
    queue = network.add("queue-6000")
    handle = a_line(network, ["queue-6000"])
    handle.reach()

    handle.want(8)
    handle.was_answered(3)
    handle.want(8)
    handle.was_answered(1)
    handle.want(8)
    handle.want(4)
    handle.want(3)

    assert [message.count for message in queue.take() if isinstance(message, Want)] == [8, 8, 3]
