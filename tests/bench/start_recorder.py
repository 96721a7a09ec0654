"""Records when the benchmark's tasks start: a Unix socket, with one connection per attempt that stays open while the task runs."""

from __future__ import annotations

import json
import selectors
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict


class StartPayload(TypedDict):
    """The payload of a job: the recorder's socket, and the job's number."""

    recorder: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStart:
    """One attempt that started; both times were taken at the task's first line."""

    number: int
    attempt: int
    pid: int
    monotonic_ns: int
    wall_ns: int


class JobsNotStarted(Exception):
    """Jobs that should have started did not."""


class StartRecorder:
    """Numbers jobs, records their starts, and releases the tasks that hold."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "starts")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(1024)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._connections: dict[socket.socket, bytes] = {}
        self._starts: list[JobStart] = []
        self._next_number = 0

    def new_payload(self) -> StartPayload:
        """The payload of a new job."""
        self._next_number += 1
        return StartPayload(recorder=self.path, number=self._next_number)

    def wait_for(self, numbers: list[int], *, attempt: int = 1, within_s: float = 30.0) -> list[JobStart]:
        """The starts of these jobs, once all have started at their `attempt`-th (or a later) attempt."""
        wanted = set(numbers)
        give_up_at = time.monotonic() + within_s
        while True:
            by_number = {start.number: start for start in self._starts if start.number in wanted and start.attempt >= attempt}
            if len(by_number) == len(wanted):
                self._starts = [start for start in self._starts if start.number not in wanted or start.attempt < attempt]
                return [by_number[number] for number in numbers]
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                raise JobsNotStarted(f"{len(wanted) - len(by_number)} of {len(wanted)} jobs did not start within {within_s} s")
            self.poll(left_s)

    def poll(self, longest_s: float) -> None:
        """Read what arrives: at least one event, unless the time is over."""
        for key, _ in self._selector.select(longest_s):
            if key.fileobj is self._listener:
                self._open()
            elif isinstance(key.fileobj, socket.socket):
                self._read(key.fileobj)

    def release_all(self) -> None:
        """Let every task that holds return."""
        for connection in list(self._connections):
            self._close(connection)

    def close(self) -> None:
        """Stop recording."""
        self.release_all()
        self._selector.close()
        self._listener.close()

    def _open(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        self._connections[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(4096)
        except ConnectionError:
            data = b""
        if not data:
            self._close(connection)
            return
        self._connections[connection] += data
        if self._connections[connection].endswith(b"\n"):
            self._starts.append(JobStart(**json.loads(self._connections[connection])))

    def _close(self, connection: socket.socket) -> None:
        del self._connections[connection]
        self._selector.unregister(connection)
        connection.close()
