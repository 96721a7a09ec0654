"""The loop that forks executors. It watches a connection to the supervisor, one to each worker, and a pidfd for each executor.

    Spawn ──▶ fork ──▶ Spawned (pidfd) … the executor exits ──▶ its group and its leftovers are killed, it is reaped ──▶ Ended

When a worker ends, as seen on its connection or reported by the supervisor, its executors are killed. Only this process can
confirm that they are gone, because it is their parent; it does so after reaping them all. It is their subreaper, too: what one of
them leaves behind is killed before its end is reported (`leftovers`). The loop never blocks on another process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from socket import socket

from jobyard.engine.executor.child import run_executor
from jobyard.engine.executor.executor import ExecutorDescriptors
from jobyard.engine.executor.interrupt import InterruptPage
from jobyard.engine.executor.packets import receive_with_descriptors, send_packet
from jobyard.engine.process_control import adopt_orphans
from jobyard.engine.tasks.registry import Registry
from jobyard.engine.template import messages
from jobyard.engine.template.leftovers import Leftovers
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
KILL_AGAIN_MS, KILL_STUCK_MS = 5, 500
HELD_BACK_S = 1.0
"""How long the report of an executor's end waits for what it left behind. What has not died by then is stuck in the kernel."""


@dataclass(slots=True, eq=False)
class WorkerConnection:
    """A connection to a worker. `executors`: number and pid of the executors forked for it, by pidfd."""

    sock: socket
    owner: str = ""
    title: str = ""
    executors: dict[int, tuple[int, int]] = field(default_factory=dict)
    is_open: bool = True


class Template:
    """See the module. Created before the user's modules are imported, so that they cannot affect its objects."""

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
        self._workers: list[WorkerConnection] = []
        self._dead: set[str] = set()
        self._unconfirmed: set[str] = set()
        self._is_retired = False
        self._leftovers = Leftovers(world)
        self._are_left = False
        """Whether processes of ended executors may live."""
        self._ends: deque[tuple[float, WorkerConnection, Ended]] = deque()
        """Ends of executors that are not reported yet, and since when."""

    def run(self) -> int:
        """Run until the supervisor is gone, or until all executors have ended after `Retire`; returns the exit status."""
        listener = self._listener
        assert listener is not None
        for sock in (self._line, listener):
            sock.setblocking(False)
        self._watch(self._line.fileno(), self._read_supervisor)
        self._watch(listener.fileno(), self._accept)
        adopt_orphans()
        self._leftovers = Leftovers(self._world)
        while not (self._is_retired and not self._workers and not self._are_left):
            for fd, _ in self._poll.poll(self._timeout_ms()):
                if fd in self._actions:
                    self._actions[fd]()
            if self._are_left:
                self._end_leftovers()
        return EXIT_OK

    def _timeout_ms(self) -> int | None:
        if not self._are_left:
            return None
        return KILL_AGAIN_MS if self._ends else KILL_STUCK_MS

    # ---- the supervisor

    def _read_supervisor(self) -> None:
        for message, _ in _messages_of(self._line):
            match message:
                case None:
                    os._exit(EXIT_OK)  # the supervisor is gone; the parent-death signal kills the executors
                case Ping():
                    self._send_to_supervisor(Alive())
                case EndWorker(owner=owner):
                    self._end_worker(owner)
                case Retire():
                    self._retire()

    def _end_worker(self, owner: str) -> None:
        """The worker is dead, so everything that it sent has arrived: read that first, then end its connections."""
        self._accept()
        self._dead.add(owner)
        self._unconfirmed.add(owner)
        for worker in [worker for worker in self._workers if worker.owner == owner and worker.is_open]:
            self._read_worker(worker)
        for worker in [worker for worker in self._workers if worker.owner == owner]:
            self._end_connection(worker)
        self._confirm_ended_workers()

    def _retire(self) -> None:
        self._is_retired = True
        if self._listener is not None:
            self._accept()  # workers that are still in the backlog must receive `Retiring` too
            self._unwatch(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for worker in list(self._workers):
            self._send(worker, Retiring())

    def _send_to_supervisor(self, message: messages.Message) -> None:
        send_packet(self._line, messages.encode(message))

    def _confirm_ended_workers(self) -> None:
        """Only when nothing is left of what their executors started: the proof of a worker's death rests on it."""
        if self._are_left:
            return
        remaining = {worker.owner for worker in self._workers}
        for owner in [owner for owner in self._unconfirmed if owner not in remaining]:
            self._unconfirmed.discard(owner)
            self._send_to_supervisor(WorkerEnded(owner=owner))

    # ---- workers

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # none is pending, or no descriptor is left: the worker will retry
                return
            sock.setblocking(False)
            worker = WorkerConnection(sock)
            self._workers.append(worker)
            self._watch(sock.fileno(), lambda worker=worker: self._read_worker(worker))  # type: ignore[misc]
            self._read_worker(worker)

    def _read_worker(self, worker: WorkerConnection) -> None:
        for message, fds in _messages_of(worker.sock):
            match message:
                case Hello(owner=owner, title=title) if owner not in self._dead:
                    worker.owner, worker.title = owner, title
                case Spawn(number=number) if worker.owner not in self._dead:
                    self._spawn(worker, number, fds)
                case _:
                    self._end_connection(worker)
            for fd in fds:
                os.close(fd)
            if not worker.is_open:
                return

    def _end_connection(self, worker: WorkerConnection) -> None:
        """Close the connection and kill its executors; the entry is removed when the last of them is reaped."""
        if worker.is_open:
            worker.is_open = False
            self._unwatch(worker.sock.fileno())
            worker.sock.close()
        for _, pid in worker.executors.values():
            self._kill(pid)
        self._remove_if_ended(worker)

    def _remove_if_ended(self, worker: WorkerConnection) -> None:
        if not worker.is_open and not worker.executors and worker in self._workers:
            self._workers.remove(worker)
            self._confirm_ended_workers()

    def _send(self, worker: WorkerConnection, message: messages.Message, *fds: int) -> None:
        """End the connection if the worker is gone, or has not read for so long that the buffer is full."""
        if worker.is_open:
            try:
                if send_packet(worker.sock, messages.encode(message), fds):
                    return
            except OSError:
                pass
            self._end_connection(worker)

    # ---- executors

    def _spawn(self, worker: WorkerConnection, number: int, fds: list[int]) -> None:
        if len(fds) < DESCRIPTORS:  # the kernel drops those that find no room here
            self._send(worker, NotSpawned(number=number, reason=os.strerror(errno.EMFILE)))
            return
        try:
            pid, pid_fd = self._fork(worker.title, fds)
        except OSError as fault:
            self._send(worker, NotSpawned(number=number, reason=str(fault.strerror)))
            return
        worker.executors[pid_fd] = number, pid
        self._watch(pid_fd, lambda: self._reap(worker, pid_fd))
        self._send(worker, Spawned(number=number, pid=pid), pid_fd)

    def _fork(self, title: str, fds: list[int]) -> tuple[int, int]:
        """The pid and a pidfd of a new executor; raises `OSError`."""
        pid = self._world.fork(lambda: self._run_executor(title, fds))
        try:
            return pid, os.pidfd_open(pid)
        except OSError:
            self._kill(pid)
            with contextlib.suppress(ChildProcessError):
                self._world.wait(pid)
            raise

    def _run_executor(self, title: str, fds: list[int]) -> int:
        """Called in the fork: close the template's own descriptors, but none that the modules opened."""
        for fd in (*self._actions, *self._closed_in_children):
            os.close(fd)
        inbox, outbox, output, page = fds
        descriptors = ExecutorDescriptors(
            inbox=socket(fileno=inbox), outbox=socket(fileno=outbox), output=output, page=InterruptPage(page)
        )  # fmt: skip
        os.close(page)
        for sock in (descriptors.inbox, descriptors.outbox):
            sock.setblocking(True)  # a module may have set a default timeout
        return run_executor(
            descriptors, registry=self._registry, world=self._world, parent=self._pid, title=title, folder=self._folder,
            log_level=self._log_level,
        )  # fmt: skip

    def _reap(self, worker: WorkerConnection, pid_fd: int) -> None:
        """Kill the process group before reaping, while its number cannot be reused."""
        number, pid = worker.executors.pop(pid_fd)
        self._kill(pid)
        try:
            status: int | None = self._world.wait(pid)
        except ChildProcessError:  # a thread of a module has reaped it
            status = None
        self._unwatch(pid_fd)
        os.close(pid_fd)
        self._ends.append((self._world.monotonic(), worker, Ended(number=number, status=status)))
        self._are_left = True
        self._remove_if_ended(worker)
        self._end_leftovers()

    def _end_leftovers(self) -> None:
        """Kill what ended executors have left behind, and report the ends that waited for it, the oldest first."""
        executors = {pid for worker in self._workers for _, pid in worker.executors.values()}
        try:
            remain = self._leftovers.kill(executors)
        except OSError:  # no descriptor is free to look: again in a moment
            remain = True
        self._are_left = remain
        now = self._world.monotonic()
        while self._ends and (not remain or now >= self._ends[0][0] + HELD_BACK_S):
            _, worker, ended = self._ends.popleft()
            self._send(worker, ended)
        if not remain:
            self._confirm_ended_workers()

    def _kill(self, pid: int) -> None:
        self._world.kill_group(pid, signal.SIGKILL)
        self._world.kill(pid, signal.SIGKILL)

    # ---- descriptors

    def _watch(self, fd: int, action: Callable[[], None]) -> None:
        self._actions[fd] = action
        self._poll.register(fd, select.POLLIN)

    def _unwatch(self, fd: int) -> None:
        del self._actions[fd]
        self._poll.unregister(fd)


def _messages_of(sock: socket) -> Iterator[tuple[messages.Message | None, list[int]]]:
    """The messages that have arrived, with their descriptors, and None at the end of the connection.

    They are received one at a time, because a fork inherits the descriptors that were received before it.
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
