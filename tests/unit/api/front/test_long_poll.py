"""The waiting hall: who is called when, and what becomes of those who cannot wait."""

from __future__ import annotations

from functools import partial

import pytest

from jobyard.api.front.long_poll import AGAIN_S, LongPoll, Waiter
from jobyard.api.front.round_robin import RoundRobin
from jobyard.api.http.reply import json_reply
from jobyard.api.http.waiting import LONG_POLL, WAIT, wait_for_end
from jobyard.engine.errors import Unavailable
from jobyard.engine.wire.messages import Ended, WatchCompletion
from tests.support.network import FakePeer
from tests.support.schedulers import NAMES, FakeSchedulers
from tests.unit.api.front.test_fast_path import ProcessSpec

ID, OTHER = "1" * 24, "2" * 24


class Lobby:
    """A hall, three schedulers, and what its guests were called."""

    def __init__(self, max_waiting: int = 10) -> None:
        self.schedulers = FakeSchedulers()
        self.world = self.schedulers.world
        self.network = ProcessSpec()
        self.peers = [self.network.add(name) for name in NAMES]
        round_robin = RoundRobin(lambda: NAMES, self.schedulers.health)
        self.long_poll = LongPoll(network=self.network, round_robin=round_robin, world=self.world, max_waiting=max_waiting)
        self.called: list[str] = []

    def enter(self, job_id: str = ID, wait_s: float = 30, name: str = "guest") -> Waiter:
        return self.long_poll.enter(job_id, wait_s, partial(self.called.append, name))

    def turn(self, after_s: float = 0.0) -> None:
        self.world.advance(after_s)
        self.long_poll.turn()

    def awaited(self, index: int = 0) -> list[WatchCompletion]:
        """What this scheduler was told since the last look."""
        return self.peers[index].take(WatchCompletion)  # type: ignore[return-value]

    def ends(self, *job_ids: str, peer: FakePeer | None = None) -> None:
        self.network.envelopes.append((peer or self.peers[0]).says(Ended(job_ids=list(job_ids))))
        self.long_poll.hear()

    def hangs_up(self, index: int = 0) -> None:
        del self.network.peers[NAMES[index]]
        self.network.envelopes.append(self.peers[index].hangs_up())
        self.long_poll.hear()


@pytest.fixture
def lobby() -> Lobby:
    return Lobby()


def test_one_scheduler_is_told_of_each_job_once_however_many_wait_for_it(lobby: Lobby) -> None:
    for _ in range(3):
        lobby.enter(ID)
    lobby.enter(OTHER)
    lobby.turn()
    lobby.enter(ID)
    lobby.turn()

    assert lobby.awaited() == [WatchCompletion(job_ids=[ID, OTHER])]
    assert (lobby.awaited(1), lobby.awaited(2)) == ([], [])


def test_all_who_wait_for_a_job_are_called_when_it_ends_and_nobody_else(lobby: Lobby) -> None:
    lobby.enter(ID, name="a")
    lobby.enter(ID, name="b")
    lobby.enter(OTHER, name="c")
    lobby.turn()

    lobby.ends(ID)
    lobby.ends(ID)

    assert lobby.called == ["a", "b"]


def test_a_guest_is_called_when_its_time_is_up_and_the_scheduler_need_look_no_longer(lobby: Lobby) -> None:
    lobby.enter(wait_s=2, name="short")
    lobby.enter(OTHER, wait_s=30, name="long")
    lobby.turn()
    lobby.awaited()
    assert lobby.long_poll.next_turn_s() == pytest.approx(2)

    lobby.turn(2)

    assert lobby.called == ["short"]
    assert lobby.awaited() == [WatchCompletion(job_ids=[], no_longer=[ID])]
    assert lobby.long_poll.next_turn_s() == pytest.approx(28)


def test_who_leaves_is_not_called_and_frees_its_seat() -> None:
    lobby = Lobby(max_waiting=1)
    waiter = lobby.enter(name="gone")
    assert lobby.long_poll.is_full

    lobby.long_poll.leave(waiter)
    lobby.long_poll.leave(waiter)
    lobby.enter(name="next")
    lobby.turn()
    lobby.ends(ID)

    assert lobby.called == ["next"] and not lobby.long_poll.is_full


def test_who_finds_no_seat_is_called_at_once() -> None:
    lobby = Lobby(max_waiting=1)
    lobby.enter(name="sits")

    waiter = lobby.enter(name="stands")

    assert lobby.called == ["stands"] and not waiter.is_here


def test_everybody_is_called_when_the_front_leaves_and_nobody_waits_afterwards(lobby: Lobby) -> None:
    lobby.enter(ID, name="a")
    lobby.enter(OTHER, name="b")

    lobby.long_poll.close()
    lobby.enter(ID, name="late")

    assert lobby.called == ["a", "b", "late"]


def test_another_scheduler_is_told_of_all_when_the_first_is_gone(lobby: Lobby) -> None:
    lobby.enter(ID)
    lobby.enter(OTHER)
    lobby.turn()

    lobby.hangs_up(0)
    lobby.turn(AGAIN_S)

    assert sorted(lobby.awaited(1)[0].job_ids) == [ID, OTHER]
    lobby.ends(OTHER, peer=lobby.peers[1])
    assert lobby.called == ["guest"]


def test_another_scheduler_is_told_of_all_when_the_first_is_not_well(lobby: Lobby) -> None:
    lobby.enter(ID)
    lobby.turn()

    lobby.schedulers.health.note_gone(NAMES[0])
    lobby.turn(AGAIN_S)

    assert not lobby.peers[0].open
    assert [told.job_ids for told in (*lobby.awaited(1), *lobby.awaited(2))] == [[ID]]


def test_while_no_scheduler_is_there_one_is_looked_for_again_and_again_and_time_goes_on(lobby: Lobby) -> None:
    lobby.network.peers.clear()
    lobby.enter(wait_s=1)

    lobby.turn()
    assert lobby.long_poll.next_turn_s() == pytest.approx(AGAIN_S)
    lobby.turn(1)

    assert lobby.called == ["guest"]


def test_a_word_of_a_scheduler_that_was_left_is_nobodys(lobby: Lobby) -> None:
    lobby.enter(ID)
    lobby.turn()

    lobby.ends(ID, peer=lobby.peers[2])

    assert lobby.called == []


def test_guests_that_come_and_go_leave_nothing_behind(lobby: Lobby) -> None:
    for _ in range(1000):
        lobby.long_poll.leave(lobby.enter())
    lobby.turn()

    assert len(lobby.long_poll._ends) <= 200
    assert lobby.long_poll.next_turn_s() > 0


def test_a_request_is_seated_where_there_is_a_hall_with_room() -> None:
    lobby = Lobby(max_waiting=1)
    environ: dict[str, object] = {LONG_POLL: lobby.long_poll}

    wait_for_end(environ, ID, 5, lambda: json_reply(b"{}"))

    assert WAIT in environ
    wait_for_end(other_hosts := {}, ID, 5, lambda: json_reply(b"{}"))
    assert other_hosts == {}
    lobby.enter()
    with pytest.raises(Unavailable) as told:
        wait_for_end(environ, ID, 5, lambda: json_reply(b"{}"))
    assert (told.value.code, told.value.retry_after_s) == ("overloaded", 1)
