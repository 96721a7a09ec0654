"""Clients that idle, drip, stall or never leave cost nobody else a thread, a connection or time."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.front import ANSWER, GET, Front, is_closed, read_answer
from tests.support.waiting import wait_for

POST = b"POST /a HTTP/1.1\r\nHost: localhost\r\n"
MakeFront = Callable[..., Front]


@pytest.fixture
def front_with() -> Iterator[MakeFront]:
    with contextlib.ExitStack() as fronts:

        def make(**asked: Any) -> Front:
            front = Front(**asked)
            fronts.callback(front.close)
            return front

        yield make


def test_requests_are_answered_one_after_the_other_on_a_connection(front_with: MakeFront) -> None:
    client = front_with().connect()
    told = []

    for body in (b"1", b"22", b""):
        client.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        told.append(read_answer(client))

    assert told == [b"1", b"22", ANSWER]


def test_a_request_that_comes_in_pieces_is_answered_when_it_is_there(front_with: MakeFront) -> None:
    front = front_with()
    client = front.connect()

    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in POST + b"Content-Length: 3\r\n\r\nabc":
        client.sendall(bytes([byte]))

    assert read_answer(client) == b"abc"


@pytest.mark.parametrize("size", [1, 100_000, 3 << 20])
@pytest.mark.parametrize("head", [b"Content-Length: %d\r\n\r\n%b", b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"])
def test_bodies_of_any_size_and_form_arrive_whole(front_with: MakeFront, size: int, head: bytes) -> None:
    front = front_with()
    body = b"x" * size

    client = front.connect(POST + head % (size, body))

    assert read_answer(client) == body


def test_pipelined_requests_are_all_answered(front_with: MakeFront) -> None:
    client = front_with().connect(GET * 3)
    told = b""

    while told.count(ANSWER) < 3:
        told += client.recv(1 << 16)

    assert told.count(b"HTTP/1.1 200") == 3


def test_a_client_that_half_closes_behind_its_request_is_answered(front_with: MakeFront) -> None:
    client = front_with().connect(GET)
    client.shutdown(socket.SHUT_WR)

    assert read_answer(client) == ANSWER


def test_what_is_no_request_is_told_so_at_once(front_with: MakeFront) -> None:
    client = front_with().connect(b"nonsense\r\n")

    assert b"invalid_request" in read_answer(client)
    assert is_closed(client)


# ---- clients that take their time


def test_many_that_send_a_request_without_ever_ending_it_take_no_thread(front_with: MakeFront) -> None:
    front = front_with(threads=2)
    for sent in (b"P", POST, POST + b"Content-Length: 9\r\n\r\n1234"):
        for _ in range(10):
            front.connect(sent)
    wait_for(lambda: len(front.worker._coming) == 30, told="the beginnings of all 30")

    assert front.get() == ANSWER


def test_whoever_does_not_end_a_request_in_time_is_closed(front_with: MakeFront) -> None:
    front = front_with(coming_s=0.1)

    assert is_closed(front.connect(POST))
    assert front.get() == ANSWER


def test_whoever_drips_into_a_large_body_loses_the_thread_when_the_time_is_up(front_with: MakeFront) -> None:
    front = front_with(threads=1, served_s=0.3)
    dripping = front.connect(POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 70_000)
    wait_for(lambda: front.worker._served, told="a thread for it")
    end = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not end.wait(0.01):
                dripping.sendall(b"x")

    dripper = threading.Thread(target=drip)
    dripper.start()
    try:
        assert front.get() == ANSWER
    finally:
        end.set()
        dripper.join()


def test_whoever_does_not_read_its_answer_loses_the_thread_when_the_time_is_up(front_with: MakeFront) -> None:
    def much(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body = ANSWER if environ["PATH_INFO"] == "/a" else b"x" * (64 << 20)
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    front = front_with(app=much, threads=1, served_s=0.3)
    front.connect(GET.replace(b"/a", b"/much"))

    assert front.get() == ANSWER


def test_whoever_never_sends_a_byte_is_closed(front_with: MakeFront) -> None:
    assert is_closed(front_with(first_byte_s=0.1).connect())


def test_whoever_does_not_close_after_the_last_answer_holds_nobody_up(front_with: MakeFront) -> None:
    """gunicorn waits two seconds for it in its only loop."""
    front = front_with(leaving_s=3.0)
    last = [front.connect(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) for _ in range(3)]
    told = [read_answer(client) for client in last]
    began = time.monotonic()

    assert (told, front.get()) == ([ANSWER] * 3, ANSWER)
    assert time.monotonic() - began < 1


def test_whoever_does_not_close_after_the_last_answer_is_closed(front_with: MakeFront) -> None:
    front = front_with(leaving_s=0.1)
    client = front.connect(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    read_answer(client)

    wait_for(lambda: front.worker.nr_conns == 0, told="its end")


# ---- more of them than there is room for


def test_idle_connections_make_room_for_others(front_with: MakeFront) -> None:
    front = front_with(threads=2, connections=10)
    kept = [front.connect(GET) for _ in range(5)]
    told = [read_answer(client) for client in kept]
    new = [front.connect() for _ in range(50)]

    assert told == [ANSWER] * 5
    assert [front.get() for _ in range(3)] == [ANSWER] * 3
    assert front.worker.nr_conns <= 10
    assert len(new) == 50


def test_beginnings_of_requests_make_room_for_others(front_with: MakeFront) -> None:
    front = front_with(threads=2, connections=10)
    for _ in range(50):
        front.connect(POST)

    assert front.get() == ANSWER


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """As long as it lasts, none can be opened unless another is closed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(name) for name in os.listdir("/proc/self/fd")) + 8, hard))
    with contextlib.ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with contextlib.suppress(OSError):
            while True:
                opened.callback(os.close, os.dup(0))
        yield


def test_without_a_descriptor_an_idle_connection_makes_room_and_the_loop_does_not_spin(front_with: MakeFront) -> None:
    front = front_with()
    kept = front.connect(GET)
    read_answer(kept)
    with socket.socket() as client, no_descriptor_left():
        client.settimeout(10)
        client.connect(front.listener.getsockname())
        client.sendall(GET)
        told = read_answer(client)

    assert told == ANSWER
    assert is_closed(kept)


def test_without_a_descriptor_and_without_anybody_idle_the_loop_does_not_spin(front_with: MakeFront) -> None:
    front = front_with()
    with socket.socket() as client, no_descriptor_left():
        client.settimeout(0.5)
        client.connect(front.listener.getsockname())
        client.sendall(GET)
        used_s = time.process_time()
        with pytest.raises(TimeoutError):
            client.recv(1)
        used_s = time.process_time() - used_s

    assert used_s < 0.2
    assert front.get() == ANSWER


# ---- leaving


def test_idle_connections_do_not_hold_up_a_stop(front_with: MakeFront) -> None:
    front = front_with()
    front.connect()
    front.connect(POST)
    wait_for(lambda: front.worker._coming and front.worker.pending_conns, told="both")
    began = time.monotonic()

    front.stop()

    assert time.monotonic() - began < 1.5


def test_a_request_that_is_being_served_is_answered_before_a_stop(front_with: MakeFront) -> None:
    go_on, has_begun = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        has_begun.set()
        go_on.wait(10)
        start_response("200 OK", [("Content-Length", "4")])
        return [ANSWER]

    front = front_with(app=slow)
    client = front.connect(GET)
    has_begun.wait(10)
    stopping = threading.Thread(target=front.stop)
    stopping.start()
    go_on.set()

    assert read_answer(client) == ANSWER
    stopping.join()
