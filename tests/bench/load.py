"""The load generator: one process, one selector, raw sockets, prepared requests. It must cost far less than the system under test.

`send` starts it as `python -m tests.bench.load` with a `Load` as JSON on stdin, and reads the `LoadResult` from its stdout. A
connection sends a request, waits for the whole answer, then sends the next one. A refused request is counted and sent again.
"""

from __future__ import annotations

import dataclasses
import json
import re
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field

HOST = "127.0.0.1"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
GOOD = (200, 201)
MAX_READ = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`requests` times the same request over this many keep-alive connections."""

    port: int
    path: str
    body: str
    requests: int
    connections: int
    method: str = "POST"
    within_s: float = 120.0


@dataclass(slots=True, kw_only=True)
class LoadResult:
    """The result of a `Load`; times are monotonic."""

    began_ns: int = 0
    ended_ns: int = 0
    accepted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    broken: int = 0
    cpu_s: float = 0.0
    waits_ms: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The time from the first request to the last answer."""
        return (self.ended_ns - self.began_ns) / 1e9

    @property
    def note(self) -> str:
        """What a reader of the figure must know."""
        words = [f"{count} answers {status}" for status, count in self.refused.items()]
        return ", ".join(words + ([f"{self.broken} connections broken"] if self.broken else []))


def send(load: Load) -> LoadResult:
    """Run the load in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.load"]
    done = subprocess.run(command, input=json.dumps(dataclasses.asdict(load)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the load generator ended with {done.returncode}: {done.stderr.strip()}")
    return LoadResult(**json.loads(done.stdout))


class Generator:
    """Sends one `Load`."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._request = _request(load)
        self._selector = selectors.DefaultSelector()
        self._to_send = load.requests
        self._busy = 0
        self.sent = LoadResult()

    def run(self) -> LoadResult:
        """Send until all requests are accepted, or the time is over."""
        give_up_at = time.monotonic() + self._load.within_s
        connections = [Connection(self._load.port) for _ in range(self._load.connections)]
        self.sent.began_ns = time.monotonic_ns()
        for connection in connections:
            self._selector.register(connection.sock, selectors.EVENT_READ, connection)
            self._next(connection)
        while self._busy and time.monotonic() < give_up_at:
            for key, _ in self._selector.select(1.0):
                self._read(key.data)
        self.sent.ended_ns = time.monotonic_ns()
        self.sent.cpu_s = time.process_time()
        for connection in connections:
            connection.sock.close()
        self._selector.close()
        return self.sent

    def _next(self, connection: Connection) -> None:
        if not self._to_send:
            return
        self._to_send -= 1
        self._busy += 1
        connection.send(self._request)

    def _read(self, connection: Connection) -> None:
        status = connection.receive()
        if status is None:
            return
        if connection.has_pending_request:
            connection.has_pending_request = False
            self._busy -= 1
            self._count(connection, status)
        if connection.must_reopen:
            self._selector.unregister(connection.sock)
            connection.reopen()
            self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        self._next(connection)

    def _count(self, connection: Connection, status: int) -> None:
        if status in GOOD:
            self.sent.accepted += 1
            self.sent.waits_ms.append((time.monotonic_ns() - connection.sent_ns) / 1e6)
            return
        self._to_send += 1
        if status:
            self.sent.refused[str(status)] = self.sent.refused.get(str(status), 0) + 1
        else:
            self.sent.broken += 1


def _request(load: Load) -> bytes:
    body = load.body.encode()
    connections = (
        f"{load.method} {load.path} HTTP/1.1", "Host: localhost", "Content-Type: application/json",
        f"Content-Length: {len(body)}", "", "",
    )  # fmt: skip
    return "\r\n".join(connections).encode() + body


class Connection:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.sock = socket.socket()
        self.reopen()

    def reopen(self) -> None:
        """Replace the connection by a new one."""
        self.sock.close()
        self.sock = socket.create_connection((HOST, self._port), timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_ns = 0
        self.has_pending_request = False
        self._is_broken = False
        self._reset()

    @property
    def must_reopen(self) -> bool:
        """Whether the connection is broken, or will be closed by the server."""
        return self._is_broken or self._closes

    def send(self, request: bytes) -> None:
        """Send a request."""
        self._reset()
        self.has_pending_request = True
        self.sent_ns = time.monotonic_ns()
        try:
            self.sock.sendall(request)
        except ConnectionError:
            self._is_broken = True

    def receive(self) -> int | None:
        """The status once the whole answer has arrived, 0 if the connection is lost, None until then."""
        try:
            data = b"" if self._is_broken else self.sock.recv(MAX_READ)
        except ConnectionError:
            data = b""
        if not data:
            self._is_broken = True
            return 0
        self._chunks.append(data)
        self._size += len(data)
        if self._wanted is None:
            self._read_head()
        return self._status if self._wanted is not None and self._size >= self._wanted else None

    def _reset(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._wanted: int | None = None
        self._status = 0
        self._closes = False

    def _read_head(self) -> None:
        data = b"".join(self._chunks)
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = data[:end]
        length = LENGTH.search(head)
        self._status = int(data[9:12])
        self._wanted = end + 4 + (int(length[1]) if length else 0)
        self._closes = CLOSES.search(head) is not None


def main() -> None:
    """Read a `Load` from stdin, write a `LoadResult` to stdout."""
    sent = Generator(Load(**json.loads(sys.stdin.read()))).run()
    sys.stdout.write(json.dumps(dataclasses.asdict(sent)))


if __name__ == "__main__":
    main()
