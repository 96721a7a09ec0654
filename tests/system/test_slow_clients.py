"""Clients that are slow, stay connected or send too much affect no others, and get their answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
from pathlib import Path

import pytest

from tests.support.raw import a_client, crowd, read_answer
from tests.support.system import Jobyard
from tests.support.waiting import LIMIT_S

POST = b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CROWD = 200
"""More than the front's threads."""
ANSWERED = (b"GET\r\n\r\n", POST + b"Content-Length: 60000000\r\n\r\n{", POST + b"Content-Length: 2\r\n\r\n{}" + POST)
"""What is answered at once; these clients stay nevertheless."""
SLOW_READERS = 66
"""Also more than the front's threads; one answer for each of them is less than what may wait."""
REQUESTS = 4
"""Sent together; their answers are more than the kernel keeps for a connection."""
MIB = 1 << 20


def submit_several_times(jobyard: Jobyard) -> None:
    for _ in range(6):
        jobyard.submit()


def still_served(clients: list[socket.socket]) -> list[socket.socket]:
    """Those that have neither an answer nor the end of their connection."""
    answered, _, _ = select.select(clients, [], [], 0)
    return [client for client in clients if client not in answered]


def a_client_with_a_small_window(jobyard: Jobyard) -> socket.socket:
    """So that most of a large answer waits in the front."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(LIMIT_S)
    client.connect(("127.0.0.1", jobyard.port()))
    return client


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"G", POST, POST + b"Content-Length: 9\r\n\r\n{", POST + b"Content-Length: 9000000\r\n\r\n{",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{", *ANSWERED,
    ],
    ids=["first byte", "head", "body", "large body", "chunks", "refused and stays", "too large and stays", "second request"],
)  # fmt: skip
def test_many_clients_with_half_a_request_delay_no_others(small: Jobyard, request_bytes: bytes) -> None:
    with crowd(small, request_bytes, size=CROWD) as clients:
        submit_several_times(small)

        if request_bytes not in ANSWERED:
            assert still_served(clients) == clients, "the others had to wait for their end"


def test_a_request_sent_byte_by_byte_is_served(small: Jobyard) -> None:
    request = POST + b"Content-Length: 2\r\n\r\n{}"
    with a_client(small) as client, client.makefile("rb") as answers:
        for at in range(len(request)):
            client.sendall(request[at : at + 1])
        answer = read_answer(answers)

    assert answer is not None and answer.status == 201


def test_ten_requests_at_once_on_one_connection_are_all_answered_in_order(small: Jobyard) -> None:
    bodies = [json.dumps({"payload": number}).encode() for number in range(10)]
    with a_client(small) as client, client.makefile("rb") as answers:
        client.sendall(b"".join(POST + b"Content-Length: %d\r\n\r\n%s" % (len(body), body) for body in bodies))
        received = [read_answer(answers) for _ in bodies]

    assert [small.job(answer.json["job_id"])["payload"] for answer in received if answer is not None] == list(range(10))


@pytest.mark.parametrize("size", [17 * MIB, 100 * MIB])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_client_that_sends_far_too_much_still_gets_the_answer(small: Jobyard, size: int, is_chunked: bool) -> None:
    piece = b"x" * MIB
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", small.port(), timeout=LIMIT_S)) as client:
        length = {} if is_chunked else {"Content-Length": str(size)}
        headers = {"Content-Type": "application/json"} | length
        client.request("POST", "/api/jobs", (piece for _ in range(size // MIB)), headers, encode_chunked=is_chunked)
        answer = client.getresponse()

        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "body_too_large")


def test_clients_that_disconnect_without_a_request_leave_nothing_behind(small: Jobyard) -> None:
    front = next(name for name in small.processes() if name.startswith("gateway"))
    before = small.pid(front)
    with crowd(small, POST + b"Content-Length: 9\r\n\r\n{", size=CROWD) as clients:
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    submit_several_times(small)
    assert small.pid(front) == before


def test_no_client_delays_a_stop_for_long(tmp_path: Path) -> None:
    requests = (b"", b"G", POST + b"Content-Length: 9\r\n\r\n{", POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n", b"GET\r\n\r\n")
    with Jobyard(tmp_path, SCHEDULERS=1, WATCHERS=1, WORKERS=1) as jobyard, contextlib.ExitStack() as stack:
        for request in requests:
            stack.enter_context(crowd(jobyard, request, size=3))
        submit_several_times(jobyard)

        assert jobyard.stop() == 0
        assert "killed" not in jobyard.output(), "the front ended by itself, and not because the supervisor lost patience"


def test_hundreds_of_idle_and_a_hundred_slow_connections_delay_no_others(small: Jobyard) -> None:
    request = POST + b"Content-Length: 2\r\n\r\n{}"
    with crowd(small, request, size=500) as idle, crowd(small, POST + b"Content-Length: 9\r\n\r\n{", size=100) as slow:
        for client in idle:
            with client.makefile("rb") as answers:
                answer = read_answer(answers)
            assert answer is not None and answer.status == 201

        submit_several_times(small)
        assert still_served([*idle, *slow]) == [*idle, *slow]

        idle[-1].sendall(request)  # the connection stays open and is served again
        with idle[-1].makefile("rb") as answers:
            again = read_answer(answers)
        assert again is not None and again.status == 201


def test_clients_that_do_not_read_their_answers_hold_no_thread_and_get_them_whole_when_they_do(small: Jobyard) -> None:
    ids = [small.submit("x" * 900_000, queue="unread", delay_s=3600)]
    request = b"GET /jobs?queue=unread HTTP/1.1\r\nHost: localhost\r\n\r\n"

    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(a_client_with_a_small_window(small)) for _ in range(SLOW_READERS)]
        for reader in readers:
            reader.sendall(REQUESTS * request)

        for _ in range(REQUESTS):
            assert small.get("/jobs?queue=unread").status == 200
            small.submit()

        for reader in readers:
            with reader.makefile("rb") as answers:
                read = [read_answer(answers) for _ in range(REQUESTS)]
            assert all(answer is not None and [job["job_id"] for job in answer.json] == ids for answer in read)
