"""Where a small request ends, and what is not waited for by a thread that others need."""

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
    "came",
    [
        b"", b"G", b"\r\n", GET[:-1], GET[:-2], POST + b"Content-Length: 3\r\n\r\n", POST + b"Content-Length: 3\r\n\r\n{}",
        POST + b"content-LENGTH:\t3 \r\n\r\n{}", POST + b"Content-Length: %d\r\n\r\n{}" % SMALL_BYTES, b"\r\n" + GET[:-1],
        GET[:20] + b"x" * (HEAD_BYTES - 20),
    ],
)  # fmt: skip
def test_a_request_that_is_not_here_yet_needs_more(came: bytes) -> None:
    assert RequestReader(came).need() is ReadState.MORE


@pytest.mark.parametrize(
    "came",
    [
        GET, b"\r\n" + GET, GET + GET[:9], POST + b"\r\n{}", POST + b"Content-Length: 2\r\n\r\n{}",
        POST + b"Content-Length: 2\r\n\r\n{}" + GET, POST + b"Content-Length: 0\r\n\r\n", POST + b"Content-Length: 00002\r\n\r\n{}",
        POST + b"X: y\r\n" * 1000 + b"\r\n",
    ],
)  # fmt: skip
def test_a_request_that_is_here_as_a_whole_needs_nothing(came: bytes) -> None:
    assert RequestReader(came).need() is ReadState.NOTHING


@pytest.mark.parametrize(
    "came",
    [
        b"\r\n\r\n", b"GET / HTTP/1.1\nHost", GET[:-2] + b"X: y\nZ", POST + b"Content-Length: x\r\n\r\n",
        POST + b"Content-Length: 2, 2\r\n\r\n", POST + b"Content-Length: -1\r\n\r\n", POST + b"Content-Length: \xb2\r\n\r\n",
        POST + b"Content-Length: 9\r\nContent-Length: 9\r\n\r\n",
    ],
)  # fmt: skip
def test_what_the_parser_refuses_at_once_is_not_waited_for(came: bytes) -> None:
    assert RequestReader(came).need() is ReadState.NOTHING


@pytest.mark.parametrize(
    "came",
    [
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        POST + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        POST + b"Content-Length: %d\r\n\r\n" % (SMALL_BYTES + 1), POST + b"Content-Length: %s\r\n\r\n" % (b"9" * 5000),
        GET[:20] + b"x" * HEAD_BYTES,
    ],
)  # fmt: skip
def test_what_is_large_or_cannot_be_told_needs_patience(came: bytes) -> None:
    assert RequestReader(came).need() is ReadState.PATIENCE


@given(
    st.sampled_from([GET, POST + b"Content-Length: 300\r\nX: y\r\n\r\n" + b"\r\n\r\n{}" * 50, b"\r\n" + POST + b"\r\n"]),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_however_it_is_cut_a_request_is_whole_with_its_last_byte(request: bytes, cuts: list[int]) -> None:
    reader = RequestReader()
    ends = [*sorted({min(cut, len(request) - 1) for cut in cuts}), len(request)]

    needs = []
    for start, end in zip([0, *ends], ends, strict=False):
        reader.came += request[start:end]
        needs.append(reader.need())

    assert needs == [ReadState.MORE] * (len(ends) - 1) + [ReadState.NOTHING]


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda tail: POST + tail + b"\r\n\r\n"))
def test_any_bytes_have_an_answer(came: bytes) -> None:
    assert RequestReader(came).need() in ReadState


def test_reading_never_waits(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    reader = RequestReader()

    needs = [reader.read(ours)]
    for piece in (GET[:10], GET[10:]):
        theirs.sendall(piece)
        needs.append(reader.read(ours))

    assert needs == [ReadState.MORE, ReadState.MORE, ReadState.NOTHING]


def test_what_is_behind_a_whole_request_stays_in_its_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(GET * 3)
    reader = RequestReader(GET + GET[:9])

    assert reader.read(ours) is ReadState.NOTHING
    assert reader.came == GET + GET[:9]
    assert ours.recv(1 << 16) == GET * 3


def test_an_end_in_the_middle_is_for_the_parser_to_tell(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(GET[:10])
    reader = RequestReader()
    reader.read(ours)
    theirs.close()

    assert reader.read(ours) is ReadState.NOTHING
    assert reader.came == GET[:10]
