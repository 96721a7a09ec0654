"""Visits to the guestbook, without a system."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.guestbook import Guestbook, Invitation, NobodyCame


@pytest.fixture
def guestbook(tmp_path: Path) -> Iterator[Guestbook]:
    guestbook = Guestbook(tmp_path)
    yield guestbook
    guestbook.close()


def visit(invitation: Invitation, *, attempt: int = 1) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    line.connect(invitation["guestbook"])
    entry = {"number": invitation["number"], "attempt": attempt, "pid": 1, "monotonic_ns": 2, "wall_ns": 3}
    line.sendall(json.dumps(entry).encode() + b"\n")
    return line


def test_guests_are_told_in_the_order_in_which_they_were_asked_for(guestbook: Guestbook) -> None:
    first, second = guestbook.invite(), guestbook.invite()

    with visit(second), visit(first):
        waiters = guestbook.wait_for([first["number"], second["number"]])

    assert [waiter.number for waiter in waiters] == [first["number"], second["number"]]


def test_an_earlier_attempt_is_not_taken_for_a_later_one(guestbook: Guestbook) -> None:
    invitation = guestbook.invite()

    with visit(invitation), visit(invitation, attempt=2):
        [waiter] = guestbook.wait_for([invitation["number"]], attempt=2)

    assert waiter.attempt == 2


def test_who_does_not_come_is_missed(guestbook: Guestbook) -> None:
    with pytest.raises(NobodyCame, match="1 of 1 jobs"):
        guestbook.wait_for([guestbook.invite()["number"]], within_s=0.01)


def test_who_stays_leaves_when_let_go(guestbook: Guestbook) -> None:
    invitation = guestbook.invite()
    with visit(invitation) as line:
        guestbook.wait_for([invitation["number"]])

        guestbook.let_all_go()

        assert line.recv(1) == b""
