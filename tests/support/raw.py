"""HTTP as bytes, for requests that no HTTP library would send."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import BinaryIO

from tests.support.system import Answer, Jobyard
from tests.support.waiting import LIMIT_S


@contextlib.contextmanager
def crowd(jobyard: Jobyard, request: bytes, *, size: int) -> Iterator[list[socket.socket]]:
    """This many clients, which have sent the request and keep their connections open."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(a_client(jobyard)) for _ in range(size)]
        for client in clients:
            client.sendall(request)
        yield clients


def a_client(jobyard: Jobyard, port: int = 8080) -> socket.socket:
    """A connection to a documented port."""
    client = socket.create_connection(("127.0.0.1", jobyard.port(port)), timeout=LIMIT_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def exchange(jobyard: Jobyard, request: bytes, *, port: int = 8080, half_close: bool = False) -> Answer | None:
    """The first answer to the request; None when the connection ends without one. `half_close`: end the sending side."""
    with a_client(jobyard, port) as client, client.makefile("rb") as answers:
        with contextlib.suppress(OSError):  # refused before it was sent completely: the answer says why
            client.sendall(request)
            if half_close:
                client.shutdown(socket.SHUT_WR)
        return read_answer(answers, has_body=not request.startswith(b"HEAD"))


def read_answer(answers: BinaryIO, *, has_body: bool = True) -> Answer | None:
    """The next answer of a connection; interim answers are skipped."""
    line = answers.readline()
    if not line:
        return None
    status = int(line.split()[1])
    headers = {}
    while header := answers.readline().strip():
        name, _, value = header.decode("latin-1").partition(": ")
        headers[name] = value
    if status < 200:
        return read_answer(answers, has_body=has_body)
    body = answers.read(int(headers["Content-Length"])) if has_body else b""
    return Answer(status=status, headers=headers, body=body)
