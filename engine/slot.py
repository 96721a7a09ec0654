"""A worker's view of one executor child: start it, hand it jobs, take back what it has not read, end it.

The child's death is seen on its pidfd. Its group is killed while the dead child is not yet reaped, because until then nobody
else can have its number. What it reported before it died is read first: the slot is buried one turn after the death was seen.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from engine.executor import CANCEL, TIMEOUT, Ends
from engine.job import ExecutionStatus, Job, Ticket
from engine.wire.hub import Network, Peer
from engine.wire.messages import Run
from engine.wire.packets import packet_pair, receive_packet, send_packet
from engine.world import World

MAX_REPORT_BYTES = 4 << 20
OUTPUT_READ_BYTES = 1 << 18
PAGE_BYTES = mmap.PAGESIZE
MAX_OUTPUT_BYTES = 64 << 10

Child = Callable[[Ends], int]


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """A job that was begun here and has not been settled."""

    job: Job
    ticket: Ticket
    started_at: float | None = None
    ending: ExecutionStatus | None = None
    next_step_at: float = 0.0
    step: int = 0
    output_bytes: int = 0
    crash: str | None = None


class Slot:
    """One executor child."""

    def __init__(self, *, child: Child, world: World, network: Network) -> None:
        self._world = world
        self._network = network
        self.attempts: deque[Attempt] = deque()
        self.runs = 0
        self.dying = False
        self.broke_off_at: float | None = None
        self.retiring = False
        self._page = mmap.mmap(-1, PAGE_BYTES)
        self._inbox, self._far_inbox = packet_pair()
        outbox, far_outbox = socket.socketpair()
        self.output_fd, far_output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.output_fd, False)
        ends = Ends(inbox=self._far_inbox, outbox=far_outbox, output=far_output, page=self._page)
        self.pid = world.fork(lambda: child(ends))
        far_outbox.close()
        os.close(far_output)
        self.pid_fd = os.pidfd_open(self.pid)
        self.peer: Peer = network.adopt(outbox)
        network.watch(self.pid_fd)
        network.watch(self.output_fd)

    @property
    def current(self) -> Attempt | None:
        """What it runs now."""
        return self.attempts[0] if self.attempts else None

    @property
    def takes_work(self) -> bool:
        """Whether it may be handed a job at all."""
        return not self.dying and not self.retiring

    def hand(self, attempt: Attempt) -> bool:
        """Give it one more job; False when it has too much unread."""
        job = attempt.job
        run = Run(
            job_id=job.job_id, attempt=job.attempt, epoch=job.epoch, retry_count=job.retry_count, task=job.task,
            payload=job.payload, timeout_s=job.timeout_s,
        )  # fmt: skip
        try:
            if not send_packet(self._inbox, run):
                return False
        except OSError:  # it is dead; the pidfd will tell
            return False
        if not self.attempts:
            attempt.started_at = self._world.monotonic()
        self.attempts.append(attempt)
        return True

    def done(self, job_id: str, number: int) -> Attempt | None:
        """The attempt that it says has ended; None when it says so of one that it does not have."""
        current = self.current
        if current is None or current.job.job_id != job_id or current.job.attempt != number:
            return None
        self.attempts.popleft()
        self.runs += 1
        if self.attempts:
            self.attempts[0].started_at = self._world.monotonic()
        return current

    def take_back(self) -> list[Attempt]:
        """What it has not begun to read, in order; nobody runs it now."""
        unread: set[str] = set()
        while (run := receive_packet(self._far_inbox, wait=False)) is not None:
            assert isinstance(run, Run)
            unread.add(run.job_id)
        taken = [attempt for attempt in self.attempts if attempt.job.job_id in unread]
        self.attempts = deque(attempt for attempt in self.attempts if attempt.job.job_id not in unread)
        for attempt in taken:
            attempt.started_at = None
        return taken

    def interrupt(self, attempt: Attempt) -> None:
        """Raise an exception in its task, if that is what it runs."""
        self._page[:25] = (TIMEOUT if attempt.ending is ExecutionStatus.TIMEOUT else CANCEL) + attempt.job.job_id.encode()
        self._world.kill(self.pid, signal.SIGUSR1)

    def terminate(self) -> None:
        """Ask it and all that it started to leave."""
        self._world.kill_group(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started."""
        if not self._world.kill_group(self.pid, signal.SIGKILL):
            self._world.kill(self.pid, signal.SIGKILL)

    def retire(self) -> None:
        """Let it leave once it has nothing left to do."""
        self.retiring = True
        self._inbox.close()
        self._far_inbox.close()

    def read_output(self) -> bytes:
        """What its tasks printed since the last look."""
        try:
            return os.read(self.output_fd, OUTPUT_READ_BYTES)
        except OSError:
            return b""

    def bury(self) -> int:
        """Kill what is left of its group, reap it, let go of everything; its exit status, or minus a signal's number."""
        self._network.forget(self.pid_fd)
        self._network.forget(self.output_fd)
        self._world.kill_group(self.pid, signal.SIGKILL)
        status = self._world.wait(self.pid)
        self.peer.close()
        for fd in (self.pid_fd, self.output_fd):
            os.close(fd)
        self._inbox.close()
        self._far_inbox.close()
        return status
