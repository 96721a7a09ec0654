"""A start, from checks to exit status: everything that can be found wrong is reported before the first permanent process.

    settings → data folder and its lock → ports → database and task modules (in a probe) → guard → supervisor → the rest
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

from jobyard.api.start.launch import Launch, Plan
from jobyard.api.start.roles import tell_fault
from jobyard.api.start.task_modules import TaskCode, ask_for_tasks, find_task_code, list_tasks
from jobyard.api.start.templates import forget_sockets
from jobyard.engine.config import Settings
from jobyard.engine.control.protocol import HELD, remove_names
from jobyard.engine.databases.open import prepare_store
from jobyard.engine.errors import CannotStart
from jobyard.engine.supervisor.data_dir import DataDir
from jobyard.engine.supervisor.deaths import ProofsOfDeath
from jobyard.engine.supervisor.guard import guard
from jobyard.engine.supervisor.locks import is_locked
from jobyard.engine.supervisor.ports import explain, open_ports
from jobyard.engine.supervisor.probe import Probe
from jobyard.engine.supervisor.readiness import NotifySocket, ReadinessNotifier, SupervisorSigns
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

BOOT_BITS = 32
PREDECESSORS_S = 2.0


def start(
    plan: Plan, settings: Settings, world: World, *, environment: Mapping[str, str], notify_socket: NotifySocket,
    watches_files: bool = False,
) -> int:  # fmt: skip
    """Check, run until stopped, clean up; returns the exit status. Notifies the service manager."""
    os.umask(0o077)
    data_dir = DataDir(settings.data_dir)
    boot = world.token(BOOT_BITS)
    deaths = ProofsOfDeath(data_dir.run_dir, boot=boot, foreign_hosts=settings.mongo_uri is not None)
    with ExitStack() as at_the_end:
        faults = _take(data_dir, plan)
        if data_dir.is_taken:
            at_the_end.callback(_leave, data_dir, plan, deaths)
            _forget_predecessors(deaths, world, alone=plan.alone)
        listeners, closed = open_ports(settings.host, [component.port for component in plan.components])
        at_the_end.callback(_close, listeners.values())
        faults += explain(settings.host, closed)
        code = _find_task_code(settings, environment, faults)
        database = _probe(plan, settings, world, code, faults) if data_dir.is_taken else ""
        if faults or code is None:
            return max(tell_fault(fault) for fault in faults)
        signs = SupervisorSigns(world)
        launch = Launch(
            plan=plan, settings=settings, world=world, boot=boot, guard=os.getpid(), listeners=listeners, database=database,
            signs=signs, code=code, watches_files=watches_files,
        )  # fmt: skip
        notifier = ReadinessNotifier(notify_socket, signs, world)
        return guard(world, launch.supervise, title=f"jobyard: {plan.guard}", notifier=notifier)


# ---- checks


def _take(data_dir: DataDir, plan: Plan) -> list[str]:
    try:
        data_dir.make()
        data_dir.take(plan.who, alone=plan.alone)
    except CannotStart as fault:
        return [fault.message]
    return []


def _forget_predecessors(deaths: ProofsOfDeath, world: World, *, alone: bool) -> None:
    """Processes of a start whose guard and supervisor were killed need a moment to exit, and hold the ports until then."""
    give_up_at = world.monotonic() + PREDECESSORS_S
    while alone and deaths.others_live() and world.monotonic() < give_up_at:
        select.select([], [], [], 0.01)
    deaths.forget_old_boots()


def _probe(plan: Plan, settings: Settings, world: World, code: TaskCode | None, faults: list[str]) -> str:
    """The name of the database; reasons why it or the task modules cannot be used are added to `faults`.

    If there are workers, the supervisor's first template checks whether the modules can be imported.
    """
    database = ""
    try:
        database = Probe(world, "the database", lambda: prepare_store(settings)).finish()
    except CannotStart as fault:
        faults.append(fault.message)
    try:
        if code is not None and not plan.has_workers:
            list_tasks(settings, code, RunDir(settings.data_dir))
        elif code is not None and faults:
            ask_for_tasks(settings, code)  # no template will be started that could report what is wrong with them
    except CannotStart as fault:
        faults.append(fault.message)
    return database


def _find_task_code(settings: Settings, environment: Mapping[str, str], faults: list[str]) -> TaskCode | None:
    try:
        return find_task_code(settings, environment)
    except CannotStart as fault:
        faults.append(fault.message)
        return None


# ---- the end


def _leave(data_dir: DataDir, plan: Plan, deaths: ProofsOfDeath) -> None:
    for name in (plan.supervisor, *(component.name for component in plan.components)):
        data_dir.run_dir.remove(name)
    forget_sockets(data_dir.run_dir, plan.template)
    if not is_locked(data_dir.run_dir.path / HELD):
        remove_names(data_dir.run_dir)
    deaths.leave()
    data_dir.release()


def _close(listeners: Iterable[socket.socket]) -> None:
    for sock in listeners:
        sock.close()
