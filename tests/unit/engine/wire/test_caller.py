"""Calls over real sockets to components that answer, or do not."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobyard.engine.wire.caller import Caller, NoAnswer
from jobyard.engine.wire.frames import frame
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Begun, Json, Ping
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World
from tests.support.waiting import LIMIT_S

WELL = Json(body=b'{"status":"healthy"}')


class Components:
    """Listening sockets in a run folder."""

    def __init__(self, folder: Path) -> None:
        self.run_dir = RunDir(folder)
        self.run_dir.make()
        self.caller = Caller(self.run_dir, World())
        self._socks: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()

    def add(
        self, name: str, *, answers: int, reply: Message | bytes = WELL, once: threading.Event | None = None,
        hangs_after: bool = False,
    ) -> None:  # fmt: skip
        """One that takes a connection, answers so many requests, then hangs up or hangs; without any it only listens."""
        listener = self.listen(name)
        if not answers:
            return
        data = reply if isinstance(reply, bytes) else frame(reply)
        until = self._closing if hangs_after else None
        thread = threading.Thread(target=_answer, args=(listener, answers, data, once, until))
        self._threads.append(thread)
        thread.start()

    def listen(self, name: str) -> socket.socket:
        """One that only listens."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.run_dir.bind(listener, f"{name}.sock")
        listener.listen()
        self._socks.append(listener)
        return listener

    def join(self) -> None:
        """Until all that were added have hung up."""
        for thread in self._threads:
            thread.join(LIMIT_S)

    def close(self) -> None:
        self._closing.set()
        self.join()
        self.caller.close()
        for sock in self._socks:
            sock.close()


def _read_and_answer(sock: socket.socket, count: int) -> None:
    with sock:
        while count:
            count -= len(sock.recv(1 << 20))
        sock.sendall(frame(WELL))


def _answer(
    listener: socket.socket, count: int, reply: bytes, once: threading.Event | None, until: threading.Event | None
) -> None:  # fmt: skip
    sock, _ = listener.accept()
    with sock, contextlib.suppress(BrokenPipeError):
        for _ in range(count):
            sock.recv(1 << 16)
            if once is not None:
                once.wait(LIMIT_S)
            sock.sendall(reply)
        if until is not None:
            until.wait(LIMIT_S)


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

    replies = [components.caller.call("well", Ping(), timeout_s=LIMIT_S) for _ in range(2)]

    assert replies == [WELL, WELL]


def test_one_that_is_silent_is_given_up_when_the_time_is_up(components: Components) -> None:
    components.add("silent", answers=0)

    with pytest.raises(NoAnswer, match="silent does not answer"):
        components.caller.call("silent", Ping(), timeout_s=0.05)


def test_nobody_listening_is_no_answer_and_nothing_was_sent(components: Components) -> None:
    with pytest.raises(NoAnswer) as raised:
        components.caller.call("nobody", Ping(), timeout_s=LIMIT_S)

    assert not raised.value.was_sent


def test_a_kept_connection_to_a_predecessor_is_replaced_by_one_to_its_successor(components: Components) -> None:
    components.add("well", answers=1)
    components.caller.call("well", Ping(), timeout_s=LIMIT_S)
    components.join()
    components.add("well", answers=1)

    assert components.caller.call("well", Ping(), timeout_s=LIMIT_S) == WELL


def test_a_late_reply_is_never_taken_for_anothers(components: Components) -> None:
    go_on = threading.Event()
    components.add("late", answers=1, once=go_on)
    with pytest.raises(NoAnswer):
        components.caller.call("late", Ping(), timeout_s=0.05)
    go_on.set()
    components.join()
    components.add("late", answers=1, reply=Json(body=b"2"))

    assert components.caller.call("late", Ping(), timeout_s=LIMIT_S) == Json(body=b"2")


def test_a_request_that_nobody_reads_is_given_up_when_the_time_is_up(components: Components) -> None:
    components.add("silent", answers=0)

    with pytest.raises(NoAnswer) as raised:
        components.caller.call("silent", Json(body=b"x" * (4 << 20)), timeout_s=0.1)

    assert not raised.value.was_sent


def test_a_kept_connection_that_hangs_does_not_double_the_time(components: Components) -> None:
    components.add("hangs", answers=1, hangs_after=True)
    components.caller.call("hangs", Ping(), timeout_s=LIMIT_S)
    listener = components.listen("hangs")
    listener.setblocking(False)

    with pytest.raises(NoAnswer):
        components.caller.call("hangs", Json(body=b"x" * (4 << 20)), timeout_s=0.1)

    with pytest.raises(BlockingIOError):
        listener.accept()  # nobody has come a second time


def test_a_reply_can_be_waited_for_again(components: Components) -> None:
    go_on = threading.Event()
    components.add("slow", answers=2, once=go_on)
    call = components.caller.begin("slow", Ping())
    nothing = call.wait(0.01)
    go_on.set()

    assert (nothing, call.wait(LIMIT_S)) == (None, WELL)
    assert components.caller.call("slow", Ping(), timeout_s=LIMIT_S) == WELL


def test_a_word_that_it_has_begun_is_no_reply(components: Components) -> None:
    components.add("begins", answers=1, reply=frame(Begun()) + frame(WELL)[:3], hangs_after=True)
    call = components.caller.begin("begins", Ping())

    assert call.wait(0.2) is None
    assert call.has_begun
    call.drop()


def test_a_reply_behind_that_word_is_the_reply(components: Components) -> None:
    components.add("begins", answers=1, reply=frame(Begun()) + frame(WELL))

    assert components.caller.call("begins", Ping(), timeout_s=LIMIT_S) == WELL


def test_a_large_request_is_sent_as_it_is_read_while_its_reply_is_waited_for(components: Components) -> None:
    listener = components.listen("reads")
    request = Json(body=b"x" * (4 << 20))
    call = components.caller.begin("reads", request)
    sent_at_once = call.was_sent
    sock, _ = listener.accept()
    reader = threading.Thread(target=_read_and_answer, args=(sock, len(frame(request))))
    reader.start()

    assert not sent_at_once
    assert call.wait(LIMIT_S) == WELL
    assert call.was_sent
    reader.join(LIMIT_S)


def test_a_call_that_was_dropped_leaves_no_connection_to_be_used_again(components: Components) -> None:
    components.add("well", answers=1, hangs_after=True)
    components.caller.begin("well", Ping()).drop()
    components.add("well", answers=1, reply=Json(body=b"2"))

    assert components.caller.call("well", Ping(), timeout_s=LIMIT_S) == Json(body=b"2")


@pytest.mark.parametrize("garbage", [b"\xff" * 64, b"\0\0\0\1\xc1", b"\0\0\0\0", b"\0\0"])
def test_a_damaged_reply_is_no_answer(components: Components, garbage: bytes) -> None:
    components.add("mad", answers=1, reply=garbage)

    with pytest.raises(NoAnswer) as raised:
        components.caller.call("mad", Ping(), timeout_s=LIMIT_S)

    assert raised.value.was_sent


def test_many_threads_call_at_once_and_each_gets_its_own_answer(components: Components) -> None:
    for number in range(4):
        components.add(f"c-{number}", answers=25, reply=Json(body=str(number).encode()))
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(25):
            if components.caller.call(f"c-{number}", Ping(), timeout_s=LIMIT_S) != Json(body=str(number).encode()):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)

    assert wrong == []
