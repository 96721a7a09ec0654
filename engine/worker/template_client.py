"""A worker's connections to its host's templates: to the one that forks new executors, and to older ones that still have some.

    reach ──▶ connected ── spawn ──▶ Spawned, Ended … ── Retiring ──▶ outdated: its executors leave, then the connection ends
                  └── it ends by itself: the template died, and its executors with it

Where there is no template the worker takes no jobs. One that does not fork in time hangs; another one takes its place.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from jobyard.engine.logs import Log
from jobyard.engine.template import messages
from jobyard.engine.template.messages import Ended, Hello, NotSpawned, Retiring, Spawn, Spawned
from jobyard.engine.wire.hub import Network
from jobyard.engine.worker.executor_handle import NEVER, ExecutorHandle
from jobyard.engine.worker.template_line import TemplateConnector, TemplateLine
from jobyard.engine.world import World

RECONNECT_S = 0.1


@dataclass(slots=True, eq=False)
class Connection:
    """The connection to one template, and the executors forked over it, by number. `template`: the connector's name for it."""

    line: TemplateLine
    template: int
    handles: dict[int, ExecutorHandle] = field(default_factory=dict)
    is_outdated: bool = False
    is_hung: bool = False


class TemplateClient:
    """See the module. `new_handle`: makes the worker's side of the executor with this number."""

    def __init__(
        self, *, connector: TemplateConnector, new_handle: Callable[[int], ExecutorHandle], hello: Hello, world: World,
        network: Network, log: Log,
    ) -> None:  # fmt: skip
        self._connector = connector
        self._new_handle = new_handle
        self._hello = hello
        self._world = world
        self._network = network
        self._log = log
        self._connections: list[Connection] = []
        self._orphans: list[ExecutorHandle] = []
        self._numbers = 0
        self._reach_at = world.monotonic()

    @property
    def is_open(self) -> bool:
        """Whether executors can be forked."""
        connection = self._current()
        return connection is not None and not connection.is_hung

    @property
    def fault(self) -> str | None:
        """Why no executor can be forked, in words; None if one can."""
        connection = self._current()
        if connection is None:
            return "there is no template process to fork executors from; its log lines (template_…, task_modules_…) say why"
        return "the template process does not answer" if connection.is_hung else None

    def reach(self) -> None:
        """Connect to the current template, unless already connected to it."""
        now = self._world.monotonic()
        if self.is_open or now < self._reach_at:
            return
        self._reach_at = now + RECONNECT_S
        old = self._current()
        with contextlib.suppress(OSError):
            template = self._connector.listening()
            if old is not None and old.template == template:
                return
            line = self._connector.connect()
            if old is not None:
                self._outdate(old)
            self._network.watch(line.fileno())
            self._connections.append(Connection(line, template))
            line.send(self._hello)
            self._log.debug("template_reached")

    def next_look_at(self) -> float:
        """When `reach` or `look_after` has something to do, in monotonic seconds."""
        dues = [handle.next_look_at() for handle in self._handles()]
        return min([self._reach_at if not self.is_open else NEVER, *dues])

    def spawn(self) -> ExecutorHandle:
        """Request a new executor, which can be sent jobs at once; raises `OSError` if no template is connected."""
        connection = self._current()
        if connection is None or connection.is_hung:
            raise OSError(errno.ECONNREFUSED, "there is no template")
        self._numbers += 1
        handle = self._new_handle(self._numbers)
        try:
            if not connection.line.send(Spawn(number=handle.number), handle.far_descriptors):
                raise OSError(errno.EAGAIN, "the template does not read")
        except OSError:
            handle.reap()
            raise
        handle.close_far_ends()
        connection.handles[handle.number] = handle
        return handle

    def note_ready(self, fd: int) -> None:
        """A template has sent something, or an executor has exited."""
        for connection in [connection for connection in self._connections if connection.line.fileno() == fd]:
            self._read(connection)
        for handle in [handle for handle in self._handles() if handle.pid_fd == fd]:
            handle.note_exit()

    def look_after(self) -> None:
        """Give up on what a template does not do in time."""
        self._orphans = [handle for handle in self._orphans if not handle.is_dead]
        for connection in list(self._connections):
            for handle in list(connection.handles.values()):
                handle.note_time()
                if handle.is_dead:
                    del connection.handles[handle.number]
                    if not connection.is_hung:
                        connection.is_hung = True
                        self._log.warning("template_silent", executor=handle.pid)
            self._close_if_over(connection)

    def close(self) -> None:
        """Every executor ends with its connection."""
        for connection in list(self._connections):
            connection.is_outdated = True
            self._lose(connection)

    # ---- internals

    def _handles(self) -> list[ExecutorHandle]:
        return [*self._orphans, *(handle for connection in self._connections for handle in connection.handles.values())]

    def _current(self) -> Connection | None:
        return next((connection for connection in self._connections if not connection.is_outdated), None)

    def _read(self, connection: Connection) -> None:
        for message, fds in connection.line.receive():
            if message is None:
                self._lose(connection)
                return
            connection.is_hung = False
            self._hear(connection, message, fds)
        self._close_if_over(connection)

    def _hear(self, connection: Connection, message: messages.Message, fds: list[int]) -> None:
        match message:
            case Spawned(number=number, pid=pid) if fds:
                handle = connection.handles.get(number)
                if handle is not None:
                    handle.note_spawned(pid, fds[0])
                else:  # it was given up in the meantime
                    connection.line.refuse(fds[0])
            case Spawned(number=number):  # the kernel drops a descriptor that finds no room here; without its inbox it exits
                self._hear(connection, NotSpawned(number=number, reason=os.strerror(errno.EMFILE)), [])
            case NotSpawned(number=number, reason=reason):
                self._log.error("executor_not_started", reason=reason)
                if number in connection.handles:
                    connection.handles.pop(number).note_not_spawned()
            case Ended(number=number, status=status):
                if number in connection.handles:
                    connection.handles.pop(number).note_ended(status)
            case Retiring():
                self._outdate(connection)

    def _outdate(self, connection: Connection) -> None:
        """This template was replaced; new jobs go to executors of the newer one."""
        connection.is_outdated = True
        self._reach_at = self._world.monotonic()
        for handle in connection.handles.values():
            handle.is_outdated = True

    def _close_if_over(self, connection: Connection) -> None:
        if connection.is_outdated and not connection.handles and connection in self._connections:
            self._drop(connection)

    def _lose(self, connection: Connection) -> None:
        """The template has died. Its living executors are exiting; the pidfd of each shows when it has."""
        self._drop(connection)
        self._reach_at = self._world.monotonic()
        for handle in connection.handles.values():
            handle.is_outdated = True
            handle.note_template_gone()
            self._orphans.append(handle)
        if not connection.is_outdated:
            self._log.warning("template_lost", executors=len(connection.handles))

    def _drop(self, connection: Connection) -> None:
        self._connections.remove(connection)
        self._network.forget(connection.line.fileno())
        connection.line.close()
