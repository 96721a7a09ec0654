"""Clients that wait for a job's end: answered soon after it, without affecting others, even by a front that stops."""

from __future__ import annotations

import select
import socket
import time
from pathlib import Path

import psutil

from tests.support.raw import a_client, crowd, read_answer
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

CROWD = 200
"""More than the front's threads."""
NEVER_S = 3600


def asks(job_id: str, wait_s: float, more: str = "") -> bytes:
    return f"GET /job?job_id={job_id}&wait_s={wait_s} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()


def answers_of(clients: list[socket.socket]) -> list[tuple[int, str]]:
    """The HTTP status of each client's next answer, and the status of the job in it."""
    received = []
    for client in clients:
        with client.makefile("rb", buffering=0) as answers:
            answer = read_answer(answers)  # type: ignore[arg-type]
            assert answer is not None
            received.append((answer.status, str(answer.json["status"])))
    return received


def has_answer(client: socket.socket) -> bool:
    """Whether an answer, or the end of the connection, has arrived."""
    return bool(select.select([client], [], [], 0)[0])


def connections(jobyard: Jobyard) -> int:
    """The number of client connections to the front."""
    (http,) = psutil.Process(jobyard.pid("gateway-8080")).children()
    return sum(one.status == psutil.CONN_ESTABLISHED for one in http.net_connections("tcp"))


def test_the_answer_arrives_with_the_end_and_not_when_the_time_is_up(jobyard: Jobyard) -> None:
    never_ends, ends = jobyard.submit(delay_s=NEVER_S), jobyard.submit(delay_s=0.2)
    with a_client(jobyard) as patient, a_client(jobyard) as client:
        patient.sendall(asks(never_ends, 60))
        client.sendall(asks(ends, 60))

        assert answers_of([client]) == [(200, "completed")]
        assert not has_answer(patient)


def test_when_the_time_is_up_the_answer_is_the_job_as_it_is(small: Jobyard) -> None:
    job_id = small.submit(delay_s=NEVER_S)
    began = time.monotonic()

    job = small.get(f"/api/jobs/{job_id}?wait_s=0.3").json

    assert job["status"] == "pending"
    assert time.monotonic() - began >= 0.3


def test_many_waiting_clients_delay_no_others_and_are_answered_at_once(small: Jobyard) -> None:
    job_id = small.submit(delay_s=NEVER_S)
    with crowd(small, asks(job_id, 60), size=CROWD) as clients:
        for _ in range(5):
            small.submit(delay_s=NEVER_S)
            small.get("/api/jobs/count")
        assert not any(map(has_answer, clients)), "they still wait"

        small.ask("POST", f"/api/jobs/{job_id}/cancel")

        assert answers_of(clients) == [(200, "cancelled")] * CROWD


def test_a_connection_is_reused_after_a_wait_even_with_a_pipelined_request(small: Jobyard) -> None:
    job_id = small.submit(delay_s=NEVER_S)
    with a_client(small) as client:
        client.sendall(asks(job_id, 0.3) + asks(job_id, 0) + asks(job_id, 0.1, "Connection: close\r\n"))

        assert answers_of([client]) == answers_of([client]) == answers_of([client]) == [(200, "pending")]
        assert client.recv(1) == b""


def test_a_client_that_disconnects_frees_its_place(small: Jobyard) -> None:
    job_id = small.submit(delay_s=NEVER_S)

    with crowd(small, asks(job_id, 60), size=20):
        wait_for(lambda: connections(small) >= 20, told="the clients' connections")

    wait_for(lambda: connections(small) < 20, told="their end")


def test_a_stopping_front_answers_all_waiting_clients(tmp_path: Path) -> None:
    with Jobyard(tmp_path, SCHEDULERS=1, WATCHERS=1, WORKERS=1, CONCURRENCY=1) as jobyard:
        job_id = jobyard.submit(delay_s=NEVER_S)
        with crowd(jobyard, asks(job_id, 60), size=20) as clients:
            jobyard.job(job_id)  # answered after the front has read what arrived before
            jobyard.stop()

            assert answers_of(clients) == [(200, "pending")] * 20
