"""gunicorn's threaded worker with its connections held by one loop; a thread is given to requests that have come.

    accepted ─▶ idle ──first byte──▶ coming ──as much as is waited for──▶ served, by a thread ──▶ idle (kept alive)
                  │                    │                                     │               └──▶ leaving ─▶ closed
                  └─ first_byte_s or ──┴─ coming_s: closed                   └─ served_s: shut down, so that its thread comes free
                     KEEP_ALIVE_S: closed

So neither idle clients nor slow ones cost others their threads. When there are as many connections as there may be, or no
descriptor is left, the one that has been idle for longest makes room. Every error is JSON.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any

from gunicorn.http import errors as http_errors
from gunicorn.http import get_parser
from gunicorn.workers.gthread import TConn, ThreadWorker

from api.body import MAX_BODY_BYTES
from api.incoming import Incoming
from api.reply import STATUS_OF, error_body

KEEP_ALIVE_S = 75
SOCKET_S = 15
FULL_S = 0.1
LOOK_EVERY_S = 0.25
NEW_S = 1.0
READ_BYTES = 1 << 14
NO_DESCRIPTOR_LEFT = (errno.EMFILE, errno.ENFILE)
REASONS = {
    400: "Bad Request", 403: "Forbidden", 413: "Content Too Large", 414: "URI Too Long", 417: "Expectation Failed",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
}  # fmt: skip
CODES: tuple[tuple[type[Exception], str], ...] = (
    (http_errors.LimitRequestLine, "uri_too_long"), (http_errors.LimitRequestHeaders, "headers_too_large"),
    (http_errors.ExpectationFailed, "expectation_failed"), (http_errors.UnsupportedTransferCoding, "not_implemented"),
    (http_errors.ParseException, "invalid_request"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a connection may be in each state, in seconds."""

    first_byte_s: float = 10.0
    coming_s: float = 20.0
    served_s: float = 30.0
    """Longer than a submission is waited for (`api.delivery.WORD_S`), with time to read a large body before."""
    leaving_s: float = 2.0


class HttpWorker(ThreadWorker):  # type: ignore[misc]
    """See the module. `handle` and what it calls runs in threads, all else in the loop."""

    limits = Limits()

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._coming: dict[TConn, float] = {}
        self._served: dict[TConn, float] = {}
        self._leaving: dict[TConn, float] = {}
        self._full_until = self._look_at = 0.0

    # ---- idle

    def accept(self, listener: socket.socket) -> None:
        """Let the poller wait for the first byte."""
        try:
            sock, client = listener.accept()
        except OSError as fault:
            if fault.errno in NO_DESCRIPTOR_LEFT:
                self._make_room()
                self._full_until = time.monotonic() + FULL_S
                self.set_accept_enabled(False)
            return
        self.nr_conns += 1
        limit = struct.pack("ll", SOCKET_S, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = TConn(self.cfg, sock, client, listener.getsockname())
        connection.timeout = time.monotonic() + self.limits.first_byte_s
        self.pending_conns.append(connection)
        self.poller.register(sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, connection))
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def set_accept_enabled(self, enabled: bool) -> None:
        """gunicorn asks for it on every turn; not while no descriptor is left. When it leaves, the loop goes on at once."""
        if enabled and time.monotonic() < self._full_until:
            return
        super().set_accept_enabled(enabled)
        if not self.alive:
            self.method_queue.defer(lambda: None)

    def on_pending_socket_readable(self, connection: TConn, client: socket.socket) -> None:
        """The first byte of a new connection."""
        self._begin(connection, self.pending_conns)

    def on_client_socket_readable(self, connection: TConn, client: socket.socket) -> None:
        """The first byte of another request on a connection."""
        self._begin(connection, self.keepalived_conns)

    def _make_room(self) -> None:
        """End a connection without a request: one that was opened for nothing rather than one that was of use, and no new one."""
        new_since = time.monotonic() + self.limits.first_byte_s - NEW_S
        if self.pending_conns and self.pending_conns[0].timeout < new_since:
            self._close(self.pending_conns.popleft())
        elif self.keepalived_conns:
            self._close(self.keepalived_conns.popleft())
        elif self._coming:
            self._close(self._pop_first(self._coming))
        elif len(self.pending_conns) > 1:
            self._close(self.pending_conns.popleft())

    # ---- coming

    def _begin(self, connection: TConn, idle: deque[TConn]) -> None:
        try:
            idle.remove(connection)
        except ValueError:
            return  # it made room for another on this very turn
        incoming = Incoming(most_body_bytes=MAX_BODY_BYTES)
        if self._read(connection, incoming):
            self._coming[connection] = time.monotonic() + self.limits.coming_s
            self.poller.modify(connection.sock, selectors.EVENT_READ, lambda client: self._go_on(connection, incoming))

    def _go_on(self, connection: TConn, incoming: Incoming) -> None:
        if connection in self._coming and not self._read(connection, incoming):
            del self._coming[connection]

    def _read(self, connection: TConn, incoming: Incoming) -> bool:
        """Whether more must come; if not, the connection is served or closed."""
        try:
            data = connection.sock.recv(READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if data and not incoming.add(data):
            return True
        if data or incoming.data:
            self.poller.unregister(connection.sock)
            self._serve(connection, incoming.data)
        else:
            self._close(connection)
        return False

    # ---- served

    def _serve(self, connection: TConn, data: bytes) -> None:
        if connection.parser is None:
            connection.parser = get_parser(self.cfg, connection.sock, connection.client)
            connection.initialized = connection.data_ready = True
        connection.parser.unreader.unread(data)
        self.enqueue_req(connection)

    def handle(self, connection: TConn) -> object:
        """A thread takes it from here."""
        self._served[connection] = time.monotonic() + self.limits.served_s
        return super().handle(connection)

    def finish_request(self, connection: TConn, done: Any) -> None:
        """It was answered; gunicorn would close in this loop and wait for the client to do the same."""
        self._served.pop(connection, None)
        if done.cancelled() or done.exception() is not None or not done.result():
            self._leave(connection)
        else:
            super().finish_request(connection, done)

    # ---- leaving

    def _leave(self, connection: TConn) -> None:
        """Nothing more is sent; what still comes is thrown away, as otherwise the last answer might be lost on its way."""
        try:
            connection.sock.setblocking(False)
            connection.sock.shutdown(socket.SHUT_WR)
            self.poller.register(connection.sock, selectors.EVENT_READ, lambda client: self._see_off(connection))
            self._leaving[connection] = time.monotonic() + self.limits.leaving_s
        except OSError:
            self._close(connection)

    def _see_off(self, connection: TConn) -> None:
        try:
            if connection not in self._leaving or connection.sock.recv(READ_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        del self._leaving[connection]
        self._close(connection)

    # ---- limits

    def murder_pending(self) -> None:
        """Called on every turn of the loop: whose time is up."""
        super().murder_pending()
        now = time.monotonic()
        for waiting in (self._coming, self._leaving):
            while waiting and next(iter(waiting.values())) < now:
                self._close(self._pop_first(waiting))
        if now > self._look_at:
            self._look_at = now + LOOK_EVERY_S
            self._end_overdue(now)
        if not self.alive:
            self._close_idle()

    def _end_overdue(self, now: float) -> None:
        """What their threads wait for is over then; the connections come back by `finish_request`."""
        for connection, until in list(self._served.items()):
            if until < now:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def _close_idle(self) -> None:
        """The worker leaves: whoever has not sent a request may do so elsewhere. Kept-alive ones have a moment, see gunicorn."""
        while self.pending_conns:
            self._close(self.pending_conns.popleft())
        while self._coming:
            self._close(self._pop_first(self._coming))

    def _close(self, connection: TConn) -> None:
        with contextlib.suppress(KeyError, ValueError, OSError):
            self.poller.unregister(connection.sock)
        self.nr_conns -= 1
        connection.close()

    def _pop_first(self, connections: dict[TConn, float]) -> TConn:
        first = next(iter(connections))
        del connections[first]
        return first

    # ---- words

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: Exception) -> None:
        """What gunicorn itself refuses, before any app sees it."""
        code = next((code for kind, code in CODES if isinstance(exc, kind)), "internal_error")
        message = str(exc)[:200] if code != "internal_error" else "the request could not be served"
        body = error_body(code, f"not a request that can be served: {message}")
        status = STATUS_OF[code]
        head = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )  # fmt: skip
        try:
            client.sendall(head.encode() + body)
        except OSError:
            return  # the client is gone, which is what it asked for
