"""Request reader: where a small request ends, and which requests must wait in a slow-client thread."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobyard.api.front.request_reader import HEAD_BYTES, SMALL_BYTES, ReadState, RequestReader

GET = b"GET /jobs HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    "received",
    [
        b"", b"G", b"\r\n", GET[:-1], GET[:-2], POST + b"Content-Length: 3\r\n\r\n", POST + b"Content-Length: 3\r\n\r\n{}",
        POST + b"content-LENGTH:\t3 \r\n\r\n{}", POST + b"Content-Length: %d\r\n\r\n{}" % SMALL_BYTES, b"\r\n" + GET[:-1],
        GET[:20] + b"x" * (HEAD_BYTES - 20),
    ],
)  # fmt: skip
def test_an_incomplete_request_needs_more(received: bytes) -> None:
    assert RequestReader(received).state() is ReadState.INCOMPLETE


@pytest.mark.parametrize(
    "received",
    [
        GET, b"\r\n" + GET, GET + GET[:9], POST + b"\r\n{}", POST + b"Content-Length: 2\r\n\r\n{}",
        POST + b"Content-Length: 2\r\n\r\n{}" + GET, POST + b"Content-Length: 0\r\n\r\n", POST + b"Content-Length: 00002\r\n\r\n{}",
        POST + b"X: y\r\n" * 1000 + b"\r\n",
    ],
)  # fmt: skip
def test_a_complete_request_is_ready(received: bytes) -> None:
    assert RequestReader(received).state() is ReadState.READY


@pytest.mark.parametrize(
    "received",
    [
        b"\r\n\r\n", b"GET / HTTP/1.1\nHost", GET[:-2] + b"X: y\nZ", POST + b"Content-Length: x\r\n\r\n",
        POST + b"Content-Length: 2, 2\r\n\r\n", POST + b"Content-Length: -1\r\n\r\n", POST + b"Content-Length: \xb2\r\n\r\n",
        POST + b"Content-Length: 9\r\nContent-Length: 9\r\n\r\n",
    ],
)  # fmt: skip
def test_what_the_parser_refuses_at_once_is_ready(received: bytes) -> None:
    assert RequestReader(received).state() is ReadState.READY


@pytest.mark.parametrize(
    "received",
    [
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        POST + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        POST + b"Content-Length: %d\r\n\r\n" % (SMALL_BYTES + 1), POST + b"Content-Length: %s\r\n\r\n" % (b"9" * 5000),
        GET[:20] + b"x" * HEAD_BYTES,
    ],
)  # fmt: skip
def test_large_requests_and_those_of_unknown_length_are_slow(received: bytes) -> None:
    assert RequestReader(received).state() is ReadState.SLOW


@given(
    st.sampled_from([GET, POST + b"Content-Length: 300\r\nX: y\r\n\r\n" + b"\r\n\r\n{}" * 50, b"\r\n" + POST + b"\r\n"]),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_however_it_is_split_a_request_is_ready_with_its_last_byte(request: bytes, cuts: list[int]) -> None:
    reader = RequestReader()
    ends = [*sorted({min(cut, len(request) - 1) for cut in cuts}), len(request)]

    states = []
    for start, end in zip([0, *ends], ends, strict=False):
        reader.received += request[start:end]
        states.append(reader.state())

    assert states == [ReadState.INCOMPLETE] * (len(ends) - 1) + [ReadState.READY]


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda tail: POST + tail + b"\r\n\r\n"))
def test_any_bytes_have_a_state(received: bytes) -> None:
    assert RequestReader(received).state() in ReadState


def test_reading_never_blocks(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    reader = RequestReader()

    states = [reader.read(ours)]
    for piece in (GET[:10], GET[10:]):
        theirs.sendall(piece)
        states.append(reader.read(ours))

    assert states == [ReadState.INCOMPLETE, ReadState.INCOMPLETE, ReadState.READY]


def test_bytes_after_a_complete_request_stay_in_the_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(GET * 3)
    reader = RequestReader(GET + GET[:9])

    assert reader.read(ours) is ReadState.READY
    assert reader.received == GET + GET[:9]
    assert ours.recv(1 << 16) == GET * 3


def test_a_disconnect_in_the_middle_is_left_to_the_parser(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(GET[:10])
    reader = RequestReader()
    reader.read(ours)
    theirs.close()

    assert reader.read(ours) is ReadState.READY
    assert reader.received == GET[:10]
