"""The load generator against a server with prepared answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.bench.load import Generator, Load, LoadResult
from tests.support.waiting import LIMIT_S

CREATED = b"HTTP/1.1 201 CREATED\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 BUSY\r\ncontent-length: 0\r\n\r\n"
LAST = b"HTTP/1.1 201 CREATED\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"


@contextmanager
def server(answer: Callable[[int], bytes]) -> Iterator[int]:
    """The server's port. `answer`: gets the number of the request; an empty answer closes the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    answered = iter(range(1_000_000))

    def converse(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                said = answer(next(answered))
                if not said:
                    return
                for part in (said[:30], said[30:]):
                    connection.sendall(part)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=converse, args=(connection,), daemon=True).start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(LIMIT_S)


def load(answer: Callable[[int], bytes], *, requests: int = 20, connections: int = 3) -> LoadResult:
    with server(answer) as port:
        return Generator(Load(port=port, path="/", body="{}", requests=requests, connections=connections, within_s=LIMIT_S)).run()


def test_every_request_is_answered_once() -> None:
    sent = load(lambda number: CREATED)

    assert (sent.accepted, len(sent.waits_ms), sent.note) == (20, 20, "")
    assert sent.seconds > 0


def test_fewer_requests_than_connections_are_enough() -> None:
    assert load(lambda number: CREATED, requests=1, connections=3).accepted == 1


def test_a_refused_request_is_counted_and_sent_again() -> None:
    sent = load(lambda number: BUSY if number in (3, 4) else CREATED)

    assert (sent.accepted, sent.note) == (20, "2 answers 503")


@pytest.mark.parametrize(("answer", "note"), [(b"", "1 connections broken"), (LAST, "")])
def test_a_closed_connection_is_opened_again(answer: bytes, note: str) -> None:
    sent = load(lambda number: answer if number == 5 else CREATED)

    assert (sent.accepted, sent.note) == (20, note)
