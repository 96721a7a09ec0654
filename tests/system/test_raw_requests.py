"""The front itself refuses malformed HTTP: in JSON, at once, and the next request is answered."""

from __future__ import annotations

import json
import socket

import pytest

from tests.support.system import Jobyard
from tests.support.waiting import LIMIT_S

POST = b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GET = b"GET /jobs HTTP/1.1\r\nHost: localhost\r\n"
MIB = 1 << 20


def send(jobyard: Jobyard, request: bytes, *, half_close: bool = False) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the first answer."""
    with socket.create_connection(("127.0.0.1", jobyard.port()), timeout=LIMIT_S) as client:
        client.sendall(request)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb")
        status = int(answer.readline().split()[1])
        headers = {}
        while line := answer.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return status, headers, answer.read(int(headers["content-length"]))


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"\x00\x01\r\n\r\n", 400, "invalid_request"), (b"GET\r\n\r\n", 400, "invalid_request"),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 400, "invalid_request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "invalid_request"), (b"GET /jobs HTTP/1.1\r\n\r\n", 421, "misdirected_host"),
        (GET + b"Host: evil\r\n\r\n", 400, "invalid_request"), (GET + b"X: y\r\n" * 200 + b"\r\n", 431, "headers_too_large"),
        (GET + b"X: " + b"y" * 10_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "uri_too_long"),
        (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, "invalid_request"),
        (POST + b"Content-Length: -1\r\n\r\n{}", 400, "invalid_request"),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400, "invalid_request"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400, "invalid_request"),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400, "invalid_request"),
        (POST + b"Expect: x\r\nContent-Length: 2\r\n\r\n{}", 417, "expectation_failed"),
        (POST + b"Content-Length: 60000000\r\n\r\n" + b"x" * 1000, 413, "body_too_large"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"100000\r\n" + b"x" * MIB + b"\r\n") * 17, 413, "body_too_large"),
        (b"BREW /jobs HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "method_not_allowed"),
    ],
)  # fmt: skip
def test_a_malformed_request_is_refused_in_json(jobyard: Jobyard, request_bytes: bytes, status: int, code: str) -> None:
    answered, headers, body = send(jobyard, request_bytes)

    assert (answered, headers["content-type"], json.loads(body)["error"]["code"]) == (status, "application/json", code)
    assert body.endswith(b"}\n")
    assert jobyard.get("/jobs?limit=1").status == 200


def test_a_body_that_ends_too_soon_stores_nothing(jobyard: Jobyard) -> None:
    before = jobyard.stats()["components"]

    status, _, _ = send(jobyard, POST + b"Content-Length: 20\r\n\r\n{}", half_close=True)

    accepted = [name for name in before if name.startswith("scheduler")]
    after = jobyard.stats()["components"]
    assert status == 400
    assert [after[name]["jobs_accepted"] for name in accepted] == [before[name]["jobs_accepted"] for name in accepted]


def test_a_chunked_body_and_a_pipelined_request_are_served(jobyard: Jobyard) -> None:
    chunked = send(jobyard, POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    pipelined = send(jobyard, GET + b"\r\n" + GET + b"\r\n")

    assert (chunked[0], pipelined[0]) == (201, 200)
