"""An HTTP worker: gunicorn's threaded worker, made immune to slow clients, with every error as JSON.

    accepted ─▶ idle ─first byte─▶ reading ──submission───────▶ fast path ─────answered──▶ idle
                                      ├─complete────────────▶ thread ────────────┤
                                      │      └─must wait─▶ long poll ─▶ thread ──┤
                                      ├─large, chunked──────▶ slow-client thread ┤
                                      └─too slow─▶ 408 ─▶ lingering ◀──closing───┘

Only the poller waits for clients, and every wait has a time limit; a regular thread gets only complete requests. A few
slow-client threads wait for large and chunked bodies, also with a limit, so slow clients delay only one another. A response that
the client does not read at once is sent by the poller, see `front.slow_readers`. Before a connection is closed, what the client
still sends is read and discarded, so that the client sees the response and not a reset.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from io import BytesIO
from itertools import takewhile
from selectors import EVENT_READ, EVENT_WRITE

from gunicorn.http import errors as http_errors
from gunicorn.http.message import Request
from gunicorn.workers.gthread import TConn, ThreadWorker

from jobyard.api.front.delivery import RECHECK_S
from jobyard.api.front.fast_path import FastPath
from jobyard.api.front.http_heads import Heads, answer_bytes
from jobyard.api.front.lease_poll import Grant, LeaseWaiter
from jobyard.api.front.long_poll import DeferredResponse, ResponseDeferred, Waiter
from jobyard.api.front.request_reader import ReadState, RequestReader
from jobyard.api.front.slow_readers import ResponseSocket, SlowReaders
from jobyard.api.front.waits import Waits
from jobyard.api.http.reply import STATUS_OF, Reply, error_body
from jobyard.api.http.request_metrics import HEADER, with_id

KEEP_ALIVE_S = 75
READ_TIMEOUT_S = 15.0
SOCKET_TIMEOUT_S = 15
SLOW_CLIENT_S = 120.0
LINGER_S = 5.0
STOP_S = 3.0
SLOW_CLIENT_THREADS = 32
DISCARD_BYTES = 1 << 18
BODY_S = 1.0
REASONS = {
    400: "Bad Request", 403: "Forbidden", 408: "Request Timeout", 413: "Content Too Large", 414: "URI Too Long",
    417: "Expectation Failed", 431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
}  # fmt: skip


class RequestTimeout(Exception):
    """The request was not received in time."""


CODES: tuple[tuple[type[Exception], str], ...] = (
    (RequestTimeout, "request_timeout"),
    (http_errors.LimitRequestLine, "uri_too_long"), (http_errors.LimitRequestHeaders, "headers_too_large"),
    (http_errors.ExpectationFailed, "expectation_failed"), (http_errors.UnsupportedTransferCoding, "not_implemented"),
    (http_errors.ParseException, "invalid_request"),
)  # fmt: skip


class JsonWorker(ThreadWorker):  # type: ignore[misc]
    """See the module; the rest is gunicorn's. Everything but the work of the threads runs in the poller's event loop."""

    def init_process(self) -> None:
        """Called once, after the fork; returns when the worker stops."""
        self._slow_client_threads = ThreadPoolExecutor(SLOW_CLIENT_THREADS, "slow-clients")
        self._heads = Heads(self.cfg)
        self._reading: dict[TConn, RequestReader] = {}
        self._served_slowly: dict[TConn, None] = {}
        self._lingering: dict[TConn, None] = {}
        self._slow_readers: SlowReaders[TConn] = SlowReaders()
        self._waiters: dict[TConn, Waiter | LeaseWaiter] = {}
        self._stop_deadline = float("inf")
        super().init_process()

    def run(self) -> None:
        """Run the event loop, once the app is loaded."""
        self._fast_path: FastPath = self.wsgi.fast_path(in_thread=self._in_thread)
        self.poller.register(self._fast_path.fileno(), EVENT_READ, lambda fd: self._fast_path.receive())
        self._waits: Waits = self.wsgi.waits
        self._waits.register(self.poller)
        super().run()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One iteration of the loop: all events first, then what follows from them together."""
        timeout = min(timeout, self._waits.next_tick_s())
        super().wait_for_and_dispatch_events(min(timeout, RECHECK_S) if self._fast_path.has_in_flight else timeout)
        self._fast_path.tick()
        self._waits.tick()

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection, which is idle until its first byte."""
        try:
            sock, client = listener.accept()
        except OSError:
            return
        self.nr_conns += 1
        limit = struct.pack("ll", SOCKET_TIMEOUT_S, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = TConn(self.cfg, sock, client, listener.getsockname())
        connection.timeout = self._deadline(KEEP_ALIVE_S)
        connection.is_watched = False
        connection.deferred = connection.response = None
        self.pending_conns.append(connection)
        self._watch(connection, self._read_first_request)

    # ---- reading a request

    def _read_first_request(self, conn: TConn) -> None:
        """The first byte of a connection's first request has arrived."""
        self.pending_conns.remove(conn)
        self._read_request(conn, RequestReader())

    def _read_later_request(self, conn: TConn) -> None:
        """The first byte of a later request has arrived."""
        self.keepalived_conns.remove(conn)
        self._read_request(conn, RequestReader())

    def _read_request(self, conn: TConn, reader: RequestReader) -> None:
        state = reader.read(conn.sock)
        if not reader.received:
            self._close(conn)
            return
        if state is not ReadState.INCOMPLETE:
            self._serve(conn, reader, state)
            return
        conn.timeout = self._deadline(READ_TIMEOUT_S)
        self._reading[conn] = reader
        self._watch(conn, self._continue_reading)

    def _continue_reading(self, conn: TConn) -> None:
        state = self._reading[conn].read(conn.sock)
        if state is not ReadState.INCOMPLETE:
            self._serve(conn, self._reading.pop(conn), state)

    def _serve(self, conn: TConn, reader: RequestReader, state: ReadState) -> None:
        if state is ReadState.READY and self._try_fast_path(conn, reader):
            return
        self._unwatch(conn)
        conn.init()
        conn.data_ready = True
        conn.parser.unreader.unread(bytes(reader.received))
        if state is ReadState.READY:
            self.enqueue_req(conn)
        else:
            self._run_slowly(conn, partial(self.handle, conn))

    def _try_fast_path(self, conn: TConn, reader: RequestReader) -> bool:
        """Take a submission on the fast path, unless something about its connection is out of the ordinary."""
        parts = reader.split() if self.alive and len(self.keepalived_conns) < self.max_keepalived else None
        fast_route = self._fast_path.fast_route(str(conn.server[1]), parts[0].partition(b"\r\n")[0]) if parts else None
        head = self._heads.read(parts[0]) if parts and fast_route else None
        if parts is None or fast_route is None or head is None:
            return False
        self._watch(conn, self._unwatch)  # what the client sends before the answer is read after it
        request = {**head, "wsgi.input": BytesIO(parts[1]), "wsgi.input_terminated": True, "gunicorn.socket": conn.sock}
        self._fast_path.take(fast_route, request, partial(self._answer, conn))
        return True

    def _run_slowly(self, conn: TConn, work: Callable[[], object]) -> None:
        """Run this in a slow-client thread; the connection is kept open when it returns True."""
        conn.timeout = self._deadline(SLOW_CLIENT_S)
        self._served_slowly[conn] = None
        future = self._slow_client_threads.submit(work)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def _in_thread(self, work: Callable[[], Reply], then: Callable[[Reply], None]) -> None:
        future = self.tpool.submit(work)
        future.add_done_callback(lambda done: self.method_queue.defer(lambda: then(done.result())))

    # ---- waiting for the end of a job

    def handle_request(self, req: Request, conn: TConn) -> bool:
        """Runs in a thread; False also when the answer is deferred."""
        sock = conn.sock
        conn.sock = conn.response = ResponseSocket(sock)
        try:
            return bool(super().handle_request(req, conn))
        except ResponseDeferred as deferred:
            is_used_again = self.alive and not req.should_close() and len(self.keepalived_conns) < self.max_keepalived
            is_whole = bool(conn.parser.finish_body(deadline=time.monotonic() + BODY_S))
            conn.deferred = DeferredResponse(wait=deferred.wait, is_last=not (is_used_again and is_whole))
            return False
        finally:
            conn.sock = sock

    def _start_waiting(self, conn: TConn, deferred: DeferredResponse) -> None:
        conn.sock.setblocking(False)
        waiter = self._waits.add(deferred.wait, partial(self._end_wait, conn))
        if waiter.is_waiting:
            self._waiters[conn] = waiter
            self._watch(conn, self._check_waiting_client)

    def _check_waiting_client(self, conn: TConn) -> None:
        """A waiting client has closed its connection, or has sent its next request before the answer to this one."""
        self._unwatch(conn)
        try:
            is_gone = not conn.sock.recv(1, socket.MSG_PEEK)
        except OSError:
            is_gone = True
        if is_gone and conn in self._waiters:
            self._waits.remove(self._waiters[conn])
            self._end_wait(conn)

    def _end_wait(self, conn: TConn, grant: Grant | None = None) -> None:
        """The wait is over: send what was granted, or compute the answer in a thread."""
        self._waiters.pop(conn, None)
        self._unwatch(conn)
        deferred, conn.deferred = conn.deferred, None
        answer = partial(self._answer, conn, is_last=deferred.is_last)
        if grant is not None:
            answer(with_id(grant.reply_to(conn.sock), deferred.wait.request_id))
        else:
            self._in_thread(partial(self.wsgi.answer_after, deferred.wait), answer)

    # ---- answering

    def _answer(self, conn: TConn, reply: Reply, *, is_last: bool = False) -> None:
        """Send an answer that was made outside of gunicorn's request handling."""
        response = ResponseSocket(conn.sock)
        try:
            response.sendall(answer_bytes(reply, at_s=int(time.time()), is_last=is_last))
        except OSError:
            self._close(conn)
            return
        self._end_request(conn, response, is_last=is_last)

    def finish_request(self, conn: TConn, fs: Future[object]) -> None:
        """A thread is done: keep the connection open if possible."""
        self._served_slowly.pop(conn, None)
        response, conn.response = conn.response, None
        if conn.deferred is not None:
            self._start_waiting(conn, conn.deferred)
            return
        try:
            conn.sock.setblocking(False)
        except OSError:  # closed after a fault in the middle of a response
            self._close(conn)
            return
        self._end_request(conn, response, is_last=fs.cancelled() or fs.exception() is not None or not fs.result())

    def _end_request(self, conn: TConn, response: ResponseSocket | None, *, is_last: bool) -> None:
        """Go on once the client has been sent the whole response."""
        if response is not None and response.unsent_bytes:
            self._send_rest(conn, response, is_last=is_last)
        elif is_last:
            self._linger(conn)
        else:
            self._serve_next(conn)

    def _send_rest(self, conn: TConn, response: ResponseSocket, *, is_last: bool) -> None:
        """Send what the client has not read yet, as it reads."""
        self._unwatch(conn)
        conn.timeout = self._deadline(SLOW_CLIENT_S)
        self.poller.register(conn.sock, EVENT_WRITE, lambda sock: self._continue_sending(conn, is_last=is_last))
        for slowest in self._slow_readers.add(conn, response):
            self._close_slow_reader(slowest)

    def _continue_sending(self, conn: TConn, *, is_last: bool) -> None:
        try:
            is_whole = self._slow_readers.send(conn)
        except OSError:
            self._close_slow_reader(conn)
            return
        if is_whole:
            self._slow_readers.remove(conn)
            self.poller.unregister(conn.sock)
            self._end_request(conn, None, is_last=is_last)

    def _close_slow_reader(self, conn: TConn) -> None:
        self._slow_readers.remove(conn)
        self.poller.unregister(conn.sock)
        self._close(conn)

    def _serve_next(self, conn: TConn) -> None:
        """Go on to the next request, which may have been received already."""
        if conn.parser is not None and (received := conn.parser.unreader.take_buffered()):
            self._read_request(conn, RequestReader(received))
        else:
            self._keep_alive(conn)

    def _keep_alive(self, conn: TConn) -> None:
        """Idle until the next request begins."""
        conn.timeout = self._deadline(KEEP_ALIVE_S)
        self.keepalived_conns.append(conn)
        self._watch(conn, self._read_later_request)

    def _linger(self, conn: TConn) -> None:
        """Shut down our side of the connection, and wait a moment for the client to close its own."""
        conn.timeout = self._deadline(LINGER_S)
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        self._lingering[conn] = None
        self._watch(conn, self._discard)

    def _discard(self, conn: TConn) -> None:
        try:
            is_over = not conn.sock.recv(DISCARD_BYTES)
        except BlockingIOError:
            is_over = False
        except OSError:
            is_over = True
        if is_over:
            del self._lingering[conn]
            self._close(conn)

    def _close(self, conn: TConn) -> None:
        self._unwatch(conn)
        self.nr_conns -= 1
        conn.close()

    def _watch(self, conn: TConn, then: Callable[[TConn], None]) -> None:
        """Call this whenever the connection is readable, instead of what was called before."""
        conn.then = then
        if not conn.is_watched:
            conn.is_watched = True
            self.poller.register(conn.sock, EVENT_READ, lambda sock: conn.then(conn))

    def _unwatch(self, conn: TConn) -> None:
        if conn.is_watched:
            conn.is_watched = False
            self.poller.unregister(conn.sock)

    # ---- time limits

    def murder_pending(self) -> None:
        """Called on every iteration of the loop, at least once a second."""
        if not self.alive and self._stop_deadline == float("inf"):
            self._shorten_timeouts()
        super().murder_pending()
        now = time.monotonic()
        for conn in _expired(self._reading, now):
            del self._reading[conn]
            self.handle_error(None, conn.sock, conn.client, RequestTimeout("it was not received in time"))
            self._linger(conn)
        for conn in _expired(self._served_slowly, now):
            del self._served_slowly[conn]
            with contextlib.suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RD)  # its thread then reads an end of file
        for conn in _expired(self._lingering, now):
            del self._lingering[conn]
            self._close(conn)
        for conn in _expired(self._slow_readers, now):
            self._close_slow_reader(conn)

    def _shorten_timeouts(self) -> None:
        """The worker must stop: no client may delay it for longer than `STOP_S`."""
        self._stop_deadline = time.monotonic() + STOP_S
        self._waits.close()
        for conn in (*self.pending_conns, *self._reading, *self._served_slowly, *self._lingering, *self._slow_readers):
            conn.timeout = min(conn.timeout, self._stop_deadline)

    def _deadline(self, seconds: float) -> float:
        return min(time.monotonic() + seconds, self._stop_deadline)

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: Exception) -> None:
        """Answer a request that is refused before any app sees it."""
        code = next((code for kind, code in CODES if isinstance(exc, kind)), "internal_error")
        message = str(exc)[:200] if code != "internal_error" else "an internal error occurred"
        body = error_body(code, f"the request cannot be served: {message}") + b"\n"
        status = STATUS_OF[code]
        request_id = self.wsgi.request_metrics.refuse(status)
        head = (
            f"HTTP/1.1 {status} {REASONS[status]}\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{HEADER}: {request_id}\r\n\r\n"
        )  # fmt: skip
        with contextlib.suppress(OSError):  # the client is gone already
            client.sendall(head.encode() + body)


def refuse_repeated_key(worker: ThreadWorker, req: Request) -> None:
    """Refuse a repeated Idempotency-Key header, which an app would see as one key joined by a comma."""
    if [name for name, _ in req.headers].count("IDEMPOTENCY-KEY") > 1:
        raise http_errors.InvalidHeader("IDEMPOTENCY-KEY", req=req)


def _expired(conns: Iterable[TConn], now: float) -> list[TConn]:
    """The connections whose time limit has passed; they are in the order of their limits."""
    return list(takewhile(lambda conn: conn.timeout <= now, conns))
