"""How each role is built, in the process that will live it: after the fork, with a hub, a store and a log of its own."""

from __future__ import annotations

import importlib
import os
import socket
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from api.task_modules import load_tasks
from api.topology import QUEUE, SCHEDULER, WATCHER, WORKER, Component, queue_name
from engine.config import Settings
from engine.errors import CannotStart
from engine.executor import Ends, run_executor
from engine.executor_line import ExecutorLine
from engine.logs import Log
from engine.owners import parse_owner
from engine.processes.child import EXIT_CANNOT_START, EXIT_SOFTWARE, Role, live
from engine.processes.deaths import Deaths
from engine.processes.table import Birth, Post
from engine.queue import Queue
from engine.scheduler import Scheduler
from engine.store import open_store
from engine.watcher import Watcher
from engine.wire.hub import Hub
from engine.wire.run_dir import RunDir
from engine.worker import Worker
from engine.world import World

BEATS_A_HANG = 4
LONGEST_SLEEP_S = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What all processes of one start share."""

    settings: Settings
    world: World
    log: Log
    boot: str
    supervisor: int
    """The pid that they end with."""

    def queue_address(self) -> str:
        """The queue of our data folder; where one is by default, when none is there yet."""
        found = RunDir(self.settings.data_dir).components(QUEUE)
        return found[0] if found else queue_name(self.settings)

    def deaths(self) -> Deaths:
        """The proofs of death in our data folder."""
        return Deaths(RunDir(self.settings.data_dir), boot=self.boot, foreign_hosts=self.settings.mongo_uri is not None)


def post_for(component: Component, start: Start) -> Post:
    """The post of a component that lives by ticks: all but the gateway."""
    return Post(name=component.name, role=component.role, main=lambda birth: _live_as(component, start, birth))


def front_post(
    front: Component, start: Start, *, ports: Mapping[int, str], listeners: Mapping[int, socket.socket]
) -> Post:  # fmt: skip
    """The post of the process that serves HTTP on all of these ports, for the component named at each."""
    fds = frozenset(sock.fileno() for sock in listeners.values())
    return Post(
        name=front.name, role=front.role, keeps=fds, lives_by_ticks=False,
        main=lambda birth: _serve(front.name, start, birth, ports=ports, listeners=listeners),
    )  # fmt: skip


def tell_fault(message: str) -> int:
    """One line on stderr; the exit status that goes with it."""
    os.write(2, f"jobyard cannot start: {message}\n".encode("utf-8", "backslashreplace"))
    return EXIT_CANNOT_START


def _live_as(component: Component, start: Start, birth: Birth) -> int:
    log = start.log.named(component.name)
    longest_sleep_s = min(LONGEST_SLEEP_S, start.settings.hang_s / BEATS_A_HANG)
    try:
        return live(
            lambda hub: BUILD[component.role](start, birth, hub, log), name=component.name, parent=start.supervisor,
            hub=Hub(RunDir(start.settings.data_dir)), heartbeat=birth.heartbeat, log=log, longest_sleep_s=longest_sleep_s,
        )  # fmt: skip
    except CannotStart as fault:
        return tell_fault(fault.message)
    except Exception as bug:  # nobody knows what state it is in: the supervisor starts a new one
        log.error("process_failed", error=repr(bug), traceback=traceback.format_exc())
        return EXIT_SOFTWARE


def _serve(
    name: str, start: Start, birth: Birth, *, ports: Mapping[int, str], listeners: Mapping[int, socket.socket]
) -> int:  # fmt: skip
    """Flask and gunicorn are loaded here and nowhere else: no other process carries them."""
    serve_front: Callable[..., int] = importlib.import_module("api.server").serve_front
    return serve_front(
        settings=start.settings, ports=ports, listeners=listeners, run_dir=RunDir(start.settings.data_dir), world=start.world,
        log=start.log.named(name), heartbeat=birth.heartbeat, parent=start.supervisor, name=name,
    )  # fmt: skip


def _queue(start: Start, birth: Birth, hub: Hub, log: Log) -> Role:
    return Queue(
        owner=birth.owner, settings=start.settings, world=start.world, network=hub, log=log,
        store=open_store(start.settings, durable=False, waiting=birth.heartbeat.waiting),
    )  # fmt: skip


def _scheduler(start: Start, birth: Birth, hub: Hub, log: Log) -> Role:
    return Scheduler(
        owner=birth.owner, settings=start.settings, world=start.world, network=hub, log=log,
        run_dir=RunDir(start.settings.data_dir),
        store=open_store(start.settings, durable=True, waiting=birth.heartbeat.waiting),
    )  # fmt: skip


def _watcher(start: Start, birth: Birth, hub: Hub, log: Log) -> Role:
    return Watcher(
        owner=birth.owner, settings=start.settings, world=start.world, network=hub, log=log, deaths=start.deaths(),
        queue_address=start.queue_address(),
        store=open_store(start.settings, durable=False, waiting=birth.heartbeat.waiting),
    )  # fmt: skip


def _worker(start: Start, birth: Birth, hub: Hub, log: Log) -> Role:
    """The user's modules are imported here, once, before the first executor is forked."""
    settings, world = start.settings, start.world
    registry = load_tasks(settings)
    title = f"jobyard: {parse_owner(birth.owner).process} executor"
    me = os.getpid()

    def child(ends: Ends) -> int:
        folder = str(settings.data_dir / "tmp")
        return run_executor(ends, registry=registry, world=world, parent=me, title=title, folder=folder)

    return Worker(
        owner=birth.owner, settings=settings, world=world, network=hub, log=log, queue_address=start.queue_address(),
        run_dir=RunDir(settings.data_dir), hire=lambda: ExecutorLine(child=child, world=world, network=hub),
        store=open_store(settings, durable=False, waiting=birth.heartbeat.waiting),
    )  # fmt: skip


BUILD: dict[str, Callable[[Start, Birth, Hub, Log], Role]] = {
    QUEUE: _queue, SCHEDULER: _scheduler, WATCHER: _watcher, WORKER: _worker,
}  # fmt: skip
