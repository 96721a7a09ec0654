"""Blocking calls to control, each with a deadline: for commands, threads of the front, and users' programs.

The kernel enforces the deadline (SO_RCVTIMEO, SO_SNDTIMEO) on connecting, on the handshake and on every answer. After a timeout
calls fail immediately for a second, so a hung control process costs a reader at most a quarter of its time. A connection is never
shared across a fork; a lost one is reopened, and a late answer is never taken for that of another call.

    with jobyard.control.connect("var") as control:
        for process in control.roster():
            print(process.name, process.state, process.pid)
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from jobyard.engine.control.handshake import NAMED_MESSAGE_BYTES, Handshake
from jobyard.engine.control.protocol import OVERVIEW, SOCKET, Broken, CallFailed, Frames, framed, read_answer, read_key, request
from jobyard.engine.control.publisher import LATEST
from jobyard.engine.control.snapshot import Process, counters_in, processes_in
from jobyard.engine.errors import Unavailable
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

DEADLINE_S = 0.25
AWAY_S = 1.0
READ_BYTES = 1 << 16


class ControlAway(Unavailable):
    """Control is not available. `was_never_there`: there is no socket, so nothing runs on this data folder, or not yet."""

    def __init__(self, message: str, *, was_never_there: bool = False) -> None:
        super().__init__("unavailable", message)
        self.was_never_there = was_never_there


class Control:
    """One connection, which threads may share; one call at a time."""

    def __init__(self, run_dir: RunDir, world: World, *, name: str, deadline_s: float = DEADLINE_S) -> None:
        """`name`: identifies the client to control."""
        self._run_dir = run_dir
        self._world = world
        self._name = name
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._pid = 0
        self._frames = Frames()
        self._received: list[bytes] = []
        self._not_before = float("-inf")

    def call(self, name: str, method: str, *arguments: object) -> Any:
        """The returned value; raises `ControlAway`."""
        with self._lock:
            if self._pid != os.getpid():
                self._drop()
            if self._world.monotonic() < self._not_before:
                raise ControlAway("control is away: it did not answer a moment ago")
            try:
                return self._ask_with_reconnect(request(name, method, *arguments))
            except CallFailed as fault:
                raise ControlAway(f"control failed to execute the call: {fault}") from fault
            except FileNotFoundError as missing:
                raise ControlAway("control is away: it has no socket", was_never_there=True) from missing
            except BlockingIOError as silent:
                self._drop()
                self._not_before = self._world.monotonic() + AWAY_S
                raise ControlAway(f"control is away: no answer within {self._deadline_s:g} s") from silent
            except OSError as fault:
                self._drop()
                raise ControlAway(f"control is away: {fault.strerror or fault}") from fault

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _ask_with_reconnect(self, text: bytes) -> Any:
        """If the open connection is lost, control was replaced together with its state, so repeating the call is safe."""
        if self._sock is not None:
            try:
                return self._ask(text)
            except BlockingIOError:
                raise
            except OSError:
                self._drop()
        self._connect()
        return self._ask(text)

    def _connect(self) -> None:
        key = read_key(self._run_dir)
        limit = struct.pack("ll", int(self._deadline_s), int(self._deadline_s % 1 * 1e6))
        self._sock, self._pid, self._frames, self._received = socket.socket(socket.AF_UNIX), os.getpid(), Frames(), []
        try:
            self._sock.setblocking(True)  # regardless of socket.setdefaulttimeout
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            self._sock.connect(self._run_dir.path_of(SOCKET))
            handshake = Handshake(key, bytes.fromhex(self._world.token(8 * NAMED_MESSAGE_BYTES)))
            while not handshake.is_done:
                for reply in handshake.answer(self._next_frame()):
                    self._sock.sendall(framed(reply))
            self._ask(request(None, "accept_connection", self._name))
        except OSError:
            self._drop()
            raise

    def _ask(self, text: bytes) -> Any:
        assert self._sock is not None
        self._sock.sendall(framed(text))
        return read_answer(self._next_frame())

    def _next_frame(self) -> bytes:
        assert self._sock is not None
        while not self._received:
            data = self._sock.recv(READ_BYTES)
            if not data:
                raise Broken("control closed the connection")
            self._received.extend(self._frames.feed(data))
        return self._received.pop(0)

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = None


class LocalControl:
    """A read-only view of a Jobyard on this host, for programs of the same user; see the module for an example.

    Every call raises `ControlAway` when nothing runs there, or control does not answer within a quarter of a second.
    """

    def __init__(self, data_dir: str | Path) -> None:
        self._world = World()
        self._control = Control(RunDir(Path(data_dir).expanduser().absolute()), self._world, name="local")

    def roster(self) -> list[Process]:
        """All processes: name, role, pid, generation, state and since when, restarts, how the previous one ended."""
        return processes_in(self._control.call(OVERVIEW, "read", [LATEST]), self._world)

    def counters(self) -> dict[str, dict[str, Any]]:
        """The counters of each component by name, as `/stats` on its port shows them; at most a tenth of a second old."""
        return counters_in(self._control.call(OVERVIEW, "read", [LATEST]), self._world)

    def close(self) -> None:
        """Close the connection."""
        self._control.close()

    def __enter__(self) -> LocalControl:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def connect(data_dir: str | Path) -> LocalControl:
    """A view of the Jobyard on this `DATA_DIR`; connects on the first call."""
    return LocalControl(data_dir)
