"""Long poll: when waiters are woken, and what happens to clients that cannot wait."""

from __future__ import annotations

from functools import partial

import pytest

from jobyard.api.front.long_poll import LongPoll, Waiter
from jobyard.api.front.round_robin import RoundRobin
from jobyard.api.front.scheduler_link import RECONNECT_S
from jobyard.api.http.reply import json_reply
from jobyard.api.http.waiting import LONG_POLL, WAIT, wait_for_end
from jobyard.engine.errors import Unavailable
from jobyard.engine.wire.messages import Ended, WatchCompletion
from tests.support.network import FakePeer
from tests.support.schedulers import NAMES, FakeSchedulers
from tests.unit.api.front.test_fast_path import ScriptedNetwork

ID, OTHER = "1" * 24, "2" * 24


class Harness:
    """A long poll, three schedulers, and the names of the waiters that were woken."""

    def __init__(self, max_waiting: int = 10) -> None:
        self.schedulers = FakeSchedulers()
        self.world = self.schedulers.world
        self.network = ScriptedNetwork()
        self.peers = [self.network.add(name) for name in NAMES]
        round_robin = RoundRobin(lambda: NAMES, self.schedulers.health)
        self.long_poll = LongPoll(network=self.network, round_robin=round_robin, world=self.world, max_waiting=max_waiting)
        self.woken: list[str] = []

    def add(self, job_id: str = ID, wait_s: float = 30, name: str = "waiter") -> Waiter:
        return self.long_poll.add(job_id, wait_s, partial(self.woken.append, name))

    def tick(self, after_s: float = 0.0) -> None:
        self.world.advance(after_s)
        self.long_poll.tick()

    def awaited(self, index: int = 0) -> list[WatchCompletion]:
        """What this scheduler received since the last call."""
        return self.peers[index].take(WatchCompletion)  # type: ignore[return-value]

    def ends(self, *job_ids: str, peer: FakePeer | None = None) -> None:
        self.network.envelopes.append((peer or self.peers[0]).says(Ended(job_ids=list(job_ids))))
        self.long_poll.receive()

    def hangs_up(self, index: int = 0) -> None:
        del self.network.peers[NAMES[index]]
        self.network.envelopes.append(self.peers[index].hangs_up())
        self.long_poll.receive()


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_one_scheduler_is_asked_once_per_job_however_many_clients_wait(harness: Harness) -> None:
    for _ in range(3):
        harness.add(ID)
    harness.add(OTHER)
    harness.tick()
    harness.add(ID)
    harness.tick()

    assert harness.awaited() == [WatchCompletion(job_ids=[ID, OTHER])]
    assert (harness.awaited(1), harness.awaited(2)) == ([], [])


def test_all_waiters_of_a_job_and_no_others_are_woken_when_it_ends(harness: Harness) -> None:
    harness.add(ID, name="a")
    harness.add(ID, name="b")
    harness.add(OTHER, name="c")
    harness.tick()

    harness.ends(ID)
    harness.ends(ID)

    assert harness.woken == ["a", "b"]


def test_a_waiter_is_woken_when_its_time_is_up_and_the_scheduler_stops_watching(harness: Harness) -> None:
    harness.add(wait_s=2, name="short")
    harness.add(OTHER, wait_s=30, name="long")
    harness.tick()
    harness.awaited()
    assert harness.long_poll.next_tick_s() == pytest.approx(2)

    harness.tick(2)

    assert harness.woken == ["short"]
    assert harness.awaited() == [WatchCompletion(job_ids=[], no_longer=[ID])]
    assert harness.long_poll.next_tick_s() == pytest.approx(28)


def test_a_removed_waiter_is_not_woken_and_frees_its_place() -> None:
    harness = Harness(max_waiting=1)
    waiter = harness.add(name="gone")
    assert harness.long_poll.is_full

    harness.long_poll.remove(waiter)
    harness.long_poll.remove(waiter)
    harness.add(name="next")
    harness.tick()
    harness.ends(ID)

    assert harness.woken == ["next"] and not harness.long_poll.is_full


def test_a_waiter_beyond_the_limit_is_woken_at_once() -> None:
    harness = Harness(max_waiting=1)
    harness.add(name="first")

    waiter = harness.add(name="second")

    assert harness.woken == ["second"] and not waiter.is_waiting


def test_closing_wakes_all_waiters_and_accepts_no_new_ones(harness: Harness) -> None:
    harness.add(ID, name="a")
    harness.add(OTHER, name="b")

    harness.long_poll.close()
    harness.add(ID, name="late")

    assert harness.woken == ["a", "b", "late"]


def test_another_scheduler_watches_all_jobs_when_the_first_is_gone(harness: Harness) -> None:
    harness.add(ID)
    harness.add(OTHER)
    harness.tick()

    harness.hangs_up(0)
    harness.tick(RECONNECT_S)

    assert sorted(harness.awaited(1)[0].job_ids) == [ID, OTHER]
    harness.ends(OTHER, peer=harness.peers[1])
    assert harness.woken == ["waiter"]


def test_another_scheduler_watches_all_jobs_when_the_first_is_unhealthy(harness: Harness) -> None:
    harness.add(ID)
    harness.tick()

    harness.schedulers.health.note_disconnect(NAMES[0])
    harness.tick(RECONNECT_S)

    assert not harness.peers[0].open
    assert [raised.job_ids for raised in (*harness.awaited(1), *harness.awaited(2))] == [[ID]]


def test_without_a_scheduler_it_keeps_reconnecting_and_waits_still_end_in_time(harness: Harness) -> None:
    harness.network.peers.clear()
    harness.add(wait_s=1)

    harness.tick()
    assert harness.long_poll.next_tick_s() == pytest.approx(RECONNECT_S)
    harness.tick(1)

    assert harness.woken == ["waiter"]


def test_a_message_from_a_former_scheduler_is_ignored(harness: Harness) -> None:
    harness.add(ID)
    harness.tick()

    harness.ends(ID, peer=harness.peers[2])

    assert harness.woken == []


def test_removed_waiters_leave_no_memory_behind(harness: Harness) -> None:
    for _ in range(1000):
        harness.long_poll.remove(harness.add())
    harness.tick()

    assert len(harness.long_poll._deadlines) <= 200
    assert harness.long_poll.next_tick_s() > 0


def test_a_request_waits_only_where_there_is_a_long_poll_with_room() -> None:
    harness = Harness(max_waiting=1)
    environ: dict[str, object] = {LONG_POLL: harness.long_poll}

    wait_for_end(environ, ID, 5, lambda: json_reply(b"{}"))

    assert WAIT in environ
    wait_for_end(other_hosts := {}, ID, 5, lambda: json_reply(b"{}"))
    assert other_hosts == {}
    harness.add()
    with pytest.raises(Unavailable) as raised:
        wait_for_end(environ, ID, 5, lambda: json_reply(b"{}"))
    assert (raised.value.code, raised.value.retry_after_s) == ("overloaded", 1)
