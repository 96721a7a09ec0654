"""What becomes of templates: started, replaced, hung, ended; the test plays them at the far end of their lines."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from jobyard.engine.executor.packets import packet_pair, receive_packet, send_packet
from jobyard.engine.supervisor.template_keeper import ANSWER_S, IMPORT_S, LEAVE_S, TemplateHooks, TemplateKeeper
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
    """What a test does as a template."""

    process: TemplateProcess
    line: socket.socket
    output_fd: int
    heard: list[Message] = field(default_factory=list)

    def hear(self) -> list[Message]:
        """What it was told since the last time."""
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
        self.cannot_fork = False
        hooks = TemplateHooks(
            spawn=self._spawn, publish=lambda template, ready: self.published.append(template.number),
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
        return self.keeper.shown(1, self.world.monotonic())[0].state

    def close(self) -> None:
        for template in list(self.templates):
            if template.line.fileno() >= 0:
                self.die(template)

    def _spawn(self, number: int) -> TemplateProcess:
        if self.cannot_fork:
            raise OSError(errno.EAGAIN, "no")
        line, far = packet_pair()
        output_fd, far_output = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        now = self.world.monotonic()
        process = TemplateProcess(
            number=number, pid=500 + number, line=line, output_fd=output_fd, socket_name="", started_at=now, heard_at=now
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


def test_modules_that_cannot_be_imported_at_first_are_told_with_their_traceback(keeper: Keeper) -> None:
    keeper.say(keeper.last, BROKEN)
    keeper.die(keeper.last, 2)

    assert keeper.keeper.failure == "TASKS: module mine cannot be imported: no\nline 1"
    assert not keeper.keeper.has_begun


def test_one_that_ends_without_a_word_is_told_with_the_module_that_it_imported(keeper: Keeper) -> None:
    keeper.say(keeper.last, Importing(module="mine"))
    keeper.die(keeper.last, 9)

    assert "ended with exit status 9 while it imported mine" in (keeper.keeper.failure or "")


def test_one_that_dies_is_replaced_at_once(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)

    keeper.die(keeper.last)

    assert [template.process.number for template in keeper.templates] == [1, 2]
    assert (keeper.keeper.is_ready, keeper.status()) == (False, "starting")


def test_a_reload_puts_a_new_one_in_place_of_the_old_one_which_retires(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)
    told: list[str | None] = []

    keeper.keeper.reload(told.append)
    old, new = keeper.templates
    before = keeper.keeper.shown(1, 0.0)
    keeper.make_ready(new)

    assert [row.state for row in before] == ["running", "starting"]
    assert old.hear() == [Retire()] and told == [None] and keeper.published == [1, 2]
    shown = [(row.name, row.state) for row in keeper.keeper.shown(1, 0.0)]
    assert shown == [("template", "running"), ("template-1", "stopping")]


def test_a_reload_of_modules_that_cannot_be_imported_leaves_the_old_one_and_says_why(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)
    told: list[str | None] = []

    keeper.keeper.reload(told.append)
    keeper.say(keeper.last, BROKEN)
    keeper.die(keeper.last, 2)
    keeper.tick(60)

    assert told == [BROKEN.error] and keeper.keeper.is_ready and keeper.keeper.failure is None
    assert len(keeper.templates) == 2 and keeper.templates[0].hear() == [Ping()]


def test_one_that_hangs_is_replaced_and_ended_when_its_executors_have_left(keeper: Keeper) -> None:
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


def test_one_that_answers_does_not_hang(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)

    for _ in range(10):
        keeper.tick(HANG_S / 2)
        assert keeper.last.hear() == [Ping()]
        keeper.say(keeper.last, Alive())

    assert len(keeper.templates) == 1


def test_a_dead_workers_executors_are_gone_only_when_every_template_has_said_so(keeper: Keeper) -> None:
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


def test_one_that_does_not_end_a_dead_workers_executors_in_time_is_killed_and_clear_when_it_is_dead(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)
    keeper.keeper.end_worker(WORKER)

    keeper.tick(ANSWER_S + 1)
    silent = keeper.last
    was_killed = keeper.killed(silent)
    before = keeper.keeper.is_clear_of(WORKER)
    keeper.die(silent)

    assert was_killed and not before and keeper.keeper.is_clear_of(WORKER)


def test_an_import_that_never_ends_is_ended(keeper: Keeper) -> None:
    keeper.tick(IMPORT_S + 1)

    assert keeper.killed(keeper.last)


def test_one_that_cannot_be_started_is_tried_again(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)
    keeper.cannot_fork = True
    keeper.die(keeper.last)

    keeper.cannot_fork = False
    keeper.tick(10)

    assert len(keeper.templates) == 2


def test_at_the_end_it_is_asked_to_leave_and_killed_when_it_does_not(keeper: Keeper) -> None:
    keeper.make_ready(keeper.last)

    keeper.keeper.stop()
    asked, killed = keeper.last.hear(), keeper.killed(keeper.last)
    keeper.tick(LEAVE_S + 1)

    assert (asked, killed) == ([Retire()], False) and keeper.killed(keeper.last)
    keeper.die(keeper.last)
    assert keeper.keeper.is_empty
