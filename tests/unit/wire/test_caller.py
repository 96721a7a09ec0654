"""Calls over real sockets to components that answer, or do not."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.wire.caller import Caller, NoAnswer
from engine.wire.frames import frame
from engine.wire.messages import Json, Ping
from engine.wire.run_dir import RunDir
from engine.world import World

WELL = Json(body=b'{"status":"healthy"}')


class Components:
    """Listening sockets in a run folder."""

    def __init__(self, folder: Path) -> None:
        self.run_dir = RunDir(folder)
        self.run_dir.make()
        self.caller = Caller(self.run_dir, World())
        self._socks: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def add(self, name: str, *, answers: int) -> None:
        """One that takes a connection, answers so many requests, then hangs up; without any it only listens."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.run_dir.bind(listener, f"{name}.sock")
        listener.listen()
        self._socks.append(listener)
        if answers:
            self._threads.append(threading.Thread(target=_answer, args=(listener, answers)))
            self._threads[-1].start()

    def close(self) -> None:
        self.caller.close()
        for thread in self._threads:
            thread.join(5)
        for sock in self._socks:
            sock.close()


def _answer(listener: socket.socket, count: int) -> None:
    sock, _ = listener.accept()
    with sock:
        for _ in range(count):
            sock.recv(1 << 16)
            sock.sendall(frame(WELL))


@pytest.fixture
def components(tmp_path: Path) -> Iterator[Components]:
    components = Components(tmp_path)
    yield components
    components.close()


def test_one_that_is_silent_does_not_cost_the_others_their_answers(components: Components) -> None:
    components.add("a-silent", answers=0)
    components.add("b-well", answers=1)

    answers = components.caller.call_all(["a-silent", "b-well", "c-nobody"], Ping(), timeout_s=0.1)

    assert answers == {"a-silent": None, "b-well": WELL, "c-nobody": None}


def test_a_connection_is_used_again(components: Components) -> None:
    components.add("well", answers=2)

    replies = [components.caller.call("well", Ping(), timeout_s=5) for _ in range(2)]

    assert replies == [WELL, WELL]


def test_one_that_is_silent_is_given_up_when_the_time_is_up(components: Components) -> None:
    components.add("silent", answers=0)

    with pytest.raises(NoAnswer, match="silent does not answer"):
        components.caller.call("silent", Ping(), timeout_s=0.05)
