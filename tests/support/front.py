"""An HTTP worker of the front in a thread, with an app of its own, and clients that do not behave."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger

from api.http_worker import HttpWorker, Limits

GET = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
ANSWER = b"well"
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def answers(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """The app: what it got, or a few words."""
    body = environ["wsgi.input"].read() or ANSWER
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class Front:
    """A worker with few threads."""

    def __init__(self, *, app: App = answers, threads: int = 2, connections: int = 100, **limits: float) -> None:
        config = Config()
        for name, value in {"threads": threads, "worker_connections": connections, "keepalive": 75, "loglevel": "critical"}.items():
            config.set(name, value)
        self.listener = socket.create_server(("127.0.0.1", 0))
        kind = type("LimitedWorker", (HttpWorker,), {"limits": Limits(**limits)})
        self.worker = kind(1, os.getppid(), [self.listener], None, 30, config, Logger(config))
        self.worker.wsgi = app
        self.worker.tpool = self.worker.get_thread_pool()
        self.worker.poller = selectors.DefaultSelector()
        self.worker.method_queue.init()
        self._address = self.listener.getsockname()
        self._clients: list[socket.socket] = []
        self._thread = threading.Thread(target=self.worker.run)
        self._thread.start()

    def connect(self, sent: bytes = b"") -> socket.socket:
        """A client that has sent so much."""
        client = socket.create_connection(self._address, timeout=10)
        self._clients.append(client)
        client.sendall(sent)
        return client

    def get(self) -> bytes:
        """One request on a connection of its own; its answer's body."""
        with self.connect(GET) as client:
            return read_answer(client)

    def stop(self) -> None:
        """As on SIGTERM; comes back when the worker has left."""
        self.worker.handle_exit(15, None)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def close(self) -> None:
        if self._thread.is_alive():
            self.stop()
        self.worker.tmp.close()
        for client in self._clients:
            client.close()


def read_answer(client: socket.socket) -> bytes:
    """The body of the next answer; empty when the connection ends instead."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = _receive(client)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += client.recv(1 << 16)
    return body


def is_closed(client: socket.socket) -> bool:
    """Whether the other side has ended it; waits for that."""
    return not _receive(client)


def _receive(client: socket.socket) -> bytes:
    try:
        return client.recv(1 << 16)
    except ConnectionError:
        return b""
