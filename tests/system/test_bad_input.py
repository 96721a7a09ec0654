"""What clients must not send, against a running system: each is refused in the documented form, stores nothing, and is in nobody's
way. What stands exactly at a bound is taken."""

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
    """They wait for their answers while everything else is tested."""
    with contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(a_client(small)) for name in SLOW}
        for name, request in SLOW.items():
            clients[name].sendall(request)
        yield clients


@pytest.fixture(autouse=True)
def another_byte(slow_clients: Mapping[str, socket.socket]) -> None:
    """One of them goes on, until it is answered."""
    client = slow_clients["a head byte by byte"]
    if not select.select([client], [], [], 0)[0]:
        client.sendall(b"y")


def is_taken_by_the_express(request: bytes) -> bool:
    reader = RequestReader(request)
    reader.need()
    apart = reader.apart()
    return apart is not None and Heads(Config()).read(apart[0]) is not None


BOTH_WAYS = {
    name: (request, port)
    for name, request, port in (
        *((name.encode("ascii", "backslashreplace").decode(), row.request, row.port) for name, row in TABLE.items()),
        *((name, request, 8080) for name, (request, _) in TAKEN.items()),
        *((kind, post(body, kind, headers=more), port) for kind, port in ((JOBS, 8080), (SCHEDULE, 8082)) for body, more in (
            ("{}", ""), ('{"delay_s":9999}', f"Authorization: Bearer x\r\nUser-Agent: {'y' * 2000}\r\n"), ("[", ""),
        )),
    )
    if request.startswith((b"POST /api/jobs HTTP/1.1\r\n", b"POST /schedule HTTP/1.1\r\n")) and len(request) < SMALL
    and b"idempotency_key" not in request and b"Idempotency-Key: k" not in request and is_taken_by_the_express(request)
}  # fmt: skip
"""Good and bad."""


def jobs_stored(jobyard: Jobyard) -> int:
    return sum(jobyard.stats()["jobs"].values())


def error_of(answer: Answer | None) -> tuple[int, str, str | None]:
    """Of an answer in the form that every error has."""
    assert answer is not None, "no answer"
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json) == {"error"} and set(answer.json["error"]) == {"code", "message", "field"}
    error = answer.json["error"]
    assert 0 < len(error["message"]) < 1000 and "Traceback" not in error["message"]
    return answer.status, error["code"], error["field"]


@pytest.mark.parametrize("row", TABLE.values(), ids=[name.encode("ascii", "backslashreplace").decode() for name in TABLE])
def test_it_is_refused_and_nothing_is_stored(small: Jobyard, row: Row) -> None:
    before = jobs_stored(small)

    answer = exchange(small, row.request, port=row.port, is_all=row.is_all)

    assert error_of(answer) == (row.status, row.code, row.field)
    assert jobs_stored(small) == before
    assert small.get("/jobs?limit=1").status == 200


@pytest.mark.parametrize(("request_bytes", "count"), TAKEN.values(), ids=list(TAKEN))
def test_what_stands_at_a_bound_is_taken(small: Jobyard, request_bytes: bytes, count: int) -> None:
    before = jobs_stored(small)

    answer = exchange(small, request_bytes)

    assert answer is not None and answer.status == 201, answer
    assert jobs_stored(small) == before + count


@pytest.mark.parametrize(("request_bytes", "port"), BOTH_WAYS.values(), ids=list(BOTH_WAYS))
def test_the_express_and_the_long_way_answer_the_same(small: Jobyard, request_bytes: bytes, port: int) -> None:
    """Of two requests that come at once the first goes the long way, as another one is behind it."""
    with a_client(small, port) as client, client.makefile("rb") as answers:
        client.sendall(request_bytes * 2)
        told = [read_answer(answers) for _ in range(2)]

    long, fast_path = (without_what_differs(answer) for answer in told)
    assert long == fast_path


def without_what_differs(answer: Answer | None) -> tuple[int, dict[str, str], bytes]:
    """Each is told when, and has an id of its own."""
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


def test_the_rest_of_a_damaged_body_is_no_request(small: Jobyard) -> None:
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


def test_a_bad_request_between_good_ones_on_one_connection_costs_them_nothing(small: Jobyard) -> None:
    before = jobs_stored(small)
    with a_client(small) as client, client.makefile("rb") as answers:
        client.sendall(post("{}") + post("{") + head("PUT /jobs") + post("{}") + b"GET\r\n\r\n" + post("{}"))
        told = [read_answer(answers) for _ in range(5)]
        with contextlib.suppress(OSError):
            assert answers.read() == b""

    assert [answer.status for answer in told if answer is not None] == [201, 400, 405, 201, 400]
    assert jobs_stored(small) == before + 2


def test_head_has_no_body_also_where_it_is_refused(small: Jobyard) -> None:
    with a_client(small) as client, client.makefile("rb") as answers:
        client.sendall(head("HEAD /nothing") + head("HEAD /jobs?x=1") + head("HEAD /jobs?limit=1", "Connection: close\r\n"))
        told = [read_answer(answers, has_body=False) for _ in range(3)]

        assert [answer.status for answer in told if answer is not None] == [404, 400, 200]
        assert answers.read() == b""


@pytest.mark.parametrize("name", SLOW)
def test_who_is_too_slow_is_told_so_and_stores_nothing(
    small: Jobyard, slow_clients: Mapping[str, socket.socket], name: str
) -> None:  # fmt: skip
    before = jobs_stored(small)

    with slow_clients[name].makefile("rb") as answers:
        assert error_of(read_answer(answers)) == (408, "request_timeout", None)
        with contextlib.suppress(OSError):
            assert answers.read() == b""
    assert jobs_stored(small) == before
