"""Builds each role in its own process: after the fork, with its own hub, store and log."""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jobyard.api.start.templates import socket_name
from jobyard.engine.config import Settings
from jobyard.engine.control.channel import Channel
from jobyard.engine.control.protocol import CONTROL, HELD
from jobyard.engine.databases.open import feed_of, hosts_of, open_store
from jobyard.engine.errors import CannotStart
from jobyard.engine.hosts.failure_detector import FailureDetector, OtherHosts
from jobyard.engine.hosts.host_lease import HostLease
from jobyard.engine.hosts.known_tasks import KnownTasks
from jobyard.engine.jobs.owners import Owner, parse_owner
from jobyard.engine.logs import Log, write_line
from jobyard.engine.process_control import die_with_parent, set_title, share_one_heap
from jobyard.engine.queue.queue import Queue
from jobyard.engine.scheduler.scheduler import Scheduler
from jobyard.engine.store.port import HostHeartbeat, Hosts, Served, Store
from jobyard.engine.supervisor.deaths import ProofsOfDeath
from jobyard.engine.supervisor.locks import take_lock
from jobyard.engine.supervisor.process_table import ProcessIdentity, ProcessSpec
from jobyard.engine.supervisor.role_loop import EXIT_CANNOT_START, EXIT_OK, EXIT_SOFTWARE, Role, Signals, run_role
from jobyard.engine.tasks.catalog import Catalog
from jobyard.engine.tasks.schedule_catalog import LIMITS_FILE, ScheduleCatalog
from jobyard.engine.template.messages import Hello
from jobyard.engine.topology import FIRST_PORTS, QUEUE, SCHEDULER, WATCHER, WORKER, Component, queue_name
from jobyard.engine.watcher.fires import Fires
from jobyard.engine.watcher.limit_upkeep import LimitUpkeep
from jobyard.engine.watcher.recovery import Recovery
from jobyard.engine.watcher.retention import Retention
from jobyard.engine.watcher.watcher import Watcher
from jobyard.engine.wire.cancel_hints import tell_cancelled
from jobyard.engine.wire.hub import Hub
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.worker.executor_handle import ExecutorHandle
from jobyard.engine.worker.template_client import TemplateClient
from jobyard.engine.worker.template_line import SocketConnector
from jobyard.engine.worker.worker import Worker
from jobyard.engine.world import World

BEATS_A_HANG = 4
LONGEST_SLEEP_S = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Values shared by all processes of one start."""

    settings: Settings
    world: World
    log: Log
    boot: str
    supervisor: int
    """The supervisor's pid; when it dies, they die too."""
    template: str
    """The name of the template that forks the workers' executors."""

    def queue_names(self) -> list[str]:
        """The queues registered in this data folder; the default name if there has never been one."""
        return RunDir(self.settings.data_dir).components(QUEUE) or [queue_name(self.settings)]

    def deaths(self) -> ProofsOfDeath:
        """The proofs of death in this data folder."""
        return ProofsOfDeath(RunDir(self.settings.data_dir), boot=self.boot, foreign_hosts=self.settings.mongo_uri is not None)


def spec_for(component: Component, start: Start) -> ProcessSpec:
    """The process of a component that runs a role loop: all but the gateway."""
    return ProcessSpec(name=component.name, role=component.role, main=lambda identity: _run(component, start, identity))


def front_spec(
    front: Component, start: Start, *, ports: Mapping[int, str], listeners: Mapping[int, socket.socket]
) -> ProcessSpec:  # fmt: skip
    """The process that serves HTTP on all of these ports; `ports` names the component of each."""
    fds = frozenset(sock.fileno() for sock in listeners.values())
    return ProcessSpec(
        name=front.name, role=front.role, keeps=fds, runs_role_loop=False,
        main=lambda identity: _exit_status(
            lambda: _serve(front.name, start, identity, ports=ports, listeners=listeners), start.log.named(front.name)
        ),
    )  # fmt: skip


def control_spec(start: Start, *, name: str) -> ProcessSpec:
    """The control process. Of several starts on one data folder, one serves; the control processes of the others wait."""
    main: Callable[[ProcessIdentity], int] = lambda identity: _exit_status(  # noqa: E731
        lambda: _serve_control(start, identity, name), start.log.named(name)
    )
    return ProcessSpec(name=name, role=CONTROL, runs_role_loop=False, main=main)


def print_fault(message: str) -> int:
    """Print why the start failed, one line on stderr; returns the exit status."""
    write_line(f"jobyard cannot start: {message}", fd=2)
    return EXIT_CANNOT_START


def _serve_control(start: Start, identity: ProcessIdentity, name: str) -> int:
    """The main function of a control process, the only one that imports `multiprocessing.managers`."""
    die_with_parent(start.supervisor)
    set_title(f"jobyard: {name}")
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(EXIT_OK))  # there is nothing to clean up until it has the lock
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    run_dir = RunDir(start.settings.data_dir)
    share_one_heap()
    identity.heartbeat.waiting(True)
    held = take_lock(run_dir.path / HELD, wait=True)
    identity.heartbeat.beat()
    signals = Signals(signal.SIGTERM)
    signal_fd = signals.install()

    def is_to_stop() -> bool:
        select.select([signal_fd], [], [], _longest_sleep_s(start.settings))
        return signals.seen[signal.SIGTERM] > 0

    serve: Callable[..., None] = importlib.import_module("jobyard.engine.control.server").serve
    serve(run_dir, start.world, beat=identity.heartbeat.beat, is_to_stop=is_to_stop)
    os.close(held)
    return EXIT_OK


def _longest_sleep_s(settings: Settings) -> float:
    return min(LONGEST_SLEEP_S, settings.hang_s / BEATS_A_HANG)


def _run(component: Component, start: Start, identity: ProcessIdentity) -> int:
    log = start.log.named(component.name)
    run_dir = RunDir(start.settings.data_dir)

    def run() -> int:
        return run_role(
            lambda hub: BUILD[component.role](start, identity, hub, log), name=component.name, parent=start.supervisor,
            hub=Hub(run_dir), channel=Channel(run_dir, start.world, name=component.name), heartbeat=identity.heartbeat, log=log,
            world=start.world, longest_sleep_s=_longest_sleep_s(start.settings),
        )  # fmt: skip

    return _exit_status(run, log)


def _exit_status(main: Callable[[], int], log: Log) -> int:
    """Run the main function of a process; an exception is logged."""
    try:
        return main()
    except CannotStart as fault:
        return print_fault(fault.message)
    except Exception as bug:  # its state is unknown, so it exits and the supervisor starts a new process
        log.error("process_failed", error=repr(bug), traceback=traceback.format_exc())
        return EXIT_SOFTWARE


def _serve(
    name: str, start: Start, identity: ProcessIdentity, *, ports: Mapping[int, str], listeners: Mapping[int, socket.socket]
) -> int:  # fmt: skip
    """The main function of the front, the only process that imports Flask and gunicorn."""
    serve_front: Callable[..., int] = importlib.import_module("jobyard.api.front.server").serve_front
    return serve_front(
        settings=start.settings, ports=ports, listeners=listeners, run_dir=RunDir(start.settings.data_dir), world=start.world,
        log=start.log.named(name), heartbeat=identity.heartbeat, parent=start.supervisor, name=name,
    )  # fmt: skip


def _store(start: Start, identity: ProcessIdentity, *, durable: bool = False, place: tuple[int, int] = (0, 1)) -> Store:
    owner = parse_owner(identity.owner)
    return open_store(start.settings, owner=owner, durable=durable, waiting=identity.heartbeat.waiting, place=place)


def _queue(start: Start, identity: ProcessIdentity, hub: Hub, log: Log) -> Role:
    return Queue(
        owner=identity.owner, settings=start.settings, world=start.world, network=hub, log=log, store=_store(start, identity),
        served=_served(start),
    )  # fmt: skip


def _served(start: Start) -> Callable[[], Served]:
    """What this host can run now."""
    catalog = Catalog(RunDir(start.settings.data_dir))
    return lambda: Served(tasks=tuple(catalog.options()), queues=start.settings.queues)


def _scheduler(start: Start, identity: ProcessIdentity, hub: Hub, log: Log) -> Role:
    store = _store(start, identity, durable=True)
    return Scheduler(
        owner=identity.owner, settings=start.settings, world=start.world, network=hub, log=log,
        run_dir=RunDir(start.settings.data_dir), store=store, other_hosts=OtherHosts(hosts_of(store), start.world),
    )  # fmt: skip


def _watcher(start: Start, identity: ProcessIdentity, hub: Hub, log: Log) -> Role:
    settings, world, deaths = start.settings, start.world, start.deaths()
    owner = parse_owner(identity.owner)
    number = int(owner.process.rpartition("-")[2]) - FIRST_PORTS[WATCHER] - settings.port_offset
    store = _store(start, identity, place=(number % settings.watchers, settings.watchers))
    hosts = hosts_of(store)
    failure_detector = None
    if hosts is not None:
        look_s = 1.25 * settings.poll_s
        failure_detector = FailureDetector(
            hosts=hosts, is_ours=deaths.is_ours, world=world, lease_s=settings.lease_s, look_s=look_s
        )
    return Watcher(
        owner=identity.owner, settings=settings, world=world, network=hub, log=log, store=store, queue_names=start.queue_names,
        recovery=Recovery(settings=settings, world=world, store=store, log=log, deaths=deaths, failure_detector=failure_detector),
        retention=Retention(settings=settings, world=world, store=store, log=log),
        host_lease=_host_lease(start, owner, hosts), served=_served(start),
        feed=feed_of(settings, owner=owner, log=log) if number == 0 else None,
        fires=_fires(start, store, hub, log),
        limits=LimitUpkeep(
            world=world, store=store, log=log, declared=ScheduleCatalog(RunDir(settings.data_dir), file=LIMITS_FILE)
        ),
    )  # fmt: skip


def _fires(start: Start, store: Store, hub: Hub, log: Log) -> Fires:
    """The fires of schedules, for one watcher."""
    settings, run_dir = start.settings, RunDir(start.settings.data_dir)
    known = KnownTasks(settings, Catalog(run_dir), OtherHosts(hosts_of(store), start.world), store.http_tasks)
    return Fires(
        settings=settings, world=start.world, store=store, log=log, defaults=known.defaults, declared=ScheduleCatalog(run_dir),
        tell_cancelled=lambda pairs: tell_cancelled(hub, pairs),
    )  # fmt: skip


def _host_lease(start: Start, owner: Owner, hosts: Hosts | None) -> HostLease:
    """The host lease, which this process helps to renew."""
    run_dir, lease_s = RunDir(start.settings.data_dir), start.settings.lease_s
    catalog, schedules = Catalog(run_dir), ScheduleCatalog(run_dir)

    def heartbeat() -> HostHeartbeat:
        return HostHeartbeat(
            boot=owner.boot, host=owner.host, renewal=0, seen_at=start.world.now(), lease_s=lease_s, tasks=catalog.text(),
            queues=start.settings.queues, schedules=schedules.names(),
        )  # fmt: skip

    return HostLease(hosts=hosts, sign=heartbeat, world=start.world, lease_s=lease_s)


def _worker(start: Start, identity: ProcessIdentity, hub: Hub, log: Log) -> Role:
    settings, world, run_dir = start.settings, start.world, RunDir(start.settings.data_dir)
    owner = parse_owner(identity.owner)
    store = _store(start, identity)
    templates = TemplateClient(
        connector=SocketConnector(lambda: run_dir.path_of(socket_name(start.template))),
        new_handle=lambda number: ExecutorHandle(number, world=world, network=hub),
        hello=Hello(owner=identity.owner, title=f"jobyard: {owner.process} executor"), world=world, network=hub, log=log,
    )  # fmt: skip
    return Worker(
        owner=identity.owner, settings=settings, world=world, network=hub, log=log, queue_names=start.queue_names,
        run_dir=run_dir, templates=templates, store=store, host_lease=_host_lease(start, owner, hosts_of(store)),
    )  # fmt: skip


BUILD: dict[str, Callable[[Start, ProcessIdentity, Hub, Log], Role]] = {
    QUEUE: _queue, SCHEDULER: _scheduler, WATCHER: _watcher, WORKER: _worker,
}  # fmt: skip
