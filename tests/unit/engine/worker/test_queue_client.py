"""A worker's connection to the queue, wherever that is: what it says there of its room, and when."""

from __future__ import annotations

from jobyard.engine.wire.capacity import SLOT_UNITS
from jobyard.engine.wire.queue_connector import QueueConnector
from jobyard.engine.wire.queue_messages import Ack, Extend, Release, Want
from jobyard.engine.worker.queue_client import QueueClient
from tests.support.network import FakeNetwork, FakePeer

OWNER = "box:b00t:worker-7001:1"
COSTS: dict[str, int] = {}
LEASE = ("0" * 24, 2)


def a_client(network: FakeNetwork, *names: str) -> QueueClient:
    return QueueClient(connector=QueueConnector(network=network, names=lambda: [*names]), owner=OWNER)


def connected() -> tuple[QueueClient, FakePeer]:
    network = FakeNetwork()
    queue = network.add("queue-6000")
    client = a_client(network, "queue-6000")
    assert client.connect()
    return client, queue


def limits(queue: FakePeer) -> list[tuple[int, int]]:
    return [(message.limit, message.short_limit) for message in queue.take() if isinstance(message, Want)]


# ---- the connection


def test_a_queue_that_is_started_later_elsewhere_is_found() -> None:
    network, names = FakeNetwork(), ["queue-6000"]
    client = QueueClient(connector=QueueConnector(network=network, names=lambda: names), owner=OWNER)
    found_before = client.connect()

    queue = network.add("queue-6001")
    names[:] = ["queue-6001"]
    found_after = client.connect()
    client.offer(32, 0, COSTS)

    assert (found_before, found_after, client.is_open, client.name) == (False, True, True, "queue-6001")
    assert queue.take() == [Want(owner=OWNER, limit=32, short_limit=32)]


def test_a_name_that_a_dead_queue_left_does_not_hide_the_living_one() -> None:
    network = FakeNetwork()
    queue = network.add("queue-6001")
    client = a_client(network, "queue-6000", "queue-6001", "queue-6002")

    client.connect()
    client.offer(32, 0, COSTS)

    assert len(queue.received) == 1


def test_a_queue_that_does_not_answer_has_a_name_from_the_start() -> None:
    client = a_client(FakeNetwork(), "queue-6000")

    assert (client.name, client.is_open) == ("queue-6000", False)


def test_only_the_end_of_its_own_connection_is_the_queues() -> None:
    client, queue = connected()

    assert not client.note_closed(FakePeer())
    assert client.note_closed(queue)
    assert not client.is_open


def test_a_new_connection_is_counted_from_its_start_and_is_told_all_costs() -> None:
    client, queue = connected()
    client.offer(64, 64, {"echo": 1})
    client.note_received(64)
    client.note_closed(queue)
    queue.take()

    client.connect()
    client.offer(64, 64, {"echo": 1})

    assert queue.take() == [Want(owner=OWNER, limit=64, short_limit=128, costs={"echo": 1})]


# ---- room


def test_what_was_received_raises_the_limit() -> None:
    client, queue = connected()
    client.offer(64, 0, COSTS)
    client.note_received(64)

    client.offer(64, 0, COSTS)

    assert limits(queue) == [(64, 64), (128, 128)]


def test_room_that_has_not_changed_is_not_said_again() -> None:
    client, queue = connected()
    client.offer(64, 64, COSTS)
    client.offer(64, 64, COSTS)
    client.note_received(32)
    client.offer(32, 64, COSTS)

    assert limits(queue) == [(64, 128)]


def test_a_slot_that_becomes_free_is_said_at_once() -> None:
    client, queue = connected()
    client.offer(0, 32, COSTS)

    client.offer(SLOT_UNITS, 32, COSTS)

    assert limits(queue) == [(0, 32), (32, 64)]


def test_room_for_short_jobs_is_said_when_half_of_it_has_changed() -> None:
    client, queue = connected()
    client.offer(80, 64, COSTS)
    client.note_received(10)
    client.offer(80, 64, COSTS)
    a_little = limits(queue)
    client.offer(80, 0, COSTS)

    assert (a_little, limits(queue)) == ([(80, 144)], [(90, 90)])


def test_costs_are_said_once_and_only_those_that_have_changed() -> None:
    client, queue = connected()
    client.offer(32, 0, {"echo": 1, "video": SLOT_UNITS})
    client.offer(32, 0, {"echo": 1, "page": 4})
    client.offer(32, 0, {"echo": SLOT_UNITS, "page": 4})

    assert [message.costs for message in queue.take() if isinstance(message, Want)] == [{"echo": 1}, {"page": 4}, {"echo": 32}]


def test_the_end_of_the_offer_is_said_once_and_a_new_one_after_it() -> None:
    client, queue = connected()
    client.close_offer()
    client.offer(32, 0, COSTS)
    client.close_offer()
    client.close_offer()
    client.offer(32, 0, COSTS)

    offer, end = Want(owner=OWNER, limit=32, short_limit=32), Want(owner=OWNER, is_closed=True)
    assert queue.take() == [offer, end, offer]


# ---- leases


def test_room_is_said_along_with_an_ack_and_not_again_after_it() -> None:
    client, queue = connected()
    client.offer(64, 64, COSTS)
    client.note_received(32)
    queue.take()

    client.ack([LEASE], (64, 64))
    client.offer(64, 64, COSTS)

    assert queue.take() == [Ack(leases=[LEASE], limit=96, short_limit=160)]


def test_an_ack_reopens_no_offer_that_was_closed() -> None:
    client, queue = connected()
    client.offer(64, 64, COSTS)
    client.close_offer()
    queue.take()

    client.ack([LEASE], (64, 64))

    assert queue.take() == [Ack(leases=[LEASE])]


def test_nothing_is_said_of_no_leases() -> None:
    client, queue = connected()

    client.ack([], (32, 0))
    client.extend([])
    client.release([])
    client.extend([LEASE])
    client.release([LEASE])

    assert queue.take() == [Extend(leases=[LEASE]), Release(leases=[LEASE])]


def test_without_a_connection_nothing_is_said_and_nothing_fails() -> None:
    client = a_client(FakeNetwork(), "queue-6000")

    client.offer(32, 0, COSTS)
    client.ack([LEASE], (32, 0))
    client.close_offer()

    assert not client.is_open
