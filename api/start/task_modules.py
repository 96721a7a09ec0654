"""The task modules of a start: their folders and interpreter, and importing them once in a short-lived template."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

import jobyard
from jobyard.engine.checkout import checkout
from jobyard.engine.config import SECRET, Settings
from jobyard.engine.errors import CannotStart, JobyardError
from jobyard.engine.executor.packets import packet_pair, receive_packet
from jobyard.engine.jobs.submission import Defaults
from jobyard.engine.limits.definition import check_name as check_limit_name
from jobyard.engine.limits.definition import parse as parse_limit
from jobyard.engine.process_control import adopt_orphans
from jobyard.engine.schedules.definition import check_name, parse
from jobyard.engine.stop_requests import Wait, wait_readable
from jobyard.engine.supervisor.orphans import Orphans
from jobyard.engine.supervisor.role_loop import describe_exit
from jobyard.engine.supervisor.template_keeper import IMPORT_S
from jobyard.engine.tasks.catalog import Catalog, defaults_of, write_catalog
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.template.launch import boot_file, entry_folder, find_python
from jobyard.engine.template.messages import ImportFailed, Importing, Ready, decode
from jobyard.engine.template.options import Options
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

SWEEP_TIMEOUT_S = 5.0
PACKAGE = Path(str(jobyard.__file__)).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCode:
    """The user's code. `python`: the interpreter that runs tasks; `folders`: `PYTHONPATH` and the working folder."""

    python: str
    folders: tuple[str, ...]
    environment: Mapping[str, str]

    def options(
        self, settings: Settings, *, supervisor_line: int, listener: int, closed_in_children: tuple[int, ...] = ()
    ) -> Options:  # fmt: skip
        """The options of a template that is started by this process."""
        root = checkout()
        return Options(
            supervisor=os.getpid(), supervisor_line=supervisor_line, listener=listener,
            closed_in_children=list(closed_in_children), modules=list(settings.tasks), folders=list(self.folders),
            checkout=str(root) if root is not None else None, temporary=str(settings.data_dir / "tmp"),
            log_level=settings.log_level, enable_shell=settings.enable_shell, http_allow_private=settings.http_allow_private,
            django_settings=self.environment.get("DJANGO_SETTINGS_MODULE"),
        )  # fmt: skip


def find_task_code(settings: Settings, environment: Mapping[str, str], *, wait: Wait = wait_readable) -> TaskCode:
    """Find the user's code; raises `CannotStart` if the working folder cannot be used, or no interpreter can run tasks."""
    folders = (*environment.get("PYTHONPATH", "").split(os.pathsep), _working_folder())
    python = find_python(settings.task_python, environment, wait=wait)
    return TaskCode(python=python, folders=tuple(filter(None, folders)), environment=dict(environment))


def _working_folder() -> str:
    """The working folder, in which every executor runs; raises `CannotStart` unless it exists and can be entered."""
    try:
        os.close(os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        return os.getcwd()
    except OSError as fault:
        raise CannotStart(f"the working folder cannot be used ({fault.strerror}): change to a folder that you may enter") from fault


def options_by_task(ready: Ready) -> dict[str, TaskOptions]:
    """The task options in the form of the catalog."""
    return {name: TaskOptions(**options) for name, options in ready.tasks.items()}


def fault_of(ready: Ready, settings: Settings) -> str | None:
    """What is wrong with a limit or schedule that the modules declare, in the words of the API."""
    for name, body in ready.limits.items():
        try:
            parse_limit(msgspec.json.encode(body))
            check_limit_name(name)
        except JobyardError as wrong:
            return f"TASKS: limit {name!r}: {wrong.message}"
    defaults = Defaults(
        max_retries=settings.max_retries, timeout_s=settings.job_timeout_s, tasks=defaults_of(options_by_task(ready))
    )  # fmt: skip
    for name, body in ready.schedules.items():
        try:
            parse(msgspec.json.encode(body), now=World().now(), defaults=defaults, time_zone=settings.time_zone)
            check_name(name)
        except JobyardError as wrong:
            return f"TASKS: schedule {name!r}: {wrong.message}"
    return None


def list_tasks(settings: Settings, code: TaskCode, run_dir: RunDir, *, wait: Wait = wait_readable) -> None:
    """For a start without workers: check that the modules can be imported, and write a task catalog if there is none."""
    options = options_by_task(import_tasks_once(settings, code, wait=wait))
    if not Catalog(run_dir).options():
        write_catalog(run_dir, options)


def import_tasks_once(settings: Settings, code: TaskCode, *, wait: Wait = wait_readable) -> Ready:
    """Import the modules in a template, then kill it and all that it started; raises `CannotStart` if the import fails."""
    adopt_orphans()
    with _leaving_no_children(World()):
        return _import_in_template(settings, code, wait)


@contextlib.contextmanager
def _leaving_no_children(world: World) -> Iterator[None]:
    """Kill the descendants that were started meanwhile; this process is their subreaper."""
    known = set(world.children())
    try:
        yield
    finally:
        orphans = Orphans(world)
        give_up_at = world.monotonic() + SWEEP_TIMEOUT_S
        while (left := orphans.sweep(known)) and world.monotonic() < give_up_at:
            for pid in left:
                world.wait(pid)


def _import_in_template(settings: Settings, code: TaskCode, wait: Wait) -> Ready:
    line, far_line = packet_pair()
    with line, far_line, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as unused, tempfile.TemporaryDirectory() as folder:
        entry = entry_folder(PACKAGE, Path(folder))
        options = code.options(settings, supervisor_line=far_line.fileno(), listener=unused.fileno())
        environment = {name: value for name, value in code.environment.items() if name not in SECRET}
        words = [code.python, "-P", boot_file(entry), entry, options.to_text()]
        fds = (far_line.fileno(), unused.fileno())
        with subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=fds, env=environment,
            start_new_session=True,
        ) as template:  # fmt: skip
            far_line.close()
            try:
                ready = _await_ready(line, template, wait)
                if (fault := fault_of(ready, settings)) is not None:
                    raise CannotStart(fault)
                return ready
            finally:
                template.kill()


def _await_ready(line: socket.socket, template: subprocess.Popen[bytes], wait: Wait) -> Ready:
    importing = ""
    while wait(line.fileno(), IMPORT_S):
        packet = receive_packet(line)
        match decode(packet) if packet else None:
            case Importing(module=module):
                importing = f" while it imported {module}"
            case Ready() as ready:
                return ready
            case ImportFailed(error=error):
                raise CannotStart(error)
            case None:
                how = describe_exit(template.wait())
                raise CannotStart(f"TASKS: the process that imports the modules ended with {how}{importing}")
    raise CannotStart(f"TASKS: the modules were not imported within {IMPORT_S:g} s{importing}")
