"""The life cycle of templates: start, reload, hang, end; the test plays the templates at the other end of their sockets."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from jobyard.engine.executor.packets import packet_pair, receive_packet, send_packet
from jobyard.engine.supervisor.template_keeper import END_WORKER_S, IMPORT_S, LEAVE_S, TemplateHooks, TemplateKeeper
from jobyard.engine.supervisor.template_process import TemplateProcess
from jobyard.engine.template.messages import (
    Alive,
    EndWorker,
    ImportFailed,
    Importing,
    Message,
    Ping,
    Ready,
    Retire,
    WorkerEnded,
    decode,
    encode,
)
from tests.support.builders import a_log
from tests.support.network import FakeNetwork
from tests.support.processes import FakeProcesses

HANG_S = 10.0
WORKER = "box:b00t:worker-7001:1"
BROKEN = ImportFailed(error="TASKS: module mine cannot be imported: no", traceback="line 1", files=[])


@dataclass
class PlayedTemplate:
    """A template played by the test."""

    process: TemplateProcess
    line: socket.socket
    output_fd: int
    heard: list[Message] = field(default_factory=list)

    def hear(self) -> list[Message]:
        """The messages it received since the last call."""
        told = []
        while (packet := receive_packet(self.line, wait=False)) is not None:
            told.append(decode(packet))
        return told


class Keeper:
    """A keeper, and the templates that it started."""

    def __init__(self) -> None:
        self.world = FakeProcesses()
        self.published: list[int] = []
        self.templates: list[PlayedTemplate] = []
        self.has_executors = False
        self.cannot_fork = self.cannot_publish = False
        hooks = TemplateHooks(
            spawn=self._spawn, publish=self._publish,
            living_executors=lambda pid: self.has_executors,
        )  # fmt: skip
        self.keeper = TemplateKeeper(hooks=hooks, network=FakeNetwork(), world=self.world, log=a_log(), hang_s=HANG_S)
        self.tick()

    @property
    def last(self) -> PlayedTemplate:
        return self.templates[-1]

    def tick(self, seconds: float = 0.0) -> None:
        self.world.advance(seconds)
        self.keeper.tick(watching_since=0.0)

    def say(self, template: PlayedTemplate, message: Message) -> None:
        send_packet(template.line, encode(message))
        self.keeper.note_ready(template.process.line.fileno())

    def make_ready(self, template: PlayedTemplate) -> None:
        self.say(template, Ready(tasks={}, files=[], warnings=[]))

    def die(self, template: PlayedTemplate, status: int = -9) -> None:
        template.line.close()
        os.close(template.output_fd)
        assert self.keeper.note_death(template.process.pid, status)
        self.tick()

    def killed(self, template: PlayedTemplate) -> bool:
        return (template.process.pid, signal.SIGKILL) in self.world.signals

    def status(self) -> object:
        return self.keeper.roster_rows(1, self.world.monotonic())[0].state

    def close(self) -> None:
        for template in list(self.templates):
            if template.line.fileno() >= 0:
                self.die(template)

    def _publish(self, template: TemplateProcess, ready: Ready) -> None:
        if self.cannot_publish:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        self.published.append(template.number)

    def _spawn(self, number: int) -> TemplateProcess:
        if self.cannot_fork:
            raise OSError(errno.EAGAIN, "no")
        line, far = packet_pair()
        output_fd, far_output = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        now = self.world.monotonic()
        process = TemplateProcess(
            number=number, pid=500 + number, line=line, output_fd=output_fd, socket_name="", started_at=now, last_message_at=now
        )  # fmt: skip
        self.templates.append(PlayedTemplate(process, far, far_output))
        return process


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    keeper = Keeper()
    yield keeper
    keeper.keeper.kill_all()
    keeper.close()


def test_the_first_one_that_is_ready_is_published_and_serves(keeper: Keeper) -> None:
    before = (keeper.keeper.is_ready, keeper.status())

    keeper.make_ready(keeper.last)

    assert (before, keeper.keeper.is_ready, keeper.status()) == ((False, "starting"), True, "running")
    assert keeper.published == [1]


def test_a_ready_template_that_cannot_be_published_is_published_later(keeper: Keeper) -> None:
    keeper.cannot_publish = True
    keeper.make_ready(keeper.last)
    keeper.tick()
    before = (keeper.keeper.is_ready, keeper.keeper.due_at() < keeper.world.monotonic() + 1)

    keeper.cannot_publish = False
    keeper.tick(1)

    assert (before, keeper.keeper.is_ready, keeper.published) == ((False, True), True, [1])


def test_an_import_error_at_the_start_is_reported_with_its_traceback(keeper: Keeper) -> None:
    keeper.say(keeper.last, BROKEN)
    keeper.die(keeper.last, 2)

    assert keeper.keeper.failure == "TASKS: module mine cannot be imported: no\nline 1"
    assert not keeper.keeper.has_begun


def test_the_death_during_an_import_is_reported_with_the_module(keeper: Keeper) -> None:
    keeper.say(keeper.last, Importing(module="mine"))
    keeper.die(keeper.last, 9)

    assert "ended with exit status 9 while it imported mine" in (keeper.keeper.failure or "")


def test_a_dead_template_is_replaced_at_once(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)

    keeper.die(keeper.last)

    assert [template.process.number for template in keeper.templates] == [1, 2]
    assert (keeper.keeper.is_ready, keeper.status()) == (False, "starting")


def test_a_reload_replaces_the_template_and_retires_the_old_one(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)
    told: list[str | None] = []

    keeper.keeper.reload(told.append)
    old, new = keeper.templates
    before = keeper.keeper.roster_rows(1, 0.0)
    keeper.make_ready(new)

    assert [row.state for row in before] == ["running", "starting"]
    assert old.hear() == [Retire()] and told == [None] and keeper.published == [1, 2]
    shown = [(row.name, row.state) for row in keeper.keeper.roster_rows(1, 0.0)]
    assert shown == [("template", "running"), ("template-1", "stopping")]


def test_a_failed_reload_keeps_the_old_template_and_reports_why(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)
    told: list[str | None] = []

    keeper.keeper.reload(told.append)
    keeper.say(keeper.last, BROKEN)
    keeper.die(keeper.last, 2)
    keeper.tick(60)

    assert told == [BROKEN.error] and keeper.keeper.is_ready and keeper.keeper.failure is None
    assert len(keeper.templates) == 2 and keeper.templates[0].hear() == [Ping()]


def test_a_hung_template_is_replaced_and_killed_after_its_executors_have_ended(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)
    keeper.has_executors = True

    keeper.tick(HANG_S / 2)
    keeper.tick(HANG_S + 1)
    hung, new = keeper.templates
    keeper.make_ready(new)
    keeper.say(new, Alive())
    keeper.tick()
    lived = not keeper.killed(hung)
    keeper.has_executors = False
    keeper.tick()

    assert lived and keeper.killed(hung) and not keeper.killed(new)


def test_a_template_that_replies_is_not_hung(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)

    for _ in range(10):
        keeper.tick(HANG_S / 2)
        assert keeper.last.hear() == [Ping()]
        keeper.say(keeper.last, Alive())

    assert len(keeper.templates) == 1


def test_a_dead_workers_executors_are_gone_only_when_every_template_confirmed_it(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)
    keeper.keeper.reload()
    keeper.make_ready(keeper.last)

    keeper.keeper.end_worker(WORKER)
    clear = [keeper.keeper.is_clear_of(WORKER)]
    for template in keeper.templates:
        assert EndWorker(owner=WORKER) in template.hear()
        keeper.say(template, WorkerEnded(owner=WORKER))
        clear.append(keeper.keeper.is_clear_of(WORKER))

    assert clear == [False, False, True]


def test_a_template_that_does_not_end_a_dead_workers_executors_in_time_is_killed(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)
    keeper.keeper.end_worker(WORKER)

    keeper.tick(END_WORKER_S + 1)
    silent = keeper.last
    was_killed = keeper.killed(silent)
    before = keeper.keeper.is_clear_of(WORKER)
    keeper.die(silent)

    assert was_killed and not before and keeper.keeper.is_clear_of(WORKER)


def test_an_import_that_exceeds_its_timeout_is_killed(keeper: Keeper) -> None:
    keeper.tick(IMPORT_S + 1)

    assert keeper.killed(keeper.last)


def test_a_failed_start_is_retried(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)
    keeper.cannot_fork = True
    keeper.die(keeper.last)

    keeper.cannot_fork = False
    keeper.tick(10)

    assert len(keeper.templates) == 2


def test_at_the_end_it_is_retired_and_killed_if_it_does_not_exit(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)

    keeper.keeper.stop()
    asked, killed = keeper.last.hear(), keeper.killed(keeper.last)
    keeper.tick(LEAVE_S + 1)

    assert (asked, killed) == ([Retire()], False) and keeper.killed(keeper.last)
    keeper.die(keeper.last)
    assert keeper.keeper.is_empty
