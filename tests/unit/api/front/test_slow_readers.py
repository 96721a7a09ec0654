"""Responses that a client does not read at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from jobyard.api.front.slow_readers import ResponseSocket, SlowReaders

Pair = tuple[socket.socket, socket.socket]
LARGE = bytes(range(256)) * 40_000


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Our blocking socket, and the client's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class Waiting(ResponseSocket):
    """A response of which so many bytes wait."""

    def __init__(self, unsent_bytes: int) -> None:
        super().__init__(socket.socket())
        self.unsent_bytes = unsent_bytes
        self._sock.close()


def test_what_fits_is_sent_at_once(pair: Pair) -> None:
    ours, theirs = pair
    response = ResponseSocket(ours)

    response.sendall(b"head")
    response.sendall(b"")
    response.send(b"body")

    assert theirs.recv(100) == b"headbody"
    assert response.unsent_bytes == 0


def test_the_rest_is_kept_without_waiting_and_sent_as_the_client_reads(pair: Pair) -> None:
    ours, theirs = pair
    response = ResponseSocket(ours)

    response.sendall(LARGE)
    response.sendall(b"end")

    assert 0 < response.unsent_bytes < len(LARGE) + 3
    received = bytearray()
    while not response.send_unsent():
        received += theirs.recv(1 << 20)
    ours.close()
    while data := theirs.recv(1 << 20):
        received += data
    assert received == LARGE + b"end"
    assert response.unsent_bytes == 0


def test_a_client_that_has_gone_is_an_error_and_no_signal(pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()

    with pytest.raises(OSError, match="Broken pipe"):
        ResponseSocket(ours).sendall(b"head")


def test_everything_else_is_the_sockets(pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(b"next")

    assert ResponseSocket(ours).recv(10) == b"next"  # type: ignore[operator]


def test_beyond_the_limit_those_that_have_waited_longest_are_closed() -> None:
    readers: SlowReaders[str] = SlowReaders(max_bytes=100)

    assert readers.add("a", Waiting(40)) == []
    assert readers.add("b", Waiting(40)) == []
    assert readers.add("c", Waiting(20)) == []
    assert readers.add("d", Waiting(50)) == ["a", "b"]


def test_a_response_that_is_too_large_alone_is_closed() -> None:
    readers: SlowReaders[str] = SlowReaders(max_bytes=100)

    assert readers.add("a", Waiting(101)) == ["a"]


def test_a_connection_that_is_removed_counts_no_longer() -> None:
    readers: SlowReaders[str] = SlowReaders(max_bytes=100)
    readers.add("a", Waiting(90))

    readers.remove("a")

    assert list(readers) == []
    assert readers.add("b", Waiting(90)) == []
