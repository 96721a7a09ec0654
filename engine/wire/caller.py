"""Blocking calls with a deadline: a request to a component and its reply. For the front's threads and the command line.

Connections are kept and reused, with one request at a time on each. A connection whose call failed or was dropped is closed, so
a late reply can never be taken for another request's. The sockets are non-blocking; waiting happens in `poll`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import deque
from collections.abc import Sequence
from math import ceil

from jobyard.engine.wire.frames import Damaged, Unframer, frame
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Begun
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

KEPT_CONNECTIONS = 64
READ_BYTES = 1 << 16
SILENT_S = 3.0
"""A component that has not replied for this long counts as unhealthy."""



class NoAnswer(Exception):
    """The component is not reachable, disconnected, or did not reply in time. `was_sent`: it may have received the request."""

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class Call:
    """A request in progress and its eventual reply; it can be waited for repeatedly, or dropped."""

    def __init__(self, caller: Caller, name: str, sock: socket.socket, unsent: memoryview) -> None:
        self._caller = caller
        self._name = name
        self._sock = sock
        self._unsent = unsent
        self._unframer = Unframer()
        self.has_begun = False
        """The component has announced that it is about to carry out the request."""

    @property
    def was_sent(self) -> bool:
        """Whether the component may have received the whole request."""
        return not self._unsent

    def wait(self, timeout_s: float) -> Message | None:
        """The reply; None if it has not arrived within this time. Raises `NoAnswer` if it can no longer arrive."""
        deadline = self._caller.world.monotonic() + timeout_s
        try:
            while self._is_ready(deadline):
                if self._unsent:
                    self._unsent = send_some(self._sock, self._unsent)
                    continue
                for message in self._unframer.feed(self._receive()):
                    if not isinstance(message, Begun):
                        self._caller.keep(self._name, self._sock)
                        return message
                    self.has_begun = True
        except (OSError, Damaged) as broken:
            self.drop()
            raise NoAnswer(f"{self._name} does not answer: {broken or type(broken).__name__}", was_sent=self.was_sent) from broken
        return None

    def drop(self) -> None:
        """Stop waiting and close the connection."""
        self._sock.close()

    def _is_ready(self, deadline: float) -> bool:
        """With no time left this does not wait, but still reads what has arrived and sends what fits."""
        left_s = max(0.0, deadline - self._caller.world.monotonic())
        waiter = select.poll()
        waiter.register(self._sock, select.POLLOUT if self._unsent else select.POLLIN)
        return bool(waiter.poll(ceil(left_s * 1000)))

    def _receive(self) -> bytes:
        data = self._sock.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError("the connection was lost")
        return data


class Caller:
    """Calls components by name. Thread-safe."""

    def __init__(self, run_dir: RunDir, world: World) -> None:
        self.world = world
        self._run_dir = run_dir
        self._idle: dict[str, deque[socket.socket]] = {}
        self._lock = threading.Lock()

    def begin(self, name: str, request: Message) -> Call:
        """Send as much as possible without waiting; raises `NoAnswer` if the component is not reachable."""
        data = memoryview(frame(request))
        kept = self._take(name)
        if kept is not None:
            try:
                return Call(self, name, kept, send_some(kept, data))
            except OSError:  # the kept connection led to a predecessor that died: it cannot have read the whole request
                kept.close()
        try:
            return self._connect(name, data)
        except OSError as gone:
            raise NoAnswer(f"{name} does not answer: {gone}", was_sent=False) from gone

    def call(self, name: str, request: Message, *, timeout_s: float) -> Message:
        """The component's reply; raises `NoAnswer`."""
        call = self.begin(name, request)
        reply = call.wait(timeout_s)
        if reply is None:
            call.drop()
            raise NoAnswer(f"{name} does not answer", was_sent=call.was_sent)
        return reply

    def call_all(self, names: Sequence[str], request: Message, *, timeout_s: float) -> dict[str, Message | None]:
        """Send the request to all components at once; None for each that has not replied in time."""
        deadline = self.world.monotonic() + timeout_s
        begun: dict[str, Call] = {}
        for name in names:
            with contextlib.suppress(NoAnswer):
                begun[name] = self.begin(name, request)
        answers: dict[str, Message | None] = dict.fromkeys(names)
        for name, call in begun.items():
            with contextlib.suppress(NoAnswer):
                answers[name] = call.wait(deadline - self.world.monotonic())
                if answers[name] is None:
                    call.drop()
        return answers

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            for kept in self._idle.values():
                for sock in kept:
                    sock.close()
            self._idle.clear()

    def keep(self, name: str, sock: socket.socket) -> None:
        """Keep an idle connection for reuse."""
        with self._lock:
            kept = self._idle.setdefault(name, deque())
            if len(kept) < KEPT_CONNECTIONS:
                kept.append(sock)
                return
        sock.close()

    def _connect(self, name: str, data: memoryview) -> Call:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.connect(self._run_dir.path_of(f"{name}.sock"))
            return Call(self, name, sock, send_some(sock, data))
        except OSError:
            sock.close()
            raise

    def _take(self, name: str) -> socket.socket | None:
        with self._lock:
            kept = self._idle.get(name)
            return kept.pop() if kept else None


def send_some(sock: socket.socket, data: memoryview) -> memoryview:
    """Send what fits without blocking; returns the rest."""
    try:
        return data[sock.send(data) :]
    except BlockingIOError:
        return data
