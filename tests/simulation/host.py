"""A host with its processes and a simulated supervisor, which restarts dead processes, proves deaths, replaces hung processes,
stops and reboots.

This is the only place where roles are built.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from jobyard.engine.config import Settings
from jobyard.engine.hosts.failure_detector import FailureDetector, OtherHosts
from jobyard.engine.hosts.host_lease import HostLease
from jobyard.engine.jobs.owners import parse_owner
from jobyard.engine.jobs.submission import Defaults, TaskDefaults
from jobyard.engine.queue.queue import Queue
from jobyard.engine.scheduler.scheduler import Scheduler
from jobyard.engine.store.port import HostHeartbeat, Hosts, Served
from jobyard.engine.supervisor.role_loop import Role
from jobyard.engine.template.messages import Hello
from jobyard.engine.watcher.fires import Fires
from jobyard.engine.watcher.recovery import Recovery
from jobyard.engine.watcher.retention import Retention
from jobyard.engine.watcher.watcher import Watcher
from jobyard.engine.wire.cancel_hints import tell_cancelled
from jobyard.engine.wire.hub import Network
from jobyard.engine.wire.messages import OwnersDied
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.worker.template_client import TemplateClient
from jobyard.engine.worker.worker import Worker
from tests.simulation.checker import Checker
from tests.simulation.children import ALL_TASKS, ExecutorFleet, SimulatedHandle
from tests.simulation.event_queue import EventQueue
from tests.simulation.network import HostNetwork, KnownComponents, NetworkConditions, ProcessNetwork
from tests.simulation.process import Process
from tests.simulation.store import ProcessStore, SharedStore, StoreConditions
from tests.simulation.templates import ANSWER_S, SimulatedConnector, SimulatedTemplates
from tests.simulation.world import HostWorld, TracedLog

QUEUE_NAME = "queue-6000"
NAMES = ("scheduler-8081", "scheduler-8082", QUEUE_NAME, "watcher-9001", "watcher-9002", "worker-7001", "worker-7002")
STAGES = (("watcher",), ("worker",), ("queue",), ("scheduler",))
"""The order of `start.drain`."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What all hosts share."""

    event_queue: EventQueue
    checker: Checker
    settings: Settings
    store: SharedStore
    conditions: NetworkConditions
    executors: ExecutorFleet
    folder: object


class Host:
    """See the module."""

    def __init__(self, cluster: Cluster, *, number: int, wall_offset_s: float = 0.0) -> None:
        self.cluster = cluster
        self.name = f"host{number}"
        self.world = HostWorld(cluster.event_queue, name=self.name, number=number, wall_offset_s=wall_offset_s)
        self.network = HostNetwork(cluster.event_queue, cluster.conditions)
        self.store_conditions = StoreConditions()
        self.crash_rate = 0.0
        self.is_up = False
        self._is_lost = False
        self.boots = 0
        self._generations: Counter[str] = Counter()
        self.templates = SimulatedTemplates(cluster.executors, self.name)
        self._proven_dead: set[str] = set()
        self._stops: tuple[str, ...] = ()

    @property
    def boot(self) -> str:
        """The name of the current boot."""
        return f"{self.name}b{self.boots}"

    def processes(self) -> list[Process]:
        """The processes that are alive."""
        return [process for process in self.network.processes.values() if process.is_alive]

    def proven(self, owners: Iterable[str]) -> list[str]:
        """See `Proof`: the owners whose death was proven here, and all of earlier boots of this host."""
        return [owner for owner in owners if owner in self._proven_dead or self._is_of_earlier_boot(owner)]

    def is_ours(self, owner: str) -> bool:
        """See `supervisor.deaths`."""
        return parse_owner(owner).host == self.name

    # ---- life and death

    def boot_up(self) -> None:
        """Start everything; nothing of an earlier boot is left."""
        if self._is_lost:
            return
        self.boots += 1
        self.is_up = True
        self._generations.clear()
        self.cluster.event_queue.note(self.name, "boots", self.boot)
        self.templates.vanish()
        self.templates = SimulatedTemplates(self.cluster.executors, self.name)
        self.templates.start()
        for name in NAMES:
            self._start(name)

    def crash(self, seconds: float) -> None:
        """A power failure, or a kill of all processes; the host boots again after this time."""
        if not self.is_up:
            return
        self.cluster.event_queue.note(self.name, "crashes for", seconds)
        self.is_up = False
        for process in self.processes():
            process.kill()
        self.templates.vanish()
        self.cluster.event_queue.after(seconds + 0.01, self.boot_up)

    def lose_permanently(self) -> None:
        """The host never comes back."""
        self.crash(float("inf"))
        self.is_up, self._is_lost = False, True

    def stop(self) -> None:
        """SIGTERM: everything stops, stage by stage, and starts again."""
        if self.is_up and not self._stops:
            self.cluster.event_queue.note(self.name, "stops")
            self.is_up = False
            self._stops = STAGES[0]
            self._continue_stopping(0, self.cluster.event_queue.now)

    def restart(self, name: str) -> None:
        """One process is asked to stop, and killed when it does not."""
        process = self.network.processes[name]
        self._ask_to_stop(process)
        self.cluster.event_queue.after(self.cluster.settings.drain_s + 5, lambda: process.kill("is killed because it did not stop"))

    def pause(self, name: str, seconds: float) -> None:
        """Pause a process; after HANG_S it is killed."""
        process = self.network.processes[name]
        self.cluster.event_queue.note(process.who, "is paused for", seconds)
        process.pause(seconds)
        hang_s = self.cluster.settings.hang_s
        if seconds > hang_s:
            self.cluster.event_queue.after(hang_s, lambda: process.kill("hung and is killed"))

    def freeze(self, seconds: float) -> None:
        """Pause the whole host with its supervisor and children; afterwards it continues as if nothing had happened."""
        self.cluster.event_queue.note(self.name, "is frozen for", seconds)
        for process in self.processes():
            process.pause(seconds)
        for template in self.templates.all:
            template.hangs_until = max(template.hangs_until, self.cluster.event_queue.now + seconds)
            for child in (child for children in template.children.values() for child in children):
                child.frozen_until = self.cluster.event_queue.now + seconds

    # ---- the simulated supervisor

    def _start(self, name: str) -> None:
        if not self.is_up or (name in self.network.processes and self.network.processes[name].is_alive):
            return
        self._generations[name] += 1
        owner = f"{self.name}:{self.boot}:{name}:{self._generations[name]}"
        checker = self.cluster.checker
        process = Process(
            self.cluster.event_queue, name=name, owner=owner, on_death=self._on_process_death,
            paused=lambda: checker.paused.add(owner),
        )  # fmt: skip
        process.crash_rate = self.crash_rate
        self.network.processes[name] = process
        checker.alive[owner] = process
        process.begin(lambda: self._build(process))

    def _on_process_death(self, process: Process) -> None:
        """Replace the process at once or a little later; its death is proven when its children are gone."""
        event_queue = self.cluster.event_queue
        self.cluster.checker.alive.pop(process.owner, None)
        if process.has_stopped:
            self.cluster.checker.left.add(process.owner)
        self.templates.end_worker(process.owner)
        if not self.is_up:
            return
        boot = self.boot
        is_slow = self.cluster.checker.faults_over_since is None
        buried_s = event_queue.between(0.2, 3.0 if is_slow and event_queue.happens(0.3) else 0.3)
        started_s = event_queue.between(0, 5.0 if is_slow and event_queue.happens(0.3) else 0.05)
        event_queue.after(ANSWER_S, lambda: self.templates.end_silent(process.owner))
        event_queue.after(buried_s, lambda: self._prove_death(process.owner, boot))
        event_queue.after(started_s, lambda: self._restart(process.name, boot))

    def _restart(self, name: str, boot: str) -> None:
        if boot == self.boot:
            self._start(name)

    def _prove_death(self, owner: str, boot: str) -> None:
        if boot != self.boot:
            return
        if not self.templates.is_clear_of(owner):
            self.cluster.event_queue.after(0.1, lambda: self._prove_death(owner, boot))
            return
        self.cluster.event_queue.note(self.name, "proves dead", owner)
        self._proven_dead.add(owner)
        for name in self.network.components("watcher"):
            self.network.hint(self.name, name, OwnersDied(owners=[owner]))

    def _ask_to_stop(self, process: Process) -> None:
        self.cluster.event_queue.note(process.who, "is asked to stop")
        self.cluster.checker.draining.add(process.owner)
        process.ask_to_stop()

    def _continue_stopping(self, stage: int, since: float) -> None:
        event_queue = self.cluster.event_queue
        if stage == len(STAGES):
            self._stops = ()
            event_queue.after(0.5, self.boot_up)
            return
        left = [process for process in self.processes() if process.name.startswith(STAGES[stage])]
        if not left:
            self._continue_stopping(stage + 1, event_queue.now)
            return
        for process in left:
            if process.owner not in self.cluster.checker.draining:
                self._ask_to_stop(process)
            if event_queue.now > since + self.cluster.settings.drain_s + 5:
                process.kill("is killed because it did not stop")
        event_queue.after(0.1, lambda: self._continue_stopping(stage, since))

    def _is_of_earlier_boot(self, owner: str) -> bool:
        parsed = parse_owner(owner)
        return self.is_ours(owner) and parsed.boot != self.boot

    # ---- roles

    def _build(self, process: Process) -> Role:
        cluster, owner, world = self.cluster, process.owner, self.world
        network = cast(Network, ProcessNetwork(process, self.network))
        log = TracedLog(cluster.event_queue, process.who)
        store = ProcessStore(cluster.event_queue, process, cluster.store, self.store_conditions)
        hosts = store if cluster.settings.mongo_uri is not None else None
        known = cast(RunDir, KnownComponents(self.network, cluster.folder))
        templates = TemplateClient(
            connector=SimulatedConnector(self.templates, process), hello=Hello(owner=owner, title=""), world=world, network=network,
            new_handle=lambda number: SimulatedHandle(cluster.executors, process, network, world, number), log=log,
        )  # fmt: skip
        queues = lambda: [QUEUE_NAME]  # noqa: E731
        build: dict[str, Callable[[], Role]] = {
            "scheduler": lambda: Scheduler(
                owner=owner, settings=cluster.settings, world=world, store=store, network=network, log=log, run_dir=known,
                other_hosts=OtherHosts(hosts, world),
            ),
            "watcher": lambda: Watcher(
                owner=owner, settings=cluster.settings, world=world, store=store, network=network, log=log, queue_names=queues,
                recovery=self._recovery(store, hosts, log),
                retention=Retention(settings=cluster.settings, world=world, store=store, log=log),
                host_lease=self._host_lease(owner, hosts), served=lambda: Served(tasks=ALL_TASKS),
                fires=self._fires(store, network, log),
            ),
            "queue": lambda: Queue(
                owner=owner, settings=cluster.settings, world=world, store=store, network=network, log=log,
                served=lambda: Served(tasks=ALL_TASKS),
            ),
            "worker": lambda: Worker(
                owner=owner, settings=cluster.settings, world=world, store=store, network=network, log=log, queue_names=queues,
                run_dir=known, templates=templates, host_lease=self._host_lease(owner, hosts),
            ),
        }  # fmt: skip
        return build[process.name.partition("-")[0]]()

    def _fires(self, store: ProcessStore, network: Network, log: TracedLog) -> Fires:
        settings = self.cluster.settings
        tasks = dict.fromkeys(ALL_TASKS, TaskDefaults())
        defaults = Defaults(max_retries=settings.max_retries, timeout_s=settings.job_timeout_s, tasks=tasks)
        return Fires(
            settings=settings, world=self.world, store=store, log=log, defaults=lambda: defaults,
            tell_cancelled=lambda pairs: tell_cancelled(network, pairs),
        )  # fmt: skip

    def _recovery(self, store: ProcessStore, hosts: Hosts | None, log: TracedLog) -> Recovery:
        settings = self.cluster.settings
        failure_detector = None
        if hosts is not None:
            look_s = 1.25 * settings.poll_s
            failure_detector = FailureDetector(
                hosts=hosts, is_ours=self.is_ours, world=self.world, lease_s=settings.lease_s, look_s=look_s
            )
        return Recovery(settings=settings, world=self.world, store=store, log=log, deaths=self, failure_detector=failure_detector)

    def _host_lease(self, owner: str, hosts: Hosts | None) -> HostLease:
        parsed = parse_owner(owner)
        lease_s = self.cluster.settings.lease_s

        def sign() -> HostHeartbeat:
            return HostHeartbeat(boot=parsed.boot, host=parsed.host, renewal=0, seen_at=self.world.now(), lease_s=lease_s)

        return HostLease(hosts=hosts, sign=sign, world=self.world, lease_s=lease_s)
