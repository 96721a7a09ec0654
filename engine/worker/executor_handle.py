"""The worker's side of one executor: sends it jobs, takes back what it has not read, ends it. The template forks and reaps it.

    Spawn sent ── Spawned ──▶ runs ── its pidfd shows that it exited ── Ended (exit status) ──▶ dead
        │  NotSpawned, or no answer in time ──▶ dead, never ran
        └──────────────── the template has died ──▶ dead once its pidfd shows so: its job is lost, not failed

Jobs that are sent before it runs wait here, so that no other process has them if it never does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections import deque

from jobyard.engine.executor.interrupt import InterruptPage, Why
from jobyard.engine.executor.packets import packet_pair, receive_packet, send_packet
from jobyard.engine.wire.hub import Network, Peer
from jobyard.engine.wire.messages import Run
from jobyard.engine.worker.executor_codec import decode_report, encode_run, run_id
from jobyard.engine.world import World

MAX_REPORT_BYTES = 4 << 20
OUTPUT_READ_BYTES = 1 << 18
"""More than a pipe holds: one read takes all that was printed before it."""
SPAWN_S = 3.0
"""The longest time that a template may take to fork an executor, and to report how it ended."""
NEVER = float("inf")


class ExecutorHandle:
    """See the module. Raises `OSError` if there are no file descriptors left."""

    def __init__(self, number: int, *, world: World, network: Network) -> None:
        self.number = number
        self.pid = 0
        self.pid_fd = -1
        self.status: int | None = None
        self.is_dead = self.is_lost = self.is_outdated = False
        self._world = world
        self._network = network
        self.has_exited = self._template_is_gone = False
        self._overdue_at = world.monotonic() + SPAWN_S
        self._waiting: deque[Run] = deque()
        with contextlib.ExitStack() as unless_made:
            page_fd = InterruptPage.make()
            unless_made.callback(os.close, page_fd)
            self._page = InterruptPage(page_fd)
            self._inbox, self._far_inbox = packet_pair()
            outbox, far_outbox = socket.socketpair()
            unless_made.callback(outbox.close)
            self.output_fd, far_output = os.pipe2(os.O_CLOEXEC)
            unless_made.pop_all()
        os.set_blocking(self.output_fd, False)
        self._far_ends: tuple[socket.socket, int, int] | None = (far_outbox, far_output, page_fd)
        self.peer: Peer = network.adopt(outbox, MAX_REPORT_BYTES, decode_report)
        network.watch(self.output_fd)

    # ---- start

    @property
    def far_descriptors(self) -> tuple[int, int, int, int]:
        """The descriptors that the executor gets, in the order of `Spawn`."""
        assert self._far_ends is not None
        outbox, output, page = self._far_ends
        return self._far_inbox.fileno(), outbox.fileno(), output, page

    def close_far_ends(self) -> None:
        """The descriptors have been sent; only the inbox stays open here, so that unread jobs can be taken back."""
        if self._far_ends is not None:
            outbox, output, page = self._far_ends
            self._far_ends = None
            outbox.close()
            os.close(output)
            os.close(page)

    @property
    def has_lived(self) -> bool:
        """Whether it was forked."""
        return self.pid > 0

    def note_spawned(self, pid: int, pid_fd: int) -> None:
        """The executor was forked; send it the jobs that waited for it."""
        self.pid, self.pid_fd = pid, pid_fd
        self._overdue_at = NEVER
        self._network.watch(pid_fd)
        while self._waiting and self._send(self._waiting[0]):
            self._waiting.popleft()

    def note_not_spawned(self) -> None:
        """The executor could not be forked, and never will be."""
        self.is_dead = True

    # ---- jobs

    def send(self, run: Run) -> bool:
        """Send it a job; False if it has too much unread, or has exited (which its pidfd shows)."""
        if self.has_lived:
            return self._send(run)
        self._waiting.append(run)
        return not self.is_dead

    def take_back(self) -> set[tuple[str, int]]:
        """Take back the jobs that it has not read: their (job_id, attempt). No process runs them now."""
        unread = {(run.job_id, run.attempt) for run in self._waiting}
        self._waiting.clear()
        while (packet := receive_packet(self._far_inbox, wait=False)) is not None:
            unread.add(run_id(packet))
        return unread

    def interrupt(self, why: Why, job_id: str, attempt: int) -> None:
        """Raise an exception in its task, if it runs this attempt."""
        self._page.ask(why, job_id, attempt)
        self._signal(signal.SIGUSR1)

    def terminate(self) -> None:
        """Send SIGTERM to it and everything that it started."""
        self._signal(signal.SIGTERM, to_group=True)

    def kill(self) -> None:
        """Kill it; the template kills the rest of its process group."""
        self._signal(signal.SIGKILL)

    def dismiss(self) -> None:
        """Let it exit once it has finished what it has read; nothing can be sent or taken back any more."""
        self._inbox.close()

    def read_output(self) -> bytes:
        """What was printed since the last call."""
        try:
            printed = os.read(self.output_fd, OUTPUT_READ_BYTES)
        except OSError:  # nothing
            return b""
        if not printed:
            self._network.forget(self.output_fd)  # every writer has closed it, and it would be readable for ever
        return printed

    def memory(self) -> int:
        """The memory that it uses, in bytes."""
        return self._world.memory_of(self.pid) if self.has_lived else 0

    # ---- end

    def note_exit(self) -> None:
        """Its pidfd shows that it has exited."""
        self._network.forget(self.pid_fd)
        self.has_exited = True
        self._overdue_at = self._world.monotonic() + SPAWN_S
        self._see_whether_dead()

    def note_ended(self, status: int | None) -> None:
        """The template has reaped it."""
        self.status, self.is_dead = status, True

    def note_template_gone(self) -> None:
        """The template has died, so the exit status will never be known; the executor exits with its template."""
        self._template_is_gone = True
        self.kill()
        self._see_whether_dead()

    def note_time(self) -> None:
        """The template may hang and report nothing: give up after a while."""
        if self._world.monotonic() >= self._overdue_at:
            self.is_dead = True

    def next_look_at(self) -> float:
        """When `note_time` has something to do, in monotonic seconds."""
        return NEVER if self.is_dead else self._overdue_at

    def reap(self) -> None:
        """Close all descriptors."""
        if self.pid_fd >= 0:
            self._network.forget(self.pid_fd)
            os.close(self.pid_fd)
        self._network.forget(self.output_fd)
        self.peer.close()
        self.close_far_ends()
        os.close(self.output_fd)
        self._inbox.close()
        self._far_inbox.close()
        self._page.close()

    def _see_whether_dead(self) -> None:
        if self._template_is_gone and not self.is_dead and (self.has_exited or not self.has_lived):
            self.is_dead, self.is_lost = True, self.has_lived

    def _send(self, run: Run) -> bool:
        try:
            return send_packet(self._inbox, encode_run(run))
        except OSError:
            return False

    def _signal(self, number: signal.Signals, *, to_group: bool = False) -> None:
        if self.has_lived:
            self._world.signal_process(self.pid_fd, number, to_group=to_group)
