"""How each role is built, in the process that will live it: after the fork, with a hub, a store and a log of its own."""

from __future__ import annotations

import importlib
import os
import socket
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from api.task_modules import first_sign_s, load_tasks
from api.topology import FIRST_PORTS, QUEUE, SCHEDULER, WATCHER, WORKER, Component, queue_name
from engine.config import Settings
from engine.errors import CannotStart
from engine.executor import Ends, run_executor
from engine.executor_line import ExecutorLine
from engine.hold import Hold
from engine.logs import Log
from engine.owners import Owner, parse_owner
from engine.processes.child import EXIT_CANNOT_START, EXIT_SOFTWARE, Role, live
from engine.processes.deaths import Deaths
from engine.processes.table import Birth, Post
from engine.queue import Queue
from engine.scheduler import Scheduler
from engine.silence import Elsewhere, Silence
from engine.store import feed_of, hosts_of, open_store
from engine.store.port import Hosts, HostSign, Served, Store
from engine.tasks.catalog import Catalog
from engine.upkeep import Upkeep
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

    def queue_names(self) -> list[str]:
        """The queues that our data folder has now, or had; where one is by default, when it never had any."""
        return RunDir(self.settings.data_dir).components(QUEUE) or [queue_name(self.settings)]

    def deaths(self) -> Deaths:
        """The proofs of death in our data folder."""
        return Deaths(RunDir(self.settings.data_dir), boot=self.boot, foreign_hosts=self.settings.mongo_uri is not None)


def post_for(component: Component, start: Start) -> Post:
    """The post of a component that lives by ticks: all but the gateway."""
    post = Post(name=component.name, role=component.role, main=lambda birth: _live_as(component, start, birth))
    return replace(post, first_sign_s=first_sign_s(start.settings)) if component.role == WORKER else post


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


def _store(start: Start, birth: Birth, *, durable: bool = False, place: tuple[int, int] = (0, 1)) -> Store:
    owner = parse_owner(birth.owner)
    return open_store(start.settings, owner=owner, durable=durable, waiting=birth.heartbeat.waiting, place=place)


def _queue(start: Start, birth: Birth, hub: Hub, log: Log) -> Role:
    return Queue(
        owner=birth.owner, settings=start.settings, world=start.world, network=hub, log=log, store=_store(start, birth),
        is_ours=start.deaths().is_ours,
    )  # fmt: skip


def _scheduler(start: Start, birth: Birth, hub: Hub, log: Log) -> Role:
    store = _store(start, birth, durable=True)
    return Scheduler(
        owner=birth.owner, settings=start.settings, world=start.world, network=hub, log=log,
        run_dir=RunDir(start.settings.data_dir), store=store, elsewhere=Elsewhere(hosts_of(store), start.world),
    )  # fmt: skip


def _watcher(start: Start, birth: Birth, hub: Hub, log: Log) -> Role:
    settings, world, deaths = start.settings, start.world, start.deaths()
    owner = parse_owner(birth.owner)
    number = int(owner.process.rpartition("-")[2]) - FIRST_PORTS[WATCHER] - settings.port_offset
    store = _store(start, birth, place=(number % settings.watchers, settings.watchers))
    hosts = hosts_of(store)
    catalog = Catalog(RunDir(settings.data_dir))
    silence = None
    if hosts is not None:
        look_s = 1.25 * settings.poll_s
        silence = Silence(hosts=hosts, is_ours=deaths.is_ours, world=world, lease_s=settings.lease_s, look_s=look_s)
    return Watcher(
        owner=birth.owner, settings=settings, world=world, network=hub, log=log, store=store, queue_names=start.queue_names,
        upkeep=Upkeep(settings=settings, world=world, store=store, log=log, deaths=deaths, silence=silence),
        hold=_hold(start, owner, hosts), served=lambda: Served(tasks=tuple(catalog.options()), queues=settings.queues),
        feed=feed_of(settings, owner=owner, log=log) if number == 0 else None,
    )  # fmt: skip


def _hold(start: Start, owner: Owner, hosts: Hosts | None) -> Hold:
    """This process's share of its host's sign of life."""
    catalog = Catalog(RunDir(start.settings.data_dir))
    lease_s = start.settings.lease_s

    def sign() -> HostSign:
        return HostSign(
            boot=owner.boot, host=owner.host, renewal=0, seen_at=start.world.now(), lease_s=lease_s, tasks=catalog.text(),
            queues=start.settings.queues,
        )  # fmt: skip

    return Hold(hosts=hosts, sign=sign, world=start.world, lease_s=lease_s)


def _worker(start: Start, birth: Birth, hub: Hub, log: Log) -> Role:
    """The user's modules are imported here, once, before the first executor is forked."""
    settings, world = start.settings, start.world
    registry = load_tasks(settings)
    title = f"jobyard: {parse_owner(birth.owner).process} executor"
    me = os.getpid()

    def child(ends: Ends) -> int:
        folder = str(settings.data_dir / "tmp")
        level = settings.log_level
        return run_executor(ends, registry=registry, world=world, parent=me, title=title, folder=folder, log_level=level)

    store = _store(start, birth)
    return Worker(
        owner=birth.owner, settings=settings, world=world, network=hub, log=log, queue_names=start.queue_names,
        run_dir=RunDir(settings.data_dir), hire=lambda: ExecutorLine(child=child, world=world, network=hub), store=store,
        hold=_hold(start, parse_owner(birth.owner), hosts_of(store)),
    )  # fmt: skip


BUILD: dict[str, Callable[[Start, Birth, Hub, Log], Role]] = {
    QUEUE: _queue, SCHEDULER: _scheduler, WATCHER: _watcher, WORKER: _worker,
}  # fmt: skip
