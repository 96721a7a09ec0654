"""Every answer on every port has its request's id, whichever part of the program made it."""

from __future__ import annotations

import pytest

from tests.support.raw import exchange
from tests.support.system import Jobyard

ID = "check-4711"
MINE = {"X-Request-ID": ID}
POST = b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-ID: check-4711\r\n"
KIB = 1 << 10


@pytest.mark.parametrize("port", [8080, 8081, 9001, 6000, 7001])
@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/stats", 200), ("/nothing", 404), ("/stats?x=1", 400)])
def test_an_answer_of_an_app_has_the_request_id(small: Jobyard, port: int, path: str, status: int) -> None:
    mine, theirs = small.ask("GET", path, port=port, headers=MINE), small.get(path, port=port)

    assert (mine.status, mine.headers["X-Request-ID"]) == (status, ID)
    assert theirs.headers["X-Request-ID"] not in (ID, small.get(path, port=port).headers["X-Request-ID"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/jobs", {}, 201), ("POST", "/api/jobs", {"priority": 77}, 400), ("POST", "/api/jobs", b"{", 400),
        ("POST", "/api/jobs/batch", {"jobs": [{}]}, 201), ("GET", "/openapi.json", None, 200), ("GET", "/ui/app.js", None, 200),
        ("DELETE", "/jobs", None, 405),
        ("GET", f"/job?job_id={'f' * 24}&wait_s=0.1", None, 404),
        ("POST", f"/api/jobs/{'f' * 24}/cancel", None, 404), ("GET", "/metrics", None, 200),
    ],
)  # fmt: skip
def test_every_way_of_answering_returns_the_request_id(
    small: Jobyard, method: str, path: str, body: object, status: int
) -> None:  # fmt: skip
    answer = small.ask(method, path, body, headers=MINE)

    assert (answer.status, answer.headers["X-Request-ID"]) == (status, ID)


def test_an_invalid_id_is_replaced(small: Jobyard) -> None:
    for given in ("a b", "x" * 129, "é", '"'):
        answer = small.ask("POST", "/api/jobs", {}, headers={"X-Request-ID": given})

        assert answer.status == 201 and answer.headers["X-Request-ID"].isascii() and answer.headers["X-Request-ID"] != given


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x00\x01\r\n\r\n", 400), (b"GET /" + b"a" * 9 * KIB + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (POST + b"Content-Length: -1\r\n\r\n{}", 400), (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
        (POST + b"Expect: x\r\nContent-Length: 2\r\n\r\n{}", 417),
    ],
)  # fmt: skip
def test_a_request_refused_before_any_app_has_an_id(small: Jobyard, request_bytes: bytes, status: int) -> None:
    first, second = exchange(small, request_bytes), exchange(small, request_bytes)

    assert first is not None and second is not None
    assert (first.status, second.status) == (status, status)
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]


def test_the_answer_after_a_wait_has_the_request_id(small: Jobyard) -> None:
    job_id = small.submit(delay_s=60)

    answer = small.ask("GET", f"/api/jobs/{job_id}?wait_s=0.1", headers=MINE)

    assert (answer.status, answer.json["status"], answer.headers["X-Request-ID"]) == (200, "pending", ID)
