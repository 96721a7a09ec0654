"""A start, from the checks to the exit status. All faults that can be found are reported before the first long-lived process.

    settings → data folder and its lock → ports → database and task modules (in a probe) → guard → supervisor → the rest
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

from jobyard.api.start.launch import Launch, Plan
from jobyard.api.start.roles import print_fault
from jobyard.api.start.task_modules import TaskCode, find_task_code, import_tasks_once, list_tasks
from jobyard.api.start.templates import remove_sockets
from jobyard.engine.config import Settings
from jobyard.engine.control.protocol import HELD, remove_names
from jobyard.engine.databases.open import prepare_store
from jobyard.engine.errors import CannotStart
from jobyard.engine.stop_requests import StopRequests
from jobyard.engine.supervisor.data_dir import DataDir
from jobyard.engine.supervisor.deaths import ProofsOfDeath
from jobyard.engine.supervisor.guard import guard
from jobyard.engine.supervisor.locks import is_locked
from jobyard.engine.supervisor.ports import explain, open_ports
from jobyard.engine.supervisor.probe import Probe
from jobyard.engine.supervisor.readiness import NotifySocket, ReadinessNotifier, SupervisorHeartbeat
from jobyard.engine.tasks.schedule_catalog import forget_schedules
from jobyard.engine.transient import retry_transient
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World

BOOT_BITS = 32
PREDECESSOR_TIMEOUT_S = 2.0


def start(
    plan: Plan, settings: Settings, world: World, *, environment: Mapping[str, str], notify_socket: NotifySocket,
    stop_requests: StopRequests, watches_files: bool = False,
) -> int:  # fmt: skip
    """Check everything, run until stopped, leave nothing behind; returns the exit status. Raises `Stopped` if stopped early."""
    os.umask(0o077)
    data_dir = DataDir(settings.data_dir)
    boot = world.token(BOOT_BITS)
    deaths = ProofsOfDeath(data_dir.run_dir, boot=boot, foreign_hosts=settings.mongo_uri is not None)
    with ExitStack() as at_the_end:
        faults = _take(data_dir, plan, world)
        if data_dir.is_taken:
            at_the_end.callback(_clean_up, data_dir, plan, deaths)
            _await_predecessors(deaths, world, stop_requests, alone=plan.alone)
        listeners, closed = open_ports(settings.host, [component.port for component in plan.components], world=world)
        at_the_end.callback(_close, listeners.values())
        faults += explain(settings.host, closed)
        code = _find_task_code(settings, environment, faults, stop_requests)
        database = _probe(plan, settings, world, code, faults, stop_requests) if data_dir.is_taken else ""
        if faults or code is None:
            return max(print_fault(fault) for fault in faults)
        heartbeat = SupervisorHeartbeat(world)
        launch = Launch(
            plan=plan, settings=settings, world=world, boot=boot, guard=os.getpid(), listeners=listeners, database=database,
            heartbeat=heartbeat, code=code, watches_files=watches_files,
        )  # fmt: skip
        notifier = ReadinessNotifier(notify_socket, heartbeat, world)
        stop_requests.close()
        return guard(world, launch.supervise, title=f"jobyard: {plan.guard}", notifier=notifier)


# ---- checks


def _take(data_dir: DataDir, plan: Plan, world: World) -> list[str]:
    try:
        retry_transient(data_dir.make, world)
        retry_transient(lambda: data_dir.take(plan.who, alone=plan.alone), world)
    except CannotStart as fault:
        return [fault.message]
    return []


def _await_predecessors(deaths: ProofsOfDeath, world: World, stop_requests: StopRequests, *, alone: bool) -> None:
    """Wait for the processes of a start whose guard and supervisor were killed: they hold the ports until they have ended."""
    give_up_at = world.monotonic() + PREDECESSOR_TIMEOUT_S
    while alone and retry_transient(deaths.others_live, world) and world.monotonic() < give_up_at:
        select.select([], [], [], 0.01)
        stop_requests.check()
    retry_transient(deaths.forget_old_boots, world)


def _probe(
    plan: Plan, settings: Settings, world: World, code: TaskCode | None, faults: list[str], stop_requests: StopRequests
) -> str:  # fmt: skip
    """The description of the database. Reasons why it or the task modules cannot be used are added to `faults`.

    With workers, the supervisor's first template checks whether the modules can be imported.
    """
    database = ""
    if plan.has_workers:
        forget_schedules(RunDir(settings.data_dir))
    try:
        probe = retry_transient(lambda: Probe(world, "the database", lambda: prepare_store(settings)), world)
        database = probe.finish(wait=stop_requests.wait_readable)
    except CannotStart as fault:
        faults.append(fault.message)
    try:
        if code is not None and not plan.has_workers:
            list_tasks(settings, code, RunDir(settings.data_dir), wait=stop_requests.wait_readable)
        elif code is not None and faults:
            # no template will be started that could report their faults
            import_tasks_once(settings, code, wait=stop_requests.wait_readable)
    except CannotStart as fault:
        faults.append(fault.message)
    return database


def _find_task_code(
    settings: Settings, environment: Mapping[str, str], faults: list[str], stop_requests: StopRequests
) -> TaskCode | None:  # fmt: skip
    try:
        return find_task_code(settings, environment, wait=stop_requests.wait_readable)
    except CannotStart as fault:
        faults.append(fault.message)
        return None


# ---- the end


def _clean_up(data_dir: DataDir, plan: Plan, deaths: ProofsOfDeath) -> None:
    for name in (plan.supervisor, *(component.name for component in plan.components)):
        data_dir.run_dir.remove(name)
    remove_sockets(data_dir.run_dir, plan.template)
    if not is_locked(data_dir.run_dir.path / HELD):
        remove_names(data_dir.run_dir)
    deaths.remove_files()
    data_dir.release()


def _close(listeners: Iterable[socket.socket]) -> None:
    for sock in listeners:
        sock.close()
