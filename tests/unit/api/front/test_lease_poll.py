"""The requests of HTTP workers that wait: who is answered, and what becomes of leases that nobody can be given."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from jobyard.api.front.lease_poll import Grant, LeasePoll, LeaseWaiter
from jobyard.api.front.long_poll import LongPoll
from jobyard.api.front.round_robin import RoundRobin
from jobyard.api.front.scheduler_link import RECONNECT_S
from jobyard.api.front.waits import Waits
from jobyard.api.http.reply import json_reply
from jobyard.api.http.waiting import Wait
from jobyard.engine.wire.lease_messages import AwaitLeases, Granted, JobsLeased, ReturnLeases
from tests.support.network import FakePeer
from tests.support.schedulers import NAMES, FakeSchedulers
from tests.unit.api.front.test_fast_path import ScriptedNetwork

LEASED = JobsLeased(body=b'[{"job_id":"x"}]', tokens=[("0" * 24, 2)])


class Harness:
    """A lease poll, three schedulers, and what the waiters were told."""

    def __init__(self) -> None:
        self.schedulers = FakeSchedulers()
        self.world = self.schedulers.world
        self.network = ScriptedNetwork()
        self.peers = [self.network.add(name) for name in NAMES]
        self.round_robin = RoundRobin(lambda: NAMES, self.schedulers.health)
        self.lease_poll = LeasePoll(network=self.network, round_robin=self.round_robin, world=self.world)
        self.told: list[tuple[str, Grant | None]] = []

    def add(self, name: str = "a", wait_s: float = 30) -> LeaseWaiter:
        return self.lease_poll.add(name.encode(), wait_s, lambda grant: self.told.append((name, grant)))

    def tick(self, after_s: float = 0.0) -> None:
        self.world.advance(after_s)
        self.lease_poll.tick()

    def grants(self, number: int, peer: int = 0) -> None:
        self.network.envelopes.append(self.peers[peer].says(Granted(number=number, leased=LEASED)))
        self.lease_poll.receive()

    def hangs_up(self, index: int = 0) -> None:
        del self.network.peers[NAMES[index]]
        self.network.envelopes.append(self.peers[index].hangs_up())
        self.lease_poll.receive()

    def sent(self, index: int = 0) -> list[AwaitLeases]:
        return self.peers[index].take(AwaitLeases)  # type: ignore[return-value]


@pytest.fixture
def harness() -> Harness:
    return Harness()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_one_scheduler_is_told_who_waits_and_who_no_longer(harness: Harness) -> None:
    harness.add("a")
    second = harness.add("b")
    harness.tick()
    harness.lease_poll.remove(second)
    harness.tick()

    assert harness.sent() == [AwaitLeases(bodies=[(0, b"a"), (1, b"b")]), AwaitLeases(bodies=[], no_longer=[1])]
    assert (harness.sent(1), harness.sent(2)) == ([], [])


def test_what_is_granted_is_the_answer_of_its_waiter_only(
    harness: Harness, ends: tuple[socket.socket, socket.socket]
) -> None:  # fmt: skip
    harness.add("a")
    harness.add("b")
    harness.tick()

    harness.grants(1)

    ((name, grant),) = harness.told
    assert name == "b" and grant is not None
    assert grant.reply_to(ends[0]) == json_reply(LEASED.body)
    assert harness.peers[0].take(ReturnLeases) == []
    harness.tick()
    assert harness.sent()[1:] == [], "the scheduler knows that it waits no longer"


def test_what_was_granted_to_a_client_that_is_gone_is_returned(
    harness: Harness, ends: tuple[socket.socket, socket.socket]
) -> None:  # fmt: skip
    harness.add("a")
    harness.tick()
    harness.grants(0)
    ends[1].close()

    ((_, grant),) = harness.told
    assert grant is not None
    grant.reply_to(ends[0])

    assert harness.peers[0].take(ReturnLeases) == [ReturnLeases(tokens=LEASED.tokens)]


def test_what_was_granted_to_nobody_is_returned(harness: Harness) -> None:
    harness.add("a", wait_s=1)
    harness.add("b")
    harness.tick()
    harness.tick(after_s=1)

    harness.grants(0)

    assert harness.told == [("a", None)]
    assert harness.peers[0].take(ReturnLeases) == [ReturnLeases(tokens=LEASED.tokens)]


def test_another_scheduler_takes_over_all_that_wait(harness: Harness) -> None:
    harness.add("a")
    harness.add("b")
    harness.tick()
    harness.hangs_up()
    harness.tick(after_s=RECONNECT_S)

    assert harness.sent(1) == [AwaitLeases(bodies=[(0, b"a"), (1, b"b")])]
    harness.grants(0, peer=1)
    assert [name for name, _ in harness.told] == ["a"]


def test_a_front_that_stops_ends_every_wait(harness: Harness) -> None:
    harness.add("a")
    harness.lease_poll.close()
    harness.add("b")

    assert harness.told == [("a", None), ("b", None)]
    assert harness.lease_poll.count == 0


def test_both_kinds_of_waits_count_towards_the_limit(harness: Harness) -> None:
    network = ScriptedNetwork()
    network.add(NAMES[0])
    network.add(NAMES[1])
    network.add(NAMES[2])
    jobs = LongPoll(network=network, round_robin=harness.round_robin, world=harness.world, max_waiting=2)
    waits = Waits(jobs, harness.lease_poll)
    told: list[object] = []

    lease = waits.add(Wait(lease=b"a", wait_s=3, answer=lambda: json_reply(b"[]")), told.append)
    job = waits.add(Wait(job_id="1" * 24, wait_s=2, answer=lambda: json_reply(b"{}")), told.append)

    assert waits.is_full and waits.next_tick_s() == 0
    waits.tick()
    assert waits.next_tick_s() == pytest.approx(2)
    waits.remove(lease)
    assert not waits.is_full
    waits.remove(job)
    waits.close()
    assert told == []


def test_many_waits_that_ended_are_forgotten(harness: Harness) -> None:
    for _ in range(300):
        harness.lease_poll.remove(harness.add())

    assert len(harness.lease_poll._deadlines) < 200
    assert isinstance(harness.peers[0], FakePeer)
