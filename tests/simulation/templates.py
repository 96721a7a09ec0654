"""A host's templates, played: the one that forks, and those that retire; each may die, hang, or be replaced at any time.

What the worker does with them is real: `TemplateClient` and `ExecutorHandle`, over lines that are played here.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from jobyard.engine.template.messages import Ended, Message, NotSpawned, Retiring, Spawn, Spawned
from tests.simulation.children import ExecutorFleet, SimulatedChild
from tests.simulation.event_queue import EventQueue
from tests.simulation.process import Process

if TYPE_CHECKING:
    from jobyard.engine.worker.template_line import TemplateLine

ANSWER_S = 3.0
"""See `supervisor.template_keeper`."""


class SimulatedTemplate:
    """One process that forks."""

    def __init__(self, executors: ExecutorFleet, number: int, who: str) -> None:
        self.number = number
        self.is_alive = True
        self.is_retiring = False
        self.hangs_until = 0.0
        self.children: dict[str, list[SimulatedChild]] = {}
        self.who = who
        self._executors = executors
        self._event_queue = executors.event_queue
        self._lines: list[SimulatedTemplateLine] = []

    @property
    def has_children(self) -> bool:
        """Whether one of them lives."""
        return any(child.status is None for children in self.children.values() for child in children)

    def connect(self, process: Process) -> SimulatedTemplateLine:
        """A worker comes."""
        line = SimulatedTemplateLine(self, process)
        self._lines.append(line)
        return line

    def hear(self, line: SimulatedTemplateLine, message: Message) -> None:
        """It says something."""
        if isinstance(message, Spawn):
            self.soon(lambda: self._fork(line, message.number))

    def soon(self, act: Callable[[], object]) -> None:
        """As soon as it has time, if it lives then."""

        def do() -> None:
            if self._event_queue.now < self.hangs_until:
                self._event_queue.at(self.hangs_until, do)
            elif self.is_alive:
                act()

        self._event_queue.after(self._event_queue.between(0, 0.004), do)

    def retire(self) -> None:
        """Another one has taken its place."""
        self.is_retiring = True
        for line in self._lines:
            self.soon(lambda line=line: line.post(Retiring()))  # type: ignore[misc]

    def end_worker(self, owner: str) -> None:
        """Its children end."""
        for line in [line for line in self._lines if line.process.owner == owner]:
            self._lines.remove(line)
        self.soon(lambda: [child.die_of(9) for child in self.children.get(owner, [])])

    def die(self) -> None:
        """And all that it forked."""
        if not self.is_alive:
            return
        self._event_queue.note(self.who, "template dies", self.number)
        self.is_alive = False
        for children in self.children.values():
            for child in children:
                child.is_orphan = True
                child.die_of(9)
        for line in self._lines:
            line.post(None)

    def _fork(self, line: SimulatedTemplateLine, number: int) -> None:
        process = line.process
        if line not in self._lines or not process.is_alive:
            return
        if self._event_queue.happens(self._executors.spawn_failure_rate):
            line.post(NotSpawned(number=number, reason="too many processes"))
            return
        handle = process.handles[number]
        child = SimulatedChild(self._executors, process, handle, next(self._executors.pids))
        handle.child = child
        child.ended = lambda: self.soon(lambda: line.post(Ended(number=number, status=child.status)))
        self.children.setdefault(process.owner, []).append(child)
        fd = child.pid_fd = process.new_fd(lambda: child.status is not None)
        self._event_queue.note(self.who, "forks", f"child {child.pid} for {process.who}")
        line.post(Spawned(number=number, pid=child.pid), fd)
        child.schedule_read()


class SimulatedTemplateLine:
    """See `TemplateLine`."""

    def __init__(self, template: SimulatedTemplate, process: Process) -> None:
        self.process = process
        self._template = template
        self._came: deque[tuple[Message | None, list[int]]] = deque()
        self._fd = process.new_fd(lambda: bool(self._came))

    def post(self, message: Message | None, *fds: int) -> None:
        """The template says something; None: it is gone."""
        self._came.append((message, list(fds)))
        if self.process.is_alive:
            self.process.wake(self.process.event_queue.between(0, 0.0001))

    def fileno(self) -> int:
        return self._fd

    def send(self, message: Message, fds: Sequence[int] = ()) -> bool:
        self.process.side_effect("a word to a template")
        if not self._template.is_alive:
            raise OSError(errno.EPIPE, "gone")
        self._template.hear(self, message)
        return True

    def receive(self) -> Iterator[tuple[Message | None, list[int]]]:
        while self._came:
            yield self._came.popleft()

    def refuse(self, pid_fd: int) -> None:
        for child in self._template.children.get(self.process.owner, []):
            if child.pid_fd == pid_fd:
                child.die_of(9)

    def close(self) -> None:
        if self._template.is_alive:
            self._template.soon(lambda: self._template.end_worker(self.process.owner))


class SimulatedTemplates:
    """Those of one host's boot."""

    def __init__(self, executors: ExecutorFleet, host: str) -> None:
        self._executors = executors
        self._event_queue: EventQueue = executors.event_queue
        self._host = host
        self._number = 0
        self.all: list[SimulatedTemplate] = []

    def current(self) -> SimulatedTemplate | None:
        """The one that forks."""
        return next((template for template in self.all if template.is_alive and not template.is_retiring), None)

    def start(self) -> None:
        """A new one is ready."""
        old = self.current()
        self._number += 1
        self.all = [template for template in self.all if template.is_alive]
        self.all.append(SimulatedTemplate(self._executors, self._number, self._host))
        self._event_queue.note(self._host, "template ready", self._number)
        if old is not None:
            old.retire()
            self._end_when_done(old)

    def kill(self) -> None:
        """Kill -9 of the one that forks; another one comes soon."""
        template = self.current()
        if template is not None:
            template.die()
            self._event_queue.after(self._event_queue.between(0.05, 1.0), lambda: self.start() if self.current() is None else None)

    def hang(self, seconds: float, hang_s: float) -> None:
        """It is stopped; after HANG_S another one takes its place."""
        template = self.current()
        if template is None:
            return
        self._event_queue.note(self._host, "template hangs for", seconds)
        template.hangs_until = max(template.hangs_until, self._event_queue.now + seconds)
        if seconds > hang_s:
            self._event_queue.after(hang_s + 0.3, lambda: self.start() if self.current() is template else None)

    def end_worker(self, owner: str) -> None:
        """It is dead."""
        for template in self.all:
            template.end_worker(owner)

    def is_clear_of(self, owner: str) -> bool:
        """Whether nothing of it lives. One that hangs is ended when it does not answer."""
        return not any(child.status is None for template in self.all for child in template.children.get(owner, []))

    def end_silent(self, owner: str) -> None:
        """Those that have not ended this worker's children in time."""
        for template in self.all:
            if any(child.status is None for child in template.children.get(owner, [])):
                was_current = template is self.current()
                template.die()
                if was_current:
                    self._event_queue.after(0.1, lambda: self.start() if self.current() is None else None)

    def vanish(self) -> None:
        """With the host."""
        for template in self.all:
            template.is_alive = False
            for children in template.children.values():
                for child in children:
                    child.die_with_host()
        self.all = []

    def _end_when_done(self, template: SimulatedTemplate) -> None:
        def look() -> None:
            if template.has_children:
                self._event_queue.after(1.0, look)
            else:
                template.die()

        self._event_queue.after(1.0, look)


class SimulatedConnector:
    """See `TemplateConnector`."""

    def __init__(self, templates: SimulatedTemplates, process: Process) -> None:
        self._templates = templates
        self._process = process

    def listening(self) -> int:
        return self._template().number

    def connect(self) -> TemplateLine:
        return self._template().connect(self._process)

    def _template(self) -> SimulatedTemplate:
        template = self._templates.current()
        if template is None:
            raise OSError(errno.ENOENT, "no template")
        return template
