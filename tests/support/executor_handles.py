"""Fake executors and a fake template that forks them; the tests decide what they do."""

from __future__ import annotations

import errno
import itertools
from typing import cast

from jobyard.engine.executor.interrupt import Why
from jobyard.engine.wire.messages import Run
from jobyard.engine.worker.executor_handle import ExecutorHandle
from jobyard.engine.worker.template_client import TemplateClient
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
        self.status: int | None = 0
        self.is_dead = self.is_lost = self.is_outdated = self.has_exited = False
        self.has_lived = True

    def read(self) -> Run:
        """The child starts the next job, after it has reported the previous one."""
        return self.unread.pop(0)

    def send(self, run: Run) -> bool:
        self.unread.append(run)
        return True

    def take_back(self) -> set[tuple[str, int]]:
        taken, self.unread = self.unread, []
        return {(run.job_id, run.attempt) for run in taken}

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

    def reap(self) -> None:
        return


class FakeTemplates:
    """See `TemplateClient`."""

    def __init__(self) -> None:
        self.handles: list[FakeExecutorHandle] = []
        self.is_open = True
        self.fault: str | None = None

    def as_client(self) -> TemplateClient:
        return cast(TemplateClient, self)

    def spawn(self) -> ExecutorHandle:
        if not self.is_open:
            raise OSError(errno.ECONNREFUSED, "there is no template")
        self.handles.append(FakeExecutorHandle())
        return cast(ExecutorHandle, self.handles[-1])

    def look_after(self) -> None:
        return

    def next_look_at(self) -> float:
        return float("inf")
