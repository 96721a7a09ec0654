"""When a request has come: as soon as a thread can go on with it without waiting for its client."""

from __future__ import annotations

import pytest

from api.incoming import AHEAD_BYTES, Incoming

HEAD = b"POST /a HTTP/1.1\r\nHost: h\r\n"
MOST = 1_000_000


def ready_after(*pieces: bytes) -> int:
    """After which of the pieces it was ready first; 0 for never."""
    incoming = Incoming(most_body_bytes=MOST)
    ready = [incoming.add(piece) for piece in pieces]
    assert incoming.data == b"".join(pieces)
    return ready.index(True) + 1 if True in ready else 0


@pytest.mark.parametrize(
    ("pieces", "after"),
    [
        ([b"GET / HTTP/1.1\r\n\r\n"], 1), ([b"GET / HTTP/1.0\r\nA: b\r", b"\n\r\n"], 2), ([b"G", b"ET / HTTP/1.1\r", b"\n"], 0),
        ([HEAD + b"Content-Length: 3\r\n\r\nab", b"c"], 2), ([HEAD + b"content-length:3 \r\n", b"\r\n", b"abcdef"], 3),
        ([HEAD + b"Content-Length: 0\r\n\r\n"], 1), ([HEAD + b"\r\nContent-Length: 9\r\n\r\n"], 1),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n"], 1), ([HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"], 1),
        ([HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n"], 1), ([HEAD + b"Content-Length: -1\r\n\r\n"], 1),
        ([HEAD + b"Content-Length: 1000001\r\n\r\n"], 1), ([HEAD + b"Content-Length: 99999999999\r\n\r\n"], 1),
        ([HEAD + b"Content-Length: 1000000\r\n\r\n", b"x" * (AHEAD_BYTES - 100), b"x" * 100], 3),
        ([b"nonsense\r\n"], 1), ([b"GET / HTTP/1.1\n"], 1), ([b"\r\nGET / HTTP/1.1\r\n\r\n"], 1), ([b"PRI * HTTP/2.0\r\n"], 1),
        ([b"GET /" + b"a" * AHEAD_BYTES], 1),
    ],
)  # fmt: skip
def test_a_request_is_ready_when_nobody_must_wait_for_it(pieces: list[bytes], after: int) -> None:
    assert ready_after(*pieces) == after
