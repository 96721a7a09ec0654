"""A non-blocking connection to control for event loops: connecting, handshake, sending and receiving never wait.

    AWAY ──connect──▶ GREETING ──handshake, accept_connection──▶ OPEN ⇄ asked
      ▲──────────────────┴──────── the connection is lost, or refused ────┘      retried after 0.05 s, doubling to 0.5 s

At most one request is outstanding, so it normally fits into the socket's buffer. `wakeup_fd` is an epoll descriptor for the loop to
watch: it becomes readable when the connection is lost, and on an answer only if `waits_for_answer`; other answers do not wake it.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import Any

from jobyard.engine.control.handshake import NAMED_MESSAGE_BYTES, Handshake
from jobyard.engine.control.protocol import SOCKET, CallFailed, Frames, framed, read_answer, read_key, request
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5
READ_BYTES = 1 << 16


class Channel:
    """See the module; call `tick` whenever `wakeup_fd` is readable or `sleep_s` has passed."""

    def __init__(self, run_dir: RunDir, world: World, *, name: str) -> None:
        """`name`: identifies the client to control."""
        self._run_dir = run_dir
        self._world = world
        self._name = name
        self._epoll = select.epoll()
        self._sock: socket.socket | None = None
        self._handshake: Handshake | None = None
        self._frames = Frames()
        self._unsent = memoryview(b"")
        self._next_try_at = world.monotonic()
        self._pause_s = FIRST_PAUSE_S
        self._is_asked = False
        self._answers: list[Any] = []
        self._wakes_on = 0
        self.is_open = False
        self.waits_for_answer = True
        """Whether `wakeup_fd` becomes readable on an answer."""
        self.connections = 0
        """How often it was opened: after a change everything must be published again."""

    @property
    def wakeup_fd(self) -> int:
        """The descriptor to watch."""
        return self._epoll.fileno()

    @property
    def is_free(self) -> bool:
        """Whether a request can be sent."""
        return self.is_open and not self._is_asked

    def tick(self) -> None:
        """Proceed as far as possible without blocking."""
        if self._sock is None and self._world.monotonic() >= self._next_try_at:
            self._connect()
        try:
            self._send_rest()
            for text in self._read():
                self._take(text)
        except CallFailed:  # a retry would fail too
            self._drop(LONGEST_PAUSE_S)
        except OSError:
            self._drop()
        self._set_wakeup()

    def ask(self, name: str, method: str, *arguments: object) -> None:
        """Call a method of a shared object; only while `is_free`."""
        self._is_asked = True
        try:
            self._send(request(name, method, *arguments))
        except OSError:
            self._drop()
        self._set_wakeup()

    def answers(self) -> list[Any]:
        """Answers since the last call."""
        answers, self._answers = self._answers, []
        return answers

    def sleep_s(self) -> float:
        """The longest time until the next `tick`, unless `wakeup_fd` is readable first."""
        return float("inf") if self._sock is not None else max(0.0, self._next_try_at - self._world.monotonic())

    def close(self) -> None:
        """Close the connection."""
        if self._sock is not None:
            self._sock.close()
        self._epoll.close()

    # ---- the connection

    def _connect(self) -> None:
        self._next_try_at = self._world.monotonic() + self._pause_s
        self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:  # no descriptor is free
            return
        try:
            nonce = bytes.fromhex(self._world.token(8 * NAMED_MESSAGE_BYTES))
            self._handshake = Handshake(read_key(self._run_dir), nonce)
            sock.connect(self._run_dir.path_of(SOCKET))
        except OSError:
            sock.close()
            return
        self._sock = sock
        self._frames = Frames()
        self._wakes_on = 0
        self._epoll.register(sock, select.EPOLLRDHUP)

    def _drop(self, pause_s: float = FIRST_PAUSE_S) -> None:
        if self._sock is not None:
            self._sock.close()
            self._next_try_at = self._world.monotonic() + (pause_s if self.is_open else self._pause_s)
        self._sock = self._handshake = None
        self._unsent = memoryview(b"")
        self.is_open = self._is_asked = False

    def _take(self, text: bytes) -> None:
        if self._handshake is not None:
            for reply in self._handshake.answer(text):
                self._send(reply)
            if self._handshake.is_done:
                self._handshake = None
                self._send(request(None, "accept_connection", self._name))
        elif not self.is_open:
            read_answer(text)
            self.is_open = True
            self.connections += 1
            self._pause_s = FIRST_PAUSE_S
        else:
            self._answers.append(read_answer(text))
            self._is_asked = False

    # ---- bytes

    def _read(self) -> Iterator[bytes]:
        while self._sock is not None:
            try:
                data = self._sock.recv(READ_BYTES)
            except BlockingIOError:
                return
            if not data:
                raise ConnectionResetError("control has ended")
            yield from self._frames.feed(data)
            if len(data) < READ_BYTES:  # `wakeup_fd` is readable again if more arrives
                return

    def _send(self, text: bytes) -> None:
        self._unsent = memoryview(bytes(self._unsent) + framed(text))
        self._send_rest()

    def _send_rest(self) -> None:
        if self._unsent and self._sock is not None:
            try:
                self._unsent = self._unsent[self._sock.send(self._unsent, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                return

    def _set_wakeup(self) -> None:
        if self._sock is None:
            return
        waits = not self.is_open or (self._is_asked and self.waits_for_answer)
        events = select.EPOLLRDHUP | (select.EPOLLIN if waits else 0) | (select.EPOLLOUT if self._unsent else 0)
        if events != self._wakes_on:
            self._epoll.modify(self._sock, events)
            self._wakes_on = events
