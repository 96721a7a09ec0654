"""Bad requests against a running system: each is refused in the documented form, stores nothing and affects no other client.
Values exactly at a bound are accepted."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator, Mapping

import pytest
from gunicorn.config import Config

from jobyard.api.front.http_heads import Heads
from jobyard.api.front.request_reader import RequestReader
from jobyard.api.http.request_metrics import HEADER
from tests.support.raw import a_client, exchange, read_answer
from tests.support.system import Answer, Jobyard
from tests.system.bad_requests import JOBS, SCHEDULE, SLOW, TABLE, TAKEN, Row, chunked, head, post

SMALL = 4096


@pytest.fixture(scope="module", autouse=True)
def slow_clients(small: Jobyard) -> Iterator[Mapping[str, socket.socket]]:
    """Clients with unfinished requests, which stay connected during all other tests."""
    with contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(a_client(small)) for name in SLOW}
        for name, request in SLOW.items():
            clients[name].sendall(request)
        yield clients


@pytest.fixture(autouse=True)
def trickle(slow_clients: Mapping[str, socket.socket]) -> None:
    """One of the slow clients sends another byte, until it is answered."""
    client = slow_clients["a head byte by byte"]
    if not select.select([client], [], [], 0)[0]:
        client.sendall(b"y")


def takes_the_fast_path(request: bytes) -> bool:
    reader = RequestReader(request)
    reader.state()
    parts = reader.split()
    return parts is not None and Heads(Config()).read(parts[0]) is not None


BOTH_PATHS = {
    name: (request, port)
    for name, request, port in (
        *((name.encode("ascii", "backslashreplace").decode(), row.request, row.port) for name, row in TABLE.items()),
        *((name, request, 8080) for name, (request, _) in TAKEN.items()),
        *((kind, post(body, kind, headers=more), port) for kind, port in ((JOBS, 8080), (SCHEDULE, 8082)) for body, more in (
            ("{}", ""), ('{"delay_s":9999}', f"Authorization: Bearer x\r\nUser-Agent: {'y' * 2000}\r\n"), ("[", ""),
        )),
    )
    if request.startswith((b"POST /api/jobs HTTP/1.1\r\n", b"POST /schedule HTTP/1.1\r\n")) and len(request) < SMALL
    and b"idempotency_key" not in request and b"Idempotency-Key: k" not in request and takes_the_fast_path(request)
}  # fmt: skip
"""Valid and invalid submissions that both paths can take."""


def jobs_stored(jobyard: Jobyard) -> int:
    return sum(jobyard.stats()["jobs"].values())


def error_of(answer: Answer | None) -> tuple[int, str, str | None]:
    """Status, code and field of an error answer."""
    assert answer is not None, "no answer"
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json) == {"error"} and set(answer.json["error"]) == {"code", "message", "field"}
    error = answer.json["error"]
    assert 0 < len(error["message"]) < 1000 and "Traceback" not in error["message"]
    return answer.status, error["code"], error["field"]


@pytest.mark.parametrize("row", TABLE.values(), ids=[name.encode("ascii", "backslashreplace").decode() for name in TABLE])
def test_a_bad_request_is_refused_and_stores_nothing(small: Jobyard, row: Row) -> None:
    before = jobs_stored(small)

    answer = exchange(small, row.request, port=row.port, half_close=row.half_close)

    assert error_of(answer) == (row.status, row.code, row.field)
    assert jobs_stored(small) == before
    assert small.get("/jobs?limit=1").status == 200


@pytest.mark.parametrize(("request_bytes", "count"), TAKEN.values(), ids=list(TAKEN))
def test_a_value_at_its_bound_is_accepted(small: Jobyard, request_bytes: bytes, count: int) -> None:
    before = jobs_stored(small)

    answer = exchange(small, request_bytes)

    assert answer is not None and answer.status == 201, answer
    assert jobs_stored(small) == before + count


@pytest.mark.parametrize(("request_bytes", "port"), BOTH_PATHS.values(), ids=list(BOTH_PATHS))
def test_the_fast_path_and_the_app_answer_the_same(small: Jobyard, request_bytes: bytes, port: int) -> None:
    """Of two pipelined requests the first does not take the fast path, because another one follows it."""
    with a_client(small, port) as client, client.makefile("rb") as answers:
        client.sendall(request_bytes * 2)
        received = [read_answer(answers) for _ in range(2)]

    long, fast_path = (without_date_and_id(answer) for answer in received)
    assert long == fast_path


def without_date_and_id(answer: Answer | None) -> tuple[int, dict[str, str], bytes]:
    """The answer without its Date and X-Request-ID headers, which differ every time."""
    assert answer is not None
    job_id = answer.json.get("job_id", "no job")
    headers = {name: value.replace(job_id, "ID") for name, value in answer.headers.items()}
    same = headers | {"Date": "a date", HEADER: "an id"}
    assert set(same) == set(headers)
    return answer.status, same, answer.body.replace(job_id.encode(), b"ID")


@pytest.mark.parametrize("limit", [1, 1000])
def test_a_limit_at_its_bound_is_served(small: Jobyard, limit: int) -> None:
    small.submit()

    assert 1 <= len(small.get(f"/jobs?limit={limit}").json) <= limit


def test_the_rest_of_a_malformed_body_is_not_read_as_a_request(small: Jobyard) -> None:
    before = jobs_stored(small)
    with a_client(small) as client, client.makefile("rb") as answers:
        client.sendall(chunked(b"zz\r\n"))
        refused = read_answer(answers)
        with contextlib.suppress(OSError):
            client.sendall(post("{}"))
        with contextlib.suppress(OSError):
            assert read_answer(answers) is None

    assert error_of(refused)[:2] == (400, "invalid_request")
    assert jobs_stored(small) == before


def test_a_bad_request_does_not_affect_others_on_its_connection(small: Jobyard) -> None:
    before = jobs_stored(small)
    with a_client(small) as client, client.makefile("rb") as answers:
        client.sendall(post("{}") + post("{") + head("PUT /jobs") + post("{}") + b"GET\r\n\r\n" + post("{}"))
        received = [read_answer(answers) for _ in range(5)]
        with contextlib.suppress(OSError):
            assert answers.read() == b""

    assert [answer.status for answer in received if answer is not None] == [201, 400, 405, 201, 400]
    assert jobs_stored(small) == before + 2


def test_a_refused_head_request_gets_no_body(small: Jobyard) -> None:
    with a_client(small) as client, client.makefile("rb") as answers:
        client.sendall(head("HEAD /nothing") + head("HEAD /jobs?x=1") + head("HEAD /jobs?limit=1", "Connection: close\r\n"))
        received = [read_answer(answers, has_body=False) for _ in range(3)]

        assert [answer.status for answer in received if answer is not None] == [404, 400, 200]
        assert answers.read() == b""


@pytest.mark.parametrize("name", SLOW)
def test_a_client_that_is_too_slow_gets_a_408_and_stores_nothing(
    small: Jobyard, slow_clients: Mapping[str, socket.socket], name: str
) -> None:  # fmt: skip
    before = jobs_stored(small)

    with slow_clients[name].makefile("rb") as answers:
        assert error_of(read_answer(answers)) == (408, "request_timeout", None)
        with contextlib.suppress(OSError):
            assert answers.read() == b""
    assert jobs_stored(small) == before
