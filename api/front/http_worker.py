"""An HTTP worker: gunicorn's threaded one, which no client can stop, and which tells every error as JSON.

    accepted ─▶ idle ─first byte─▶ arriving ──a submission───▶ the express ────answered──▶ idle
                                      ├─whole──────────────▶ a thread ──────────┤
                                      │      └─must wait─▶ the hall ─▶ a thread ┤
                                      ├─large, chunked─────▶ a patient thread ──┤
                                      └─too slow─▶ told so ─▶ parting ◀─closing─┘

Only the poller waits for clients, with a time limit for everything; a thread gets a request that is here as a whole. The few
patient threads wait for what is large or chunked, also not for ever: slow clients are in the way of one another only. Before
a connection is closed, what the client still sends is read and dropped, so that it finds its answer and not a reset.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import takewhile
from selectors import EVENT_READ

from gunicorn.http import errors as http_errors
from gunicorn.http.message import Request
from gunicorn.workers.gthread import TConn, ThreadWorker

from jobyard.api.front.delivery import LOOK_S
from jobyard.api.front.fast_path import FastPath
from jobyard.api.front.http_heads import Heads, answer_bytes
from jobyard.api.front.long_poll import LongPoll, Parked, Waiter
from jobyard.api.front.request_reader import ReadState, RequestReader
from jobyard.api.http.reply import STATUS_OF, Reply, error_body
from jobyard.api.http.request_metrics import HEADER
from jobyard.api.http.waiting import Wait

KEEP_ALIVE_S = 75
ARRIVAL_S = 15.0
SOCKET_S = 15
PATIENCE_S = 120.0
PARTING_S = 5.0
STOP_S = 3.0
PATIENT_THREADS = 32
DROP_BYTES = 1 << 18
BODY_S = 1.0
REASONS = {
    400: "Bad Request", 403: "Forbidden", 408: "Request Timeout", 413: "Content Too Large", 414: "URI Too Long",
    417: "Expectation Failed", 431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A connection's wait, and whether its answer is the last that it gets."""

    wait: Wait
    is_last: bool


class TooSlow(Exception):
    """The request did not come in time."""


CODES: tuple[tuple[type[Exception], str], ...] = (
    (TooSlow, "request_timeout"),
    (http_errors.LimitRequestLine, "uri_too_long"), (http_errors.LimitRequestHeaders, "headers_too_large"),
    (http_errors.ExpectationFailed, "expectation_failed"), (http_errors.UnsupportedTransferCoding, "not_implemented"),
    (http_errors.ParseException, "invalid_request"),
)  # fmt: skip


class JsonWorker(ThreadWorker):  # type: ignore[misc]
    """See above; what is not here is gunicorn's own. All but the threads' work happens in the poller's loop."""

    def init_process(self) -> None:
        """Called once, after the fork; runs until the worker stops."""
        self._patient = ThreadPoolExecutor(PATIENT_THREADS, "patient")
        self._heads = Heads(self.cfg)
        self._arriving: dict[TConn, RequestReader] = {}
        self._waited_for: dict[TConn, None] = {}
        self._parting: dict[TConn, None] = {}
        self._waiters: dict[TConn, Waiter] = {}
        self._ends_at = float("inf")
        super().init_process()

    def run(self) -> None:
        """The loop, once the app is there."""
        self._fast_path: FastPath = self.wsgi.fast_path(in_thread=self._in_thread)
        self.poller.register(self._fast_path.fileno(), EVENT_READ, lambda fd: self._fast_path.hear())
        self._long_poll: LongPoll = self.wsgi.long_poll
        self.poller.register(self._long_poll.fileno(), EVENT_READ, lambda fd: self._long_poll.hear())
        super().run()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One turn of the loop: what happened, then what follows from all of it together."""
        timeout = min(timeout, self._long_poll.next_turn_s())
        super().wait_for_and_dispatch_events(min(timeout, LOOK_S) if self._fast_path.is_waiting else timeout)
        self._fast_path.turn()
        self._long_poll.turn()

    def accept(self, listener: socket.socket) -> None:
        """A new connection is idle until its first byte."""
        try:
            sock, client = listener.accept()
        except OSError:
            return
        self.nr_conns += 1
        limit = struct.pack("ll", SOCKET_S, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = TConn(self.cfg, sock, client, listener.getsockname())
        connection.timeout = self._in(KEEP_ALIVE_S)
        connection.is_watched = False
        connection.stay = None
        self.pending_conns.append(connection)
        self._watch(connection, self._begin)

    # ---- a request arrives

    def _begin(self, conn: TConn) -> None:
        """The first byte of a connection's first request."""
        self.pending_conns.remove(conn)
        self._arrive(conn, RequestReader())

    def _begin_again(self, conn: TConn) -> None:
        """The first byte of a later one."""
        self.keepalived_conns.remove(conn)
        self._arrive(conn, RequestReader())

    def _arrive(self, conn: TConn, reader: RequestReader) -> None:
        need = reader.read(conn.sock)
        if not reader.came:
            self._close(conn)
            return
        if need is not ReadState.MORE:
            self._serve(conn, reader, need)
            return
        conn.timeout = self._in(ARRIVAL_S)
        self._arriving[conn] = reader
        self._watch(conn, self._read_on)

    def _read_on(self, conn: TConn) -> None:
        need = self._arriving[conn].read(conn.sock)
        if need is not ReadState.MORE:
            self._serve(conn, self._arriving.pop(conn), need)

    def _serve(self, conn: TConn, reader: RequestReader, need: ReadState) -> None:
        if need is ReadState.NOTHING and self._goes_by_express(conn, reader):
            return
        self._unwatch(conn)
        conn.init()
        conn.data_ready = True
        conn.parser.unreader.unread(bytes(reader.came))
        if need is ReadState.NOTHING:
            self.enqueue_req(conn)
        else:
            self._wait_for(conn, partial(self.handle, conn))

    def _goes_by_express(self, conn: TConn, reader: RequestReader) -> bool:
        """A submission, with nothing about its connection that is not the rule."""
        apart = reader.apart() if self.alive and len(self.keepalived_conns) < self.max_keepalived else None
        fast_route = self._fast_path.fast_route(str(conn.server[1]), apart[0].partition(b"\r\n")[0]) if apart else None
        head = self._heads.read(apart[0]) if apart and fast_route else None
        if apart is None or fast_route is None or head is None:
            return False
        self._watch(conn, self._unwatch)  # until it is answered, nobody wants to know what comes
        request = {**head, "wsgi.input": BytesIO(apart[1]), "wsgi.input_terminated": True, "gunicorn.socket": conn.sock}
        self._fast_path.take(fast_route, request, partial(self._answer, conn))
        return True

    def _wait_for(self, conn: TConn, work: Callable[[], object]) -> None:
        """In a thread that may wait for the client; True from it: the connection is used again."""
        conn.timeout = self._in(PATIENCE_S)
        self._waited_for[conn] = None
        future = self._patient.submit(work)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def _in_thread(self, work: Callable[[], Reply], then: Callable[[Reply], None]) -> None:
        future = self.tpool.submit(work)
        future.add_done_callback(lambda done: self.method_queue.defer(lambda: then(done.result())))

    # ---- it has to wait

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """In a thread; False also when the connection is to be kept without an answer."""
        try:
            return bool(super().handle_request(req, conn))
        except Parked as parked:
            is_used_again = self.alive and not req.should_close() and len(self.keepalived_conns) < self.max_keepalived
            is_whole = bool(conn.parser.finish_body(deadline=time.monotonic() + BODY_S))
            conn.stay = Stay(wait=parked.wait, is_last=not (is_used_again and is_whole))
            return False

    def _seat(self, conn: TConn, stay: Stay) -> None:
        conn.sock.setblocking(False)
        waiter = self._long_poll.enter(stay.wait.job_id, stay.wait.wait_s, partial(self._call, conn))
        if waiter.is_here:
            self._waiters[conn] = waiter
            self._watch(conn, self._look_after)

    def _look_after(self, conn: TConn) -> None:
        """It says something: that it is gone, or its next request, before it has the answer to this one."""
        self._unwatch(conn)
        try:
            is_gone = not conn.sock.recv(1, socket.MSG_PEEK)
        except OSError:
            is_gone = True
        if is_gone and conn in self._waiters:
            self._long_poll.leave(self._waiters[conn])
            self._call(conn)

    def _call(self, conn: TConn) -> None:
        """Its wait is over: the answer is asked for."""
        self._waiters.pop(conn, None)
        self._unwatch(conn)
        stay, conn.stay = conn.stay, None
        self._in_thread(partial(self.wsgi.answer_after, stay.wait), partial(self._answer, conn, is_last=stay.is_last))

    # ---- it is answered

    def _answer(self, conn: TConn, reply: Reply, *, is_last: bool = False) -> None:
        """What came without gunicorn's help."""
        data = answer_bytes(reply, at_s=int(time.time()), is_last=is_last)
        try:
            left = data[conn.sock.send(data) :]
        except BlockingIOError:
            left = data
        except OSError:
            self._close(conn)
            return
        if not left:
            self._part(conn) if is_last else self._go_on(conn)
            return
        self._unwatch(conn)
        conn.init()
        self._wait_for(conn, partial(_send_rest, conn.sock, left, is_last))

    def finish_request(self, conn: TConn, fs: Future[object]) -> None:
        """The connection is used again, if that may be."""
        self._waited_for.pop(conn, None)
        if conn.stay is not None:
            self._seat(conn, conn.stay)
        elif fs.cancelled() or fs.exception() is not None or not fs.result():
            self._part(conn)
        else:
            conn.sock.setblocking(False)
            self._go_on(conn)

    def _go_on(self, conn: TConn) -> None:
        """With the next request, which may have come already."""
        if conn.parser is not None and (came := conn.parser.unreader.take_buffered()):
            self._arrive(conn, RequestReader(came))
        else:
            self._rest(conn)

    def _rest(self, conn: TConn) -> None:
        """Idle until the next request begins."""
        conn.timeout = self._in(KEEP_ALIVE_S)
        self.keepalived_conns.append(conn)
        self._watch(conn, self._begin_again)

    def _part(self, conn: TConn) -> None:
        """Say that nothing more comes, and wait a moment until the client has seen it."""
        conn.timeout = self._in(PARTING_S)
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        self._parting[conn] = None
        self._watch(conn, self._drop)

    def _drop(self, conn: TConn) -> None:
        try:
            is_over = not conn.sock.recv(DROP_BYTES)
        except BlockingIOError:
            is_over = False
        except OSError:
            is_over = True
        if is_over:
            del self._parting[conn]
            self._close(conn)

    def _close(self, conn: TConn) -> None:
        self._unwatch(conn)
        self.nr_conns -= 1
        conn.close()

    def _watch(self, conn: TConn, then: Callable[[TConn], None]) -> None:
        """Do this whenever something can be read; in place of what was done before."""
        conn.then = then
        if not conn.is_watched:
            conn.is_watched = True
            self.poller.register(conn.sock, EVENT_READ, lambda sock: conn.then(conn))

    def _unwatch(self, conn: TConn) -> None:
        if conn.is_watched:
            conn.is_watched = False
            self.poller.unregister(conn.sock)

    # ---- it takes too long

    def murder_pending(self) -> None:
        """Called on every turn of the loop, at least once a second."""
        if not self.alive and self._ends_at == float("inf"):
            self._hurry()
        super().murder_pending()
        now = time.monotonic()
        for conn in _late(self._arriving, now):
            del self._arriving[conn]
            self.handle_error(None, conn.sock, conn.client, TooSlow("it did not come in time"))
            self._part(conn)
        for conn in _late(self._waited_for, now):
            del self._waited_for[conn]
            with contextlib.suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RD)  # its thread finds the end of what the client sends
        for conn in _late(self._parting, now):
            del self._parting[conn]
            self._close(conn)

    def _hurry(self) -> None:
        """The worker is to stop: no client keeps it for longer than a moment."""
        self._ends_at = time.monotonic() + STOP_S
        self._long_poll.close()
        for conn in (*self.pending_conns, *self._arriving, *self._waited_for, *self._parting):
            conn.timeout = min(conn.timeout, self._ends_at)

    def _in(self, seconds: float) -> float:
        return min(time.monotonic() + seconds, self._ends_at)

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: Exception) -> None:
        """What is refused before any app sees it."""
        code = next((code for kind, code in CODES if isinstance(exc, kind)), "internal_error")
        message = str(exc)[:200] if code != "internal_error" else "the request could not be served"
        body = error_body(code, f"not a request that can be served: {message}")
        status = STATUS_OF[code]
        request_id = self.wsgi.request_metrics.refuse(status)
        head = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{HEADER}: {request_id}\r\n\r\n"
        )  # fmt: skip
        with contextlib.suppress(OSError):  # the client is gone, which is what it asked for
            client.sendall(head.encode() + body)


def _send_rest(sock: socket.socket, left: bytes, is_last: bool) -> bool:
    sock.setblocking(True)
    sock.sendall(left)
    return not is_last


def refuse_repeated_key(worker: ThreadWorker, req: Request) -> None:
    """Called before any app: it would see the two keys as one, joined by a comma."""
    if [name for name, _ in req.headers].count("IDEMPOTENCY-KEY") > 1:
        raise http_errors.InvalidHeader("IDEMPOTENCY-KEY", req=req)


def _late(conns: Iterable[TConn], now: float) -> list[TConn]:
    """Of connections in the order of their limits, those whose limit is over."""
    return list(takewhile(lambda conn: conn.timeout <= now, conns))
