"""Runs a check in a short-lived child process, which takes everything that it opens, imports or breaks with it.

So the supervisor never opens the database or imports the user's modules, yet knows before its first fork that both are possible.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from jobyard.engine.errors import CannotStart, JobyardError
from jobyard.engine.process_control import die_with_parent
from jobyard.engine.stop_requests import Wait, wait_readable
from jobyard.engine.supervisor.role_loop import describe_exit, reset_after_fork
from jobyard.engine.world import World

MAX_REPLY_BYTES = 4096
PASSED, FAILED = b"+", b"-"


class Probe:
    """A check in progress."""

    def __init__(self, world: World, about: str, check: Callable[[], str]) -> None:
        """`about`: begins the message of an unexpected failure."""
        self._world = world
        self._about = about
        self._read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        try:
            self._pid = world.fork(lambda: _run(about, check, write_fd, parent))
        except OSError:
            os.close(self._read_fd)
            raise
        finally:
            os.close(write_fd)

    def finish(self, *, timeout_s: float | None = None, wait: Wait = wait_readable) -> str:
        """The result of the check; raises `CannotStart` with the reason if it failed. The child is killed if `wait` raises."""
        try:
            readable = wait(self._read_fd, timeout_s)
        except BaseException:
            os.close(self._read_fd)
            self._world.kill(self._pid, signal.SIGKILL)
            self._world.wait(self._pid)
            raise
        reply = os.read(self._read_fd, MAX_REPLY_BYTES) if readable else b""
        os.close(self._read_fd)
        if not reply:
            self._world.kill(self._pid, signal.SIGKILL)
        status = self._world.wait(self._pid)
        text = reply[1:].decode("utf-8", "replace")
        if reply[:1] == PASSED:
            return text
        if reply[:1] == FAILED:
            raise CannotStart(text)
        reason = f"its process ended with {describe_exit(status)}" if readable else f"no answer within {timeout_s:g} s"
        raise CannotStart(f"{self._about}: {reason}")


def _run(about: str, check: Callable[[], str], write_fd: int, parent: int) -> int:
    reset_after_fork(frozenset({write_fd}))
    die_with_parent(parent)
    try:
        reply = PASSED + check().encode()
    except JobyardError as fault:
        reply = FAILED + fault.message.encode("utf-8", "replace")
    except Exception as unexpected:  # it would occur again in the long-lived process
        reply = FAILED + f"{about}: {type(unexpected).__name__}: {unexpected}".encode("utf-8", "replace")
    os.write(write_fd, reply[:MAX_REPLY_BYTES])
    return 0
