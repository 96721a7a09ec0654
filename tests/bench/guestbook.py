"""Where the benchmark's tasks sign when they begin: a Unix socket, one connection a visit, open for as long as the task runs."""

from __future__ import annotations

import json
import selectors
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict


class Invitation(TypedDict):
    """The payload of a job: where the guestbook is, and a number that tells this job from the others."""

    guestbook: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiter:
    """One attempt that began; both times were taken at the task's first line."""

    number: int
    attempt: int
    pid: int
    monotonic_ns: int
    wall_ns: int


class NobodyCame(Exception):
    """A job that should have run did not."""


class Guestbook:
    """Numbers jobs, takes their visits, lets them go."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "guestbook")
        self._connector = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connector.bind(self.path)
        self._connector.listen(1024)
        self._connector.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._connector, selectors.EVENT_READ)
        self._lines: dict[socket.socket, bytes] = {}
        self._came: list[Waiter] = []
        self._next_number = 0

    def invite(self) -> Invitation:
        """The payload of a new job."""
        self._next_number += 1
        return Invitation(guestbook=self.path, number=self._next_number)

    def wait_for(self, numbers: list[int], *, attempt: int = 1, within_s: float = 30.0) -> list[Waiter]:
        """The guests with these numbers, once all have come at their `attempt`-th (or a later) attempt."""
        wanted = set(numbers)
        give_up_at = time.monotonic() + within_s
        while True:
            there = {waiter.number: waiter for waiter in self._came if waiter.number in wanted and waiter.attempt >= attempt}
            if len(there) == len(wanted):
                self._came = [waiter for waiter in self._came if waiter.number not in wanted or waiter.attempt < attempt]
                return [there[number] for number in numbers]
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                raise NobodyCame(f"{len(wanted) - len(there)} of {len(wanted)} jobs did not begin within {within_s} s")
            self.look(left_s)

    def look(self, longest_s: float) -> None:
        """Take what comes, at least one thing or until the time is over."""
        for key, _ in self._selector.select(longest_s):
            if key.fileobj is self._connector:
                self._open()
            elif isinstance(key.fileobj, socket.socket):
                self._read(key.fileobj)

    def let_all_go(self) -> None:
        """Whoever stays may leave."""
        for line in list(self._lines):
            self._close(line)

    def close(self) -> None:
        """No more visits."""
        self.let_all_go()
        self._selector.close()
        self._connector.close()

    def _open(self) -> None:
        line, _ = self._connector.accept()
        line.setblocking(False)
        self._lines[line] = b""
        self._selector.register(line, selectors.EVENT_READ)

    def _read(self, line: socket.socket) -> None:
        try:
            data = line.recv(4096)
        except ConnectionError:
            data = b""
        if not data:
            self._close(line)
            return
        self._lines[line] += data
        if self._lines[line].endswith(b"\n"):
            self._came.append(Waiter(**json.loads(self._lines[line])))

    def _close(self, line: socket.socket) -> None:
        del self._lines[line]
        self._selector.unregister(line)
        line.close()
