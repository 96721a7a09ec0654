"""Fake executor children, whose behaviour the tests decide."""

from __future__ import annotations

import itertools

from jobyard.engine.executor.interrupt import Why
from jobyard.engine.wire.messages import Run
from tests.support.network import FakePeer

_numbers = itertools.count(100)


class FakeExecutorHandle:
    """See `ExecutorHandle`. What was sent waits in `unread` until `read`. `done_to_it`: what the worker did to the child."""

    def __init__(self) -> None:
        self.pid = next(_numbers)
        self.pid_fd = next(_numbers)
        self.output_fd = next(_numbers)
        self.peer = FakePeer(f"child {self.pid}")
        self.unread: list[Run] = []
        self.done_to_it: list[str] = []
        self.holds_bytes = 0
        self.status = 0

    def read(self) -> Run:
        """The child starts the next job, after it has reported the previous one."""
        return self.unread.pop(0)

    def send(self, run: Run) -> bool:
        self.unread.append(run)
        return True

    def take_back(self) -> list[Run]:
        taken, self.unread = self.unread, []
        return taken

    def interrupt(self, why: Why, job_id: str, attempt: int) -> None:
        self.done_to_it.append(f"interrupt {job_id}")

    def terminate(self) -> None:
        self.done_to_it.append("terminate")

    def kill(self) -> None:
        self.done_to_it.append("kill")
        self.status = -9

    def dismiss(self) -> None:
        self.done_to_it.append("dismiss")

    def read_output(self) -> bytes:
        return b""

    def memory(self) -> int:
        return self.holds_bytes

    def reap(self) -> int:
        return self.status
