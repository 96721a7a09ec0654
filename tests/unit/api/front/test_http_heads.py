"""The fast path reads heads and writes responses as gunicorn does."""

from __future__ import annotations

import pytest
from gunicorn.config import Config

from jobyard.api.front.http_heads import MAX_CACHED_BYTES, Heads, answer_bytes
from jobyard.api.http.reply import value_reply

LINE = b"POST /api/jobs HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"


@pytest.fixture
def heads() -> Heads:
    return Heads(Config())


def test_a_head_becomes_a_wsgi_environment(heads: Heads) -> None:
    environ = heads.read(LINE + HOST + b"Content-Type: application/json\r\ncontent-length:\t2\r\nIdempotency-Key: \xff\r\n\r\n")

    assert environ is not None
    assert {name: environ[name] for name in environ if not name.startswith("SERVER")} == {
        "REQUEST_METHOD": "POST", "RAW_URI": "/api/jobs", "PATH_INFO": "/api/jobs", "QUERY_STRING": "", "SCRIPT_NAME": "",
        "HTTP_HOST": "localhost", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "2", "HTTP_IDEMPOTENCY_KEY": "\xff",
    }  # fmt: skip


@pytest.mark.parametrize(
    "lines",
    [
        b"Connection: close\r\n", b"X: y\r\nX: y\r\n", b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n", b"Host: evil\r\n",
        b"no colon\r\n", b"X Y: z\r\n", b"X: \0\r\n", b"X: y\r\n z\r\n", b"Content-Length: two\r\n", b"Expect: cake\r\n",
        b"Transfer-Encoding: gzip\r\n", b"X: " + b"y" * 9000 + b"\r\n",
    ],
)  # fmt: skip
def test_a_malformed_head_or_one_that_closes_the_connection_is_left_to_gunicorn(heads: Heads, lines: bytes) -> None:
    assert heads.read(LINE + HOST + lines + b"\r\n") is None


def test_similar_heads_are_not_confused(heads: Heads) -> None:
    for key in ("a", "b", "a", "x" * MAX_CACHED_BYTES):
        environ = heads.read(LINE + HOST + f"Idempotency-Key: {key}\r\n\r\n".encode())
        assert environ is not None and environ["HTTP_IDEMPOTENCY_KEY"] == key


def test_a_response_has_its_status_headers_and_body() -> None:
    head, _, body = answer_bytes(value_reply({"a": 1}, 201, {"Location": "/x"}), at_s=0).partition(b"\r\n\r\n")

    lines = head.decode().split("\r\n")
    assert (lines[0], body) == ("HTTP/1.1 201 CREATED", b'{"a":1}\n')
    assert {"Connection: keep-alive", "Location: /x", "Content-Length: 8", "Cache-Control: no-store"} <= set(lines)
    assert "Date: Thu, 01 Jan 1970 00:00:00 GMT" in lines
