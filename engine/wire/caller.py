"""Calls from threads that may wait: a request to a component, its reply, a deadline. For the front and the command line.

Connections are kept and reused, one request at a time on each. A connection whose call failed or ran out of time is closed,
so that no late reply can be taken for another's.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from collections.abc import Sequence

from engine.wire.frames import MAX_FRAME_BYTES, Damaged, decode, frame
from engine.wire.messages import Begun, Message
from engine.wire.run_dir import RunDir
from engine.world import World

KEPT_CONNECTIONS = 64


class NoAnswer(Exception):
    """The component is not there, broke off, or did not answer in time. `was_sent`: it may have got the whole request.

    `was_begun`: it said so, and that it was about to do it.
    """

    def __init__(self, message: str, *, was_sent: bool, was_begun: bool = False) -> None:
        super().__init__(message)
        self.was_sent = was_sent
        self.was_begun = was_begun


class Caller:
    """Calls components by name; safe to use from many threads."""

    def __init__(self, run_dir: RunDir, world: World) -> None:
        self._run_dir = run_dir
        self._world = world
        self._idle: dict[str, deque[socket.socket]] = {}
        self._lock = threading.Lock()

    def call(self, name: str, request: Message, *, timeout_s: float, patience_s: float = 0) -> Message:
        """The component's reply, waited for until `patience_s` is over once it said that it has begun; raises `NoAnswer`."""
        now = self._world.monotonic()
        sock = self._begin(name, request, now + timeout_s)
        reply = self._finish(name, sock, now + timeout_s)
        if not isinstance(reply, Begun):
            self._keep(name, sock)
            return reply
        try:
            reply = self._finish(name, sock, now + max(timeout_s, patience_s))
        except NoAnswer as fault:
            fault.was_begun = True
            raise
        self._keep(name, sock)
        return reply

    def call_all(self, names: Sequence[str], request: Message, *, timeout_s: float) -> dict[str, Message | None]:
        """Ask all at once; None for whoever has not answered when the time is up."""
        deadline = self._world.monotonic() + timeout_s
        begun: dict[str, socket.socket] = {}
        for name in names:
            try:
                begun[name] = self._begin(name, request, deadline)
            except NoAnswer:
                continue
        answers: dict[str, Message | None] = dict.fromkeys(names)
        for name, sock in begun.items():
            try:
                answers[name] = self._finish(name, sock, deadline)
                self._keep(name, sock)
            except NoAnswer:
                continue
        return answers

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            for kept in self._idle.values():
                for sock in kept:
                    sock.close()
            self._idle.clear()

    def _begin(self, name: str, request: Message, deadline: float) -> socket.socket:
        """Send the request; the socket on which `_finish` will wait for the reply."""
        data = frame(request)
        kept = self._take(name)
        if kept is not None:
            try:
                return self._send(kept, data, deadline)
            except OSError:
                pass  # it may belong to a predecessor that died: nothing of ours was read there whole
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            return self._send(sock, data, deadline, connect_to=self._run_dir.path_of(f"{name}.sock"))
        except OSError as gone:
            raise NoAnswer(f"{name} does not answer: {gone}", was_sent=False) from gone

    def _send(self, sock: socket.socket, data: bytes, deadline: float, *, connect_to: str | None = None) -> socket.socket:
        try:
            if connect_to is not None:
                sock.settimeout(self._left_s(deadline))
                sock.connect(connect_to)
            sock.settimeout(self._left_s(deadline))
            sock.sendall(data)
        except OSError:
            sock.close()
            raise
        return sock

    def _finish(self, name: str, sock: socket.socket, deadline: float) -> Message:
        """The next message; on a fault the socket is closed."""
        try:
            (length,) = struct.unpack(">I", self._read(sock, 4, deadline))
            if length > MAX_FRAME_BYTES:
                raise Damaged(f"a frame of {length} bytes")
            reply = decode(self._read(sock, length, deadline))
        except (OSError, Damaged) as broken:
            sock.close()
            raise NoAnswer(f"{name} does not answer: {broken or type(broken).__name__}", was_sent=True) from broken
        return reply

    def _read(self, sock: socket.socket, count: int, deadline: float) -> bytes:
        parts: list[bytes] = []
        while count:
            sock.settimeout(self._left_s(deadline))
            data = sock.recv(min(count, 1 << 20))
            if not data:
                raise ConnectionResetError("the connection broke off")
            parts.append(data)
            count -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _left_s(self, deadline: float) -> float:
        """With nothing left it is not waited, but what has come is read, and what there is room for is sent."""
        return max(0.0, deadline - self._world.monotonic())

    def _take(self, name: str) -> socket.socket | None:
        with self._lock:
            kept = self._idle.get(name)
            return kept.pop() if kept else None

    def _keep(self, name: str, sock: socket.socket) -> None:
        with self._lock:
            kept = self._idle.setdefault(name, deque())
            if len(kept) < KEPT_CONNECTIONS:
                kept.append(sock)
                return
        sock.close()
