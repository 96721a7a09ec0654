"""Starts templates for a supervisor: the sockets, the fork, the exec; and publishes one that is ready."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from jobyard.api.start.task_modules import PACKAGE, TaskCode, fault_of, options_by_task
from jobyard.engine.config import Settings
from jobyard.engine.executor.packets import packet_pair
from jobyard.engine.logs import Log
from jobyard.engine.supervisor.supervisor_loop import fork_and_reset
from jobyard.engine.supervisor.template_keeper import TemplateHooks, TemplateKeeper
from jobyard.engine.supervisor.template_process import TemplateProcess
from jobyard.engine.tasks.catalog import write_catalog
from jobyard.engine.tasks.schedule_catalog import LIMITS_FILE, write_schedules
from jobyard.engine.template.launch import entry_folder, execute
from jobyard.engine.template.messages import Ready
from jobyard.engine.template.options import Options
from jobyard.engine.wire.hub import Network
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

BACKLOG = 64


def socket_name(template: str) -> str:
    """The name of the socket in `run` at which workers find the template."""
    return f"{template}.spawn"


def remove_sockets(run_dir: RunDir, template: str) -> None:
    """Remove the sockets of a start that has ended."""
    for path in run_dir.path.glob(f"{template}.*spawn"):
        path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """The templates of one start. `name`: by which workers find the current one; `boot_lock`: inherited by templates, but not by
    executors."""

    name: str
    settings: Settings
    code: TaskCode
    run_dir: RunDir
    world: World
    boot_lock: int

    def keeper(self, *, network: Network, log: Log, watches_files: bool) -> TemplateKeeper:
        """The keeper for the calling supervisor."""
        hooks = TemplateHooks(
            spawn=self.spawn, publish=self.publish, living_executors=self.has_living_executors,
            fault=lambda ready: fault_of(ready, self.settings), forget=self.forget,
        )  # fmt: skip
        return TemplateKeeper(
            hooks=hooks, network=network, world=self.world, log=log, hang_s=self.settings.hang_s, watches_files=watches_files
        )  # fmt: skip

    def spawn(self, number: int) -> TemplateProcess:
        """See `Spawn`."""
        name = f"{self.name}.{number}.spawn"
        with ExitStack() as at_the_end, ExitStack() as unless_started:
            line, far_line = packet_pair()
            unless_started.callback(line.close)
            at_the_end.callback(far_line.close)
            output_fd, far_output = os.pipe2(os.O_CLOEXEC)
            unless_started.callback(os.close, output_fd)
            at_the_end.callback(os.close, far_output)
            listener = at_the_end.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            self.run_dir.bind(listener, name)
            listener.listen(BACKLOG)
            options = self.code.options(
                self.settings, supervisor_line=far_line.fileno(), listener=listener.fileno(), closed_in_children=(self.boot_lock,)
            )  # fmt: skip
            pid = self._fork(options, far_output)
            unless_started.pop_all()
        os.set_blocking(output_fd, False)
        now = self.world.monotonic()
        return TemplateProcess(
            number=number, pid=pid, line=line, output_fd=output_fd, socket_name=name, started_at=now, last_message_at=now
        )  # fmt: skip

    def publish(self, template: TemplateProcess, ready: Ready) -> None:
        """Write the task catalog for schedulers, and move the socket to where workers find it."""
        write_catalog(self.run_dir, options_by_task(ready))
        write_schedules(self.run_dir, ready.schedules)
        write_schedules(self.run_dir, ready.limits, file=LIMITS_FILE)
        (self.run_dir.path / template.socket_name).replace(self.run_dir.path / socket_name(self.name))

    def forget(self, template: TemplateProcess) -> None:
        """Remove the socket of a template that was never published."""
        (self.run_dir.path / template.socket_name).unlink(missing_ok=True)

    def has_living_executors(self, template: int) -> bool:
        """Whether the template has a child that is an executor, that is, in a session of its own, and has not ended."""
        session = self.world.session_of(template)
        children = self.world.children(template)
        return any(self.world.session_of(child) != session and self.world.state_of(child) not in ENDED for child in children)

    def _fork(self, options: Options, output: int) -> int:
        entry = entry_folder(PACKAGE, self.run_dir.path)
        keep = frozenset({options.supervisor_line, options.listener, output, self.boot_lock})
        exec_template: Callable[[], int] = lambda: execute(  # noqa: E731
            self.code.python, entry, options, output=output, environment=self.code.environment
        )
        return fork_and_reset(self.world, exec_template, keep=keep)


ENDED = ("", "Z", "X")
"""Process states of ended processes; empty if the process does not exist."""
