"""A worker's connections to its host's templates: to the one that forks new executors, and to older ones that still have some.

    reach ──▶ connected ── spawn ──▶ Spawned, Ended … ── Retiring ──▶ outdated: its executors leave, then the connection ends
                  └── it ends by itself: the template died, and its executors with it

Where there is no template the worker takes no jobs. One that does not fork in time hangs; another one takes its place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from jobyard.engine.executor.packets import receive_with_descriptors, send_packet
from jobyard.engine.logs import Log
from jobyard.engine.template import messages
from jobyard.engine.template.messages import Ended, Hello, NotSpawned, Retiring, Spawn, Spawned
from jobyard.engine.wire.hub import Network
from jobyard.engine.worker.executor_handle import NEVER, ExecutorHandle
from jobyard.engine.world import World

RECONNECT_S = 0.1


@dataclass(slots=True, eq=False)
class TemplateLine:
    """One connection, and the executors that came by it, by number. `socket_id`: which socket it was connected to."""

    sock: socket.socket
    socket_id: int
    handles: dict[int, ExecutorHandle] = field(default_factory=dict)
    is_outdated: bool = False
    is_hung: bool = False


class TemplateClient:
    """See the module. `path`: where the template listens; it may lie anywhere and change."""

    def __init__(self, *, path: Callable[[], str], owner: str, title: str, world: World, network: Network, log: Log) -> None:
        self._path = path
        self._hello = messages.encode(Hello(owner=owner, title=title))
        self._world = world
        self._network = network
        self._log = log
        self._lines: list[TemplateLine] = []
        self._orphans: list[ExecutorHandle] = []
        self._numbers = 0
        self._reach_at = world.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether executors can be forked."""
        line = self._current()
        return line is not None and not line.is_hung

    @property
    def fault(self) -> str | None:
        """Why they cannot, for people."""
        line = self._current()
        if line is None:
            return "there is no template process to fork executors from; its log lines (template_…, task_modules_…) say why"
        return "the template process does not answer" if line.is_hung else None

    def reach(self) -> None:
        """Connect to the template that is there now, unless it is the one that we have."""
        now = self._world.monotonic()
        if self.is_open or now < self._reach_at:
            return
        self._reach_at = now + RECONNECT_S
        old = self._current()
        with contextlib.suppress(OSError):
            path = self._path()
            socket_id = os.stat(path).st_ino
            if old is not None and old.socket_id == socket_id:
                return
            line = self._connect(path, socket_id)
            if old is not None:
                self._outdate(old)
            self._lines.append(line)
            self._log.debug("template_reached")

    def next_look_at(self) -> float:
        """When `reach` or `look_after` has something to do, in monotonic seconds."""
        dues = [handle.next_look_at() for handle in self._handles()]
        return min([self._reach_at if not self.is_open else NEVER, *dues])

    def spawn(self) -> ExecutorHandle:
        """A new executor, which may be handed jobs at once; raises `OSError` when there is nobody to fork it."""
        line = self._current()
        if line is None or line.is_hung:
            raise OSError(errno.ECONNREFUSED, "there is no template")
        self._numbers += 1
        handle = ExecutorHandle(self._numbers, world=self._world, network=self._network)
        try:
            if not send_packet(line.sock, messages.encode(Spawn(number=handle.number)), handle.far_descriptors):
                raise OSError(errno.EAGAIN, "the template does not read")
        except OSError:
            handle.reap()
            raise
        handle.close_far_ends()
        line.handles[handle.number] = handle
        return handle

    def note_ready(self, fd: int) -> None:
        """A template has said something, or an executor has ended."""
        for line in [line for line in self._lines if line.sock.fileno() == fd]:
            self._read(line)
        for handle in [handle for handle in self._handles() if handle.pid_fd == fd]:
            handle.note_exit()

    def look_after(self) -> None:
        """Give up what a template does not do in time."""
        self._orphans = [handle for handle in self._orphans if not handle.is_dead]
        for line in list(self._lines):
            for handle in list(line.handles.values()):
                handle.note_time()
                if handle.is_dead:
                    del line.handles[handle.number]
                    if not line.is_hung:
                        line.is_hung = True
                        self._log.warning("template_silent", executor=handle.pid)
            self._close_if_over(line)

    def close(self) -> None:
        """Every executor ends with its connection."""
        for line in list(self._lines):
            self._lose(line)

    # ---- how it is done

    def _handles(self) -> list[ExecutorHandle]:
        return [*self._orphans, *(handle for line in self._lines for handle in line.handles.values())]

    def _current(self) -> TemplateLine | None:
        return next((line for line in self._lines if not line.is_outdated), None)

    def _connect(self, path: str, socket_id: int) -> TemplateLine:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.setblocking(False)
        try:
            sock.connect(path)
            send_packet(sock, self._hello)
        except OSError:
            sock.close()
            raise
        self._network.watch(sock.fileno())
        return TemplateLine(sock, socket_id)

    def _read(self, line: TemplateLine) -> None:
        while True:
            try:
                packet, fds = receive_with_descriptors(line.sock)
            except BlockingIOError:
                break
            except OSError:
                packet, fds = b"", []
            if not packet:
                self._lose(line)
                return
            line.is_hung = False
            self._hear(line, messages.decode(packet), fds)
        self._close_if_over(line)

    def _hear(self, line: TemplateLine, message: messages.Message, fds: list[int]) -> None:
        match message:
            case Spawned(number=number, pid=pid):
                handle = line.handles.get(number)
                if handle is not None:
                    handle.note_spawned(pid, fds.pop())
                else:  # given up meanwhile
                    self._world.signal_process(fds[0], signal.SIGKILL)
            case NotSpawned(number=number, reason=reason):
                self._log.error("executor_not_started", reason=reason)
                if number in line.handles:
                    line.handles.pop(number).note_not_spawned()
            case Ended(number=number, status=status):
                if number in line.handles:
                    line.handles.pop(number).note_ended(status)
            case Retiring():
                self._outdate(line)
        for fd in fds:
            os.close(fd)

    def _outdate(self, line: TemplateLine) -> None:
        """New jobs go to executors of a newer one."""
        line.is_outdated = True
        self._reach_at = self._world.monotonic()
        for handle in line.handles.values():
            handle.is_outdated = True

    def _close_if_over(self, line: TemplateLine) -> None:
        if line.is_outdated and not line.handles and line in self._lines:
            self._drop(line)

    def _lose(self, line: TemplateLine) -> None:
        """The template is gone. Those of its executors that live are ending; each is waited for by its pidfd."""
        self._drop(line)
        self._reach_at = self._world.monotonic()
        for handle in line.handles.values():
            handle.is_outdated = True
            handle.note_template_gone()
            self._orphans.append(handle)
        if not line.is_outdated:
            self._log.warning("template_lost", executors=len(line.handles))

    def _drop(self, line: TemplateLine) -> None:
        self._lines.remove(line)
        self._network.forget(line.sock.fileno())
        line.sock.close()
