"""Whether a thread's client is still connected."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from jobyard.api.front.client_watch import ClientWatch
from tests.support.waiting import LIMIT_S

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_client_that_waits_or_sends_its_next_request_is_there_and_loses_nothing(pair: Pair) -> None:
    ours, theirs = pair
    watch = ClientWatch()

    with watch.watch(ours):
        assert not watch.is_gone()
        theirs.send(b"GET")
        assert not watch.is_gone()

    assert ours.recv(10) == b"GET"


def test_a_client_that_closed_its_connection_is_gone(pair: Pair) -> None:
    ours, theirs = pair
    watch = ClientWatch()

    with watch.watch(ours):
        theirs.close()

        assert watch.is_gone()


def test_each_thread_has_its_own_client_and_none_after_its_request(pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()
    watch = ClientWatch()
    seen: list[bool] = []

    with watch.watch(ours):
        thread = threading.Thread(target=lambda: seen.append(watch.is_gone()))
        thread.start()
        thread.join(LIMIT_S)

    assert seen == [False]
    assert not watch.is_gone()


def test_without_a_socket_nobody_is_gone() -> None:
    watch = ClientWatch()

    with watch.watch(None):
        assert not watch.is_gone()
