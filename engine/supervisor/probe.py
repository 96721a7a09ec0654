"""Checks that run in a short-lived child process, so that what they open, import or break is gone when they end.

So the supervisor never opens the database and never imports a user's module, and knows before its first fork that both can be done.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

from jobyard.engine.errors import CannotStart, JobyardError
from jobyard.engine.process_control import die_with_parent
from jobyard.engine.supervisor.role_loop import start_afresh, words_for
from jobyard.engine.world import World

MAX_ANSWER_BYTES = 4096
GOOD, BAD = b"+", b"-"


class Probe:
    """A check in progress."""

    def __init__(self, world: World, about: str, ask: Callable[[], str]) -> None:
        self._world = world
        self._about = about
        self._read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        self._pid = world.fork(lambda: _answer(about, ask, write_fd, parent))
        os.close(write_fd)

    def finish(self, *, timeout_s: float | None = None) -> str:
        """The result; raises `CannotStart` with the reason if there is none."""
        readable, _, _ = select.select([self._read_fd], [], [], timeout_s)
        answer = os.read(self._read_fd, MAX_ANSWER_BYTES) if readable else b""
        os.close(self._read_fd)
        if not answer:
            self._world.kill(self._pid, signal.SIGKILL)
        status = self._world.wait(self._pid)
        text = answer[1:].decode("utf-8", "replace")
        if answer[:1] == GOOD:
            return text
        if answer[:1] == BAD:
            raise CannotStart(text)
        reason = f"its process ended with {words_for(status)}" if readable else f"no answer within {timeout_s:g} s"
        raise CannotStart(f"{self._about}: {reason}")


def _answer(about: str, ask: Callable[[], str], write_fd: int, parent: int) -> int:
    start_afresh(frozenset({write_fd}))
    die_with_parent(parent)
    try:
        answer = GOOD + ask().encode()
    except JobyardError as fault:
        answer = BAD + fault.message.encode("utf-8", "replace")
    except Exception as surprise:  # whatever it is, it would recur in the process that stays
        answer = BAD + f"{about}: {type(surprise).__name__}: {surprise}".encode("utf-8", "replace")
    os.write(write_fd, answer[:MAX_ANSWER_BYTES])
    return 0
