"""The role loop in a forked child: wake-ups, drain, and exit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobyard.engine.control.channel import Channel
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.supervisor.heartbeat import HeartbeatPage
from jobyard.engine.supervisor.role_loop import EXIT_OK, describe_exit, reset_after_fork, run_role
from jobyard.engine.wire.hub import Envelope, Hub
from jobyard.engine.wire.messages import Ping, Ready, Wake
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World
from tests.support.builders import a_log
from tests.support.waiting import wait_for
from tests.support.world import START

NAME = "watcher-9001"


class Diary:
    """A role that records its calls in a file; it needs this many ticks to drain."""

    def __init__(self, fd: int, turns_to_drain: int = 1) -> None:
        self._fd = fd
        self._turns_left = turns_to_drain
        self._draining = False
        self._note("built")

    @property
    def drained(self) -> bool:
        return self._draining and self._turns_left <= 0

    def tick(self, inbox: list[Envelope]) -> float:
        for envelope in inbox:
            if not isinstance(envelope.message, Ready):
                self._note(type(envelope.message).__name__)
                if isinstance(envelope.message, Ping):
                    raise RuntimeError("told to fall")
        self._turns_left -= self._draining
        return 0.01 if self._draining else 60.0

    def drain(self) -> None:
        self._draining = True
        self._note("drain")

    def close(self) -> None:
        self._note("close")

    def counters(self) -> ComponentCounters:
        return ComponentCounters(started_at=0.0, stats={})

    def _note(self, what: str) -> None:
        os.write(self._fd, f"{what}\n".encode())


class Child:
    """A forked child that runs a recording role."""

    def __init__(self, folder: Path) -> None:
        self.world = World()
        self.run_dir = RunDir(folder)
        self.run_dir.make()
        self.heartbeats = HeartbeatPage(1)
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        self._told = ""
        self.pid = 0
        self.status: int | None = None

    def start(self, *, turns_to_drain: int = 1, before: Callable[[], None] = lambda: None) -> None:
        parent = os.getpid()

        def main() -> int:
            before()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a traceback is not of interest
            return run_role(
                lambda hub: Diary(self._write_fd, turns_to_drain), name=NAME, parent=parent, hub=Hub(self.run_dir),
                heartbeat=self.heartbeats.slot(0, self.world), log=a_log(), longest_sleep_s=30.0, world=self.world,
                channel=Channel(self.run_dir, self.world, name=NAME),
            )  # fmt: skip

        self.pid = self.world.fork(main)

    def told(self) -> list[str]:
        try:
            self._told += os.read(self._read_fd, 65536).decode()
        except BlockingIOError:
            pass
        return self._told.split()

    def wait_until_it_lives(self) -> None:
        wait_for(lambda: self.heartbeats.last_beat(0) > 0)

    def kill(self, *signals: signal.Signals) -> None:
        for number in signals:
            self.world.kill(self.pid, number)

    def end(self) -> int:
        self.status = self.world.wait(self.pid)
        return self.status

    def close(self) -> None:
        if self.pid and self.status is None:
            self.kill(signal.SIGKILL)
            self.end()
        os.close(self._read_fd)
        os.close(self._write_fd)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    child = Child(tmp_path)
    yield child
    child.close()


def test_sigterm_drains_closes_and_exits_with_0(child: Child) -> None:
    child.start(turns_to_drain=3)
    child.wait_until_it_lives()

    child.kill(signal.SIGTERM)

    assert child.end() == EXIT_OK
    assert child.told() == ["built", "drain", "close"]


def test_repeated_sigterm_drains_once(child: Child) -> None:
    child.start(turns_to_drain=20)
    child.wait_until_it_lives()

    child.kill(signal.SIGTERM)
    wait_for(lambda: "drain" in child.told())
    child.kill(signal.SIGTERM, signal.SIGTERM)

    assert child.end() == EXIT_OK
    assert child.told() == ["built", "drain", "close"]


def test_sigterm_before_the_role_is_built_is_not_lost(child: Child) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        child.start(before=lambda: os.kill(os.getpid(), signal.SIGTERM))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    assert child.end() == EXIT_OK
    assert child.told() == ["built", "drain", "close"]


def test_sigint_and_sighup_are_ignored(child: Child) -> None:
    child.start()
    child.wait_until_it_lives()

    child.kill(signal.SIGINT, signal.SIGHUP)
    hub = Hub(child.run_dir)
    hub.hint(NAME, Wake(due_at=START))

    wait_for(lambda: "Wake" in child.told())
    hub.close()


def test_it_sleeps_until_a_message_arrives(child: Child) -> None:
    child.start()
    child.wait_until_it_lives()
    hub = Hub(child.run_dir)

    hub.hint(NAME, Wake(due_at=START))
    wait_for(lambda: child.told() == ["built", "Wake"])
    hub.hint(NAME, Wake(due_at=START))
    wait_for(lambda: child.told() == ["built", "Wake", "Wake"])
    hub.close()


def test_every_tick_sends_a_heartbeat(child: Child) -> None:
    child.start()
    child.wait_until_it_lives()
    first = child.heartbeats.last_beat(0)
    hub = Hub(child.run_dir)

    hub.hint(NAME, Wake(due_at=START))

    wait_for(lambda: child.heartbeats.last_beat(0) > first)
    hub.close()


def test_an_exception_exits_with_70(child: Child) -> None:
    child.start()
    child.wait_until_it_lives()
    hub = Hub(child.run_dir)

    hub.hint(NAME, Ping())

    assert child.end() == 70
    assert child.told() == ["built", "Ping"]
    hub.close()


def test_it_dies_with_its_parent(child: Child) -> None:
    """Its parent is an intermediate process, which the test kills."""
    world = World()
    read_fd, write_fd = os.pipe()

    def parent_of_it() -> int:
        child.start()
        os.write(write_fd, f"{child.pid}\n".encode())
        signal.pause()
        return 0

    between = world.fork(parent_of_it)
    grandchild = int(os.read(read_fd, 100))
    child.wait_until_it_lives()
    world.kill(between, signal.SIGKILL)
    world.wait(between)

    wait_for(lambda: world.state_of(grandchild) in ("", "Z"))
    os.close(read_fd)
    os.close(write_fd)


def test_it_does_not_start_if_its_parent_is_already_dead(child: Child) -> None:
    pid = child.world.fork(
        lambda: run_role(
            lambda hub: Diary(2), name=NAME, parent=1 << 22, hub=Hub(child.run_dir),
            heartbeat=child.heartbeats.slot(0, child.world),
            log=a_log(), longest_sleep_s=1.0, world=child.world, channel=Channel(child.run_dir, child.world, name=NAME),
        )
    )  # fmt: skip

    assert child.world.wait(pid) == 70
    assert child.heartbeats.last_beat(0) == 0


def test_a_reset_child_keeps_neither_handlers_nor_descriptors_of_its_parent(child: Child) -> None:
    kept, closed = os.pipe()
    before = signal.signal(signal.SIGUSR1, lambda number, frame: None)

    def look() -> int:
        reset_after_fork(frozenset({kept}))
        handlers = [number for number in signal.valid_signals() if callable(signal.getsignal(number))]
        open_fds = [fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_open(fd)]
        return 0 if (handlers, sorted(open_fds)) == ([], [0, 1, 2, kept]) else 1

    status = child.world.wait(child.world.fork(look))
    signal.signal(signal.SIGUSR1, before)
    os.close(kept)
    os.close(closed)

    assert status == 0


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("status", "words"), [(0, "exit status 0"), (70, "exit status 70"), (-9, "signal 9 (SIGKILL)"), (-40, "signal 40")]
)
def test_an_exit_status_is_described(status: int, words: str) -> None:
    assert describe_exit(status) == words
