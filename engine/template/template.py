"""The loop that forks executors: one connection to the supervisor, one to each worker, a pidfd of each executor.

    Spawn ──▶ fork ──▶ Spawned (pidfd) … the executor exits ──▶ its group is killed, it is reaped ──▶ Ended

When a worker dies, which its connection or the supervisor reports, its executors are killed. Only this process can prove that they
are gone, because it is their parent: it reports so once it has reaped them all. Nothing here blocks.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from socket import socket

from jobyard.engine.executor.child import run_executor
from jobyard.engine.executor.executor import ExecutorDescriptors
from jobyard.engine.executor.interrupt import InterruptPage
from jobyard.engine.executor.packets import receive_with_descriptors, send_packet
from jobyard.engine.tasks.registry import Registry
from jobyard.engine.template import messages
from jobyard.engine.template.messages import (
    Alive,
    Ended,
    EndWorker,
    Hello,
    NotSpawned,
    Ping,
    Retire,
    Retiring,
    Spawn,
    Spawned,
    WorkerEnded,
)
from jobyard.engine.world import World

EXIT_OK, EXIT_IMPORT_FAILED = 0, 2
DESCRIPTORS = 4
BACKLOG = 64


@dataclass(slots=True, eq=False)
class WorkerLine:
    """A worker's connection, and the executors forked for it: number and pid by pidfd."""

    sock: socket
    owner: str = ""
    title: str = ""
    executors: dict[int, tuple[int, int]] = field(default_factory=dict)
    is_open: bool = True


class Template:
    """The loop. Created before the user's modules are imported, so that it keeps everything as it was."""

    def __init__(
        self, *, line: socket, listener: socket, closed_in_children: list[int], folder: str, log_level: str, world: World,
        registry: Registry,
    ) -> None:  # fmt: skip
        self._line = line
        self._listener: socket | None = listener
        self._closed_in_children = closed_in_children
        self._folder = folder
        self._log_level = log_level
        self._world = world
        self._registry = registry
        self._pid = os.getpid()
        self._poll = select.poll()  # needs no descriptor of its own, which every fork would share
        self._actions: dict[int, Callable[[], None]] = {}
        self._workers: list[WorkerLine] = []
        self._dead: set[str] = set()
        self._asked: set[str] = set()
        self._leaves = False

    def live(self) -> int:
        """Run until the supervisor is gone, or all executors have exited after `Retire`; returns the exit status."""
        listener = self._listener
        assert listener is not None
        for sock in (self._line, listener):
            sock.setblocking(False)
        self._watch(self._line.fileno(), self._read_supervisor)
        self._watch(listener.fileno(), self._accept)
        while not (self._leaves and not self._workers):
            for fd, _ in self._poll.poll():
                if fd in self._actions:
                    self._actions[fd]()
        return EXIT_OK

    # ---- the supervisor

    def _read_supervisor(self) -> None:
        for message, _ in _messages_of(self._line):
            match message:
                case None:
                    os._exit(EXIT_OK)  # it has died; the kernel kills the executors when this process exits
                case Ping():
                    self._tell_supervisor(Alive())
                case EndWorker(owner=owner):
                    self._end_worker(owner)
                case Retire():
                    self._retire()

    def _end_worker(self, owner: str) -> None:
        """The worker is dead, so everything that it sent has arrived: read it first, then nothing more can follow."""
        self._accept()
        self._dead.add(owner)
        self._asked.add(owner)
        for worker in [worker for worker in self._workers if worker.owner == owner and worker.is_open]:
            self._read_worker(worker)
        for worker in [worker for worker in self._workers if worker.owner == owner]:
            self._lose(worker)
        self._tell_of_the_dead()

    def _retire(self) -> None:
        self._leaves = True
        if self._listener is not None:
            self._accept()  # workers that are connecting must receive it, too
            self._forget(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for worker in list(self._workers):
            self._tell(worker, Retiring())

    def _tell_supervisor(self, message: messages.Message) -> None:
        send_packet(self._line, messages.encode(message))

    def _tell_of_the_dead(self) -> None:
        living = {worker.owner for worker in self._workers}
        for owner in [owner for owner in self._asked if owner not in living]:
            self._asked.discard(owner)
            self._tell_supervisor(WorkerEnded(owner=owner))

    # ---- workers

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # nobody is connecting, or no descriptor is left: the worker retries
                return
            sock.setblocking(False)
            worker = WorkerLine(sock)
            self._workers.append(worker)
            self._watch(sock.fileno(), lambda worker=worker: self._read_worker(worker))  # type: ignore[misc]
            self._read_worker(worker)

    def _read_worker(self, worker: WorkerLine) -> None:
        for message, fds in _messages_of(worker.sock):
            match message:
                case Hello(owner=owner, title=title) if owner not in self._dead:
                    worker.owner, worker.title = owner, title
                case Spawn(number=number) if len(fds) == DESCRIPTORS and worker.owner not in self._dead:
                    self._spawn(worker, number, fds)
                case _:
                    self._lose(worker)
            for fd in fds:
                os.close(fd)
            if not worker.is_open:
                return

    def _lose(self, worker: WorkerLine) -> None:
        """The worker sends nothing more: kill its executors; it is forgotten with the last of them."""
        if worker.is_open:
            worker.is_open = False
            self._forget(worker.sock.fileno())
            worker.sock.close()
        for _, pid in worker.executors.values():
            self._kill(pid)
        self._forget_if_over(worker)

    def _forget_if_over(self, worker: WorkerLine) -> None:
        if not worker.is_open and not worker.executors and worker in self._workers:
            self._workers.remove(worker)
            self._tell_of_the_dead()

    def _tell(self, worker: WorkerLine, message: messages.Message, *fds: int) -> None:
        """Send to a worker; one that is gone, or has not read for long, is lost."""
        if worker.is_open:
            try:
                if send_packet(worker.sock, messages.encode(message), fds):
                    return
            except OSError:
                pass
            self._lose(worker)

    # ---- executors

    def _spawn(self, worker: WorkerLine, number: int, fds: list[int]) -> None:
        try:
            pid = self._world.fork(lambda: self._be_executor(worker.title, fds))
        except OSError as fault:
            self._tell(worker, NotSpawned(number=number, reason=str(fault.strerror)))
            return
        pid_fd = os.pidfd_open(pid)
        worker.executors[pid_fd] = number, pid
        self._watch(pid_fd, lambda: self._reap(worker, pid_fd))
        self._tell(worker, Spawned(number=number, pid=pid), pid_fd)

    def _be_executor(self, title: str, fds: list[int]) -> int:
        """In the fork: close the template's own descriptors, keep those that the modules opened."""
        for fd in (*self._actions, *self._closed_in_children):
            os.close(fd)
        inbox, outbox, output, page = fds
        ends = ExecutorDescriptors(
            inbox=socket(fileno=inbox), outbox=socket(fileno=outbox), output=output, page=InterruptPage(page)
        )  # fmt: skip
        os.close(page)
        for sock in (ends.inbox, ends.outbox):
            sock.setblocking(True)  # regardless of the default timeout that a module may have set
        return run_executor(
            ends, registry=self._registry, world=self._world, parent=self._pid, title=title, folder=self._folder,
            log_level=self._log_level,
        )  # fmt: skip

    def _reap(self, worker: WorkerLine, pid_fd: int) -> None:
        """Kill the process group before reaping, while its number cannot be reused."""
        number, pid = worker.executors.pop(pid_fd)
        self._kill(pid)
        try:
            status: int | None = self._world.wait(pid)
        except ChildProcessError:  # a thread of a module reaped it first
            status = None
        self._forget(pid_fd)
        os.close(pid_fd)
        self._tell(worker, Ended(number=number, status=status))
        self._forget_if_over(worker)

    def _kill(self, pid: int) -> None:
        self._world.kill_group(pid, signal.SIGKILL)
        self._world.kill(pid, signal.SIGKILL)

    # ---- descriptors

    def _watch(self, fd: int, action: Callable[[], None]) -> None:
        self._actions[fd] = action
        self._poll.register(fd, select.POLLIN)

    def _forget(self, fd: int) -> None:
        del self._actions[fd]
        self._poll.unregister(fd)


def _messages_of(sock: socket) -> Iterator[tuple[messages.Message | None, list[int]]]:
    """The received packets with their descriptors; None as the last item at the end of the connection.

        One at a time, because a fork inherits the descriptors that were received.
        """
    while True:
        try:
            packet, fds = receive_with_descriptors(sock)
        except BlockingIOError:
            return
        except OSError:
            packet, fds = b"", []
        yield (messages.decode(packet), fds) if packet else (None, [])
        if not packet:
            return
