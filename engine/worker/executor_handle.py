"""A worker's line to one executor child: start it, hand it jobs, take back what it has not read, end it.

The child's death is seen on its pidfd. Its group is killed while the dead child is not yet reaped, because until then nobody
else can have its number.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

from jobyard.engine.executor.executor import ExecutorDescriptors
from jobyard.engine.executor.interrupt import InterruptPage, Why
from jobyard.engine.wire.hub import Network, Peer
from jobyard.engine.wire.messages import Run
from jobyard.engine.wire.packets import packet_pair, receive_packet, send_packet
from jobyard.engine.world import World

MAX_REPORT_BYTES = 4 << 20
OUTPUT_READ_BYTES = 1 << 18
"""More than a pipe holds: one read takes all that was printed before it."""

Child = Callable[[ExecutorDescriptors], int]


class ExecutorHandle:
    """See the module. Raises `OSError` when no child can be started."""

    def __init__(self, *, child: Child, world: World, network: Network) -> None:
        self._world = world
        self._network = network
        self._page = InterruptPage()
        self._inbox, self._far_inbox = packet_pair()
        outbox, far_outbox = socket.socketpair()
        self.output_fd, far_output = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.output_fd, False)
        ends = ExecutorDescriptors(inbox=self._far_inbox, outbox=far_outbox, output=far_output, page=self._page)
        self.pid = 0
        try:
            self.pid = world.fork(lambda: child(ends))
            self.pid_fd = os.pidfd_open(self.pid)
        except OSError:
            outbox.close()
            self._give_up()
            raise
        finally:
            far_outbox.close()
            os.close(far_output)
        self.peer: Peer = network.adopt(outbox, MAX_REPORT_BYTES)
        network.watch(self.pid_fd)
        network.watch(self.output_fd)

    def send(self, run: Run) -> bool:
        """Hand it a job; False when it has too much unread, or is gone (its pidfd will tell)."""
        try:
            return send_packet(self._inbox, run)
        except OSError:
            return False

    def take_back(self) -> list[Run]:
        """What it has not begun to read; nobody runs it now."""
        unread = []
        while (run := receive_packet(self._far_inbox, wait=False)) is not None:
            assert isinstance(run, Run)
            unread.append(run)
        return unread

    def interrupt(self, why: Why, job_id: str, attempt: int) -> None:
        """Raise an exception in its task, if that is what it runs."""
        self._page.ask(why, job_id, attempt)
        self._world.kill(self.pid, signal.SIGUSR1)

    def terminate(self) -> None:
        """Ask it and all that it started to leave."""
        self._world.kill_group(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it started."""
        if not self._world.kill_group(self.pid, signal.SIGKILL):
            self._world.kill(self.pid, signal.SIGKILL)  # so young that it has no group yet

    def dismiss(self) -> None:
        """Let it leave once it has done what it has read; nothing can be handed to it or taken back any more."""
        self._inbox.close()

    def read_output(self) -> bytes:
        """What was printed since the last look."""
        try:
            printed = os.read(self.output_fd, OUTPUT_READ_BYTES)
        except OSError:  # nothing
            return b""
        if not printed:
            self._network.forget(self.output_fd)  # everybody has closed it, and it would be readable for ever
        return printed

    def memory(self) -> int:
        """Bytes that it holds."""
        return self._world.memory_of(self.pid)

    def reap(self) -> int:
        """Kill what is left of its group, reap it, let go of everything; its exit status, or minus a signal's number."""
        self._world.kill_group(self.pid, signal.SIGKILL)
        self._world.kill(self.pid, signal.SIGKILL)  # it is dead; were it not, we would wait for ever
        status = self._world.wait(self.pid)
        self._network.forget(self.pid_fd)
        self._network.forget(self.output_fd)
        self.peer.close()
        os.close(self.pid_fd)
        self._let_go()
        return status

    def _give_up(self) -> None:
        if self.pid:
            self._world.kill(self.pid, signal.SIGKILL)
            self._world.wait(self.pid)
        self._let_go()

    def _let_go(self) -> None:
        os.close(self.output_fd)
        self._inbox.close()
        self._far_inbox.close()
        self._page.close()
