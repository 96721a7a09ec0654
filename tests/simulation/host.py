"""A host: its processes, and a supervisor that is played: it restarts the dead, proves deaths, replaces who hangs, stops and
reboots.

The one place where roles are built.
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
from jobyard.engine.queue.queue import Queue
from jobyard.engine.scheduler.scheduler import Scheduler
from jobyard.engine.store.port import HostHeartbeat, Hosts, Served
from jobyard.engine.supervisor.role_loop import Role
from jobyard.engine.template.messages import Hello
from jobyard.engine.watcher.recovery import Recovery
from jobyard.engine.watcher.retention import Retention
from jobyard.engine.watcher.watcher import Watcher
from jobyard.engine.wire.hub import Network
from jobyard.engine.wire.messages import OwnersDied
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.worker.template_client import TemplateClient
from jobyard.engine.worker.worker import Worker
from tests.simulation.agenda import Agenda
from tests.simulation.children import EVERY_TASK, Labour, PlayedHandle
from tests.simulation.judge import Judge
from tests.simulation.network import HostNetwork, KnownComponents, ProcessNetwork, Weather
from tests.simulation.process import Process
from tests.simulation.store import SharedStore, StoreLine, StoreWeather
from tests.simulation.templates import ANSWER_S, PlayedConnector, PlayedTemplates
from tests.simulation.world import HostWorld, TracedLog

QUEUE_NAME = "queue-6000"
NAMES = ("scheduler-8081", "scheduler-8082", QUEUE_NAME, "watcher-9001", "watcher-9002", "worker-7001", "worker-7002")
STAGES = (("watcher", "worker"), ("queue",), ("scheduler",))
"""As `start.drain` has it."""


@dataclass(frozen=True, kw_only=True)
class Town:
    """What all hosts share."""

    agenda: Agenda
    judge: Judge
    settings: Settings
    store: SharedStore
    weather: Weather
    labour: Labour
    folder: object


class Host:
    """See the module."""

    def __init__(self, town: Town, *, number: int, wall_offset_s: float = 0.0) -> None:
        self.town = town
        self.name = f"host{number}"
        self.world = HostWorld(town.agenda, name=self.name, number=number, wall_offset_s=wall_offset_s)
        self.network = HostNetwork(town.agenda, town.weather)
        self.store_weather = StoreWeather()
        self.crash_rate = 0.0
        self.is_up = False
        self._is_lost = False
        self.boots = 0
        self._generations: Counter[str] = Counter()
        self.templates = PlayedTemplates(town.labour, self.name)
        self._buried: set[str] = set()
        self._stops: tuple[str, ...] = ()

    @property
    def boot(self) -> str:
        """This start's name."""
        return f"{self.name}b{self.boots}"

    def processes(self) -> list[Process]:
        """Those that live."""
        return [process for process in self.network.processes.values() if process.is_alive]

    def proven(self, owners: Iterable[str]) -> list[str]:
        """See `Proof`: who was buried here, and everybody of an earlier boot of this host."""
        return [owner for owner in owners if owner in self._buried or self._is_of_earlier_boot(owner)]

    def is_ours(self, owner: str) -> bool:
        """See `supervisor.deaths`."""
        return parse_owner(owner).host == self.name

    # ---- life and death

    def boot_up(self) -> None:
        """Everything starts, nothing of an earlier boot is left."""
        if self._is_lost:
            return
        self.boots += 1
        self.is_up = True
        self._generations.clear()
        self.town.agenda.note(self.name, "boots", self.boot)
        self.templates.vanish()
        self.templates = PlayedTemplates(self.town.labour, self.name)
        self.templates.start()
        for name in NAMES:
            self._start(name)

    def crash(self, seconds: float) -> None:
        """The power goes, or all its processes are killed; it comes back."""
        if not self.is_up:
            return
        self.town.agenda.note(self.name, "crashes for", seconds)
        self.is_up = False
        for process in self.processes():
            process.kill()
        self.templates.vanish()
        self.town.agenda.after(seconds + 0.01, self.boot_up)

    def lose(self) -> None:
        """It never comes back."""
        self.crash(float("inf"))
        self.is_up, self._is_lost = False, True

    def stop(self) -> None:
        """SIGTERM: everything leaves, stage by stage, and starts again."""
        if self.is_up and not self._stops:
            self.town.agenda.note(self.name, "stops")
            self.is_up = False
            self._stops = STAGES[0]
            self._go_on_stopping(0, self.town.agenda.now)

    def restart(self, name: str) -> None:
        """One process is asked to leave, and killed when it does not."""
        process = self.network.processes[name]
        self._ask_to_leave(process)
        self.town.agenda.after(self.town.settings.drain_s + 5, lambda: process.kill("is killed, for it did not leave"))

    def pause(self, name: str, seconds: float) -> None:
        """A process is stopped; after HANG_S it is killed."""
        process = self.network.processes[name]
        self.town.agenda.note(process.who, "stands still for", seconds)
        process.pause(seconds)
        hang_s = self.town.settings.hang_s
        if seconds > hang_s:
            self.town.agenda.after(hang_s, lambda: process.kill("hung and is killed"))

    def freeze(self, seconds: float) -> None:
        """The whole host stands still, with its supervisor and its children, and goes on as if nothing had been."""
        self.town.agenda.note(self.name, "is frozen for", seconds)
        for process in self.processes():
            process.pause(seconds)
        for template in self.templates.all:
            template.hangs_until = max(template.hangs_until, self.town.agenda.now + seconds)
            for child in (child for children in template.children.values() for child in children):
                child.frozen_until = self.town.agenda.now + seconds

    # ---- the supervisor's part

    def _start(self, name: str) -> None:
        if not self.is_up or (name in self.network.processes and self.network.processes[name].is_alive):
            return
        self._generations[name] += 1
        owner = f"{self.name}:{self.boot}:{name}:{self._generations[name]}"
        judge = self.town.judge
        process = Process(
            self.town.agenda, name=name, owner=owner, died=self._see_death, told=judge.note_sent,
            stood_still=lambda: judge.stood_still.add(owner),
        )  # fmt: skip
        process.crash_rate = self.crash_rate
        self.network.processes[name] = process
        judge.living[owner] = process
        process.begin(lambda: self._build(process))

    def _see_death(self, process: Process) -> None:
        """It is replaced at once or a little later; its death is proven when its children are gone."""
        agenda = self.town.agenda
        self.town.judge.living.pop(process.owner, None)
        if process.has_left:
            self.town.judge.left.add(process.owner)
        self.templates.end_worker(process.owner)
        if not self.is_up:
            return
        boot = self.boot
        is_slow = self.town.judge.calm_since is None
        buried_s = agenda.between(0.2, 3.0 if is_slow and agenda.happens(0.3) else 0.3)
        started_s = agenda.between(0, 5.0 if is_slow and agenda.happens(0.3) else 0.05)
        agenda.after(ANSWER_S, lambda: self.templates.end_silent(process.owner))
        agenda.after(buried_s, lambda: self._prove_deaths(process.owner, boot))
        agenda.after(started_s, lambda: self._start_again(process.name, boot))

    def _start_again(self, name: str, boot: str) -> None:
        if boot == self.boot:
            self._start(name)

    def _prove_deaths(self, owner: str, boot: str) -> None:
        if boot != self.boot:
            return
        if not self.templates.is_clear_of(owner):
            self.town.agenda.after(0.1, lambda: self._prove_deaths(owner, boot))
            return
        self.town.agenda.note(self.name, "buries", owner)
        self._buried.add(owner)
        for name in self.network.components("watcher"):
            self.network.hint(self.name, name, OwnersDied(owners=[owner]))

    def _ask_to_leave(self, process: Process) -> None:
        self.town.agenda.note(process.who, "is asked to leave")
        self.town.judge.drains.add(process.owner)
        process.ask_to_leave()

    def _go_on_stopping(self, stage: int, since: float) -> None:
        agenda = self.town.agenda
        if stage == len(STAGES):
            self._stops = ()
            agenda.after(0.5, self.boot_up)
            return
        left = [process for process in self.processes() if process.name.startswith(STAGES[stage])]
        if not left:
            self._go_on_stopping(stage + 1, agenda.now)
            return
        for process in left:
            if process.owner not in self.town.judge.drains:
                self._ask_to_leave(process)
            if agenda.now > since + self.town.settings.drain_s + 5:
                process.kill("is killed, for it did not leave")
        agenda.after(0.1, lambda: self._go_on_stopping(stage, since))

    def _is_of_earlier_boot(self, owner: str) -> bool:
        told = parse_owner(owner)
        return self.is_ours(owner) and told.boot != self.boot

    # ---- roles

    def _build(self, process: Process) -> Role:
        town, owner, world = self.town, process.owner, self.world
        network = cast(Network, ProcessNetwork(process, self.network))
        log = TracedLog(town.agenda, process.who)
        store = StoreLine(town.agenda, process, town.store, self.store_weather)
        hosts = store if town.settings.mongo_uri is not None else None
        known = cast(RunDir, KnownComponents(self.network, town.folder))
        templates = TemplateClient(
            connector=PlayedConnector(self.templates, process), hello=Hello(owner=owner, title=""), world=world, network=network,
            new_handle=lambda number: PlayedHandle(town.labour, process, network, world, number), log=log,
        )  # fmt: skip
        queues = lambda: [QUEUE_NAME]  # noqa: E731
        build: dict[str, Callable[[], Role]] = {
            "scheduler": lambda: Scheduler(
                owner=owner, settings=town.settings, world=world, store=store, network=network, log=log, run_dir=known,
                other_hosts=OtherHosts(hosts, world),
            ),
            "watcher": lambda: Watcher(
                owner=owner, settings=town.settings, world=world, store=store, network=network, log=log, queue_names=queues,
                recovery=self._recovery(store, hosts, log),
                retention=Retention(settings=town.settings, world=world, store=store, log=log),
                host_lease=self._host_lease(owner, hosts), served=lambda: Served(tasks=EVERY_TASK),
            ),
            "queue": lambda: Queue(
                owner=owner, settings=town.settings, world=world, store=store, network=network, log=log, is_ours=self.is_ours
            ),
            "worker": lambda: Worker(
                owner=owner, settings=town.settings, world=world, store=store, network=network, log=log, queue_names=queues,
                run_dir=known, templates=templates, host_lease=self._host_lease(owner, hosts),
            ),
        }  # fmt: skip
        return build[process.name.partition("-")[0]]()

    def _recovery(self, store: StoreLine, hosts: Hosts | None, log: TracedLog) -> Recovery:
        settings = self.town.settings
        failure_detector = None
        if hosts is not None:
            look_s = 1.25 * settings.poll_s
            failure_detector = FailureDetector(
                hosts=hosts, is_ours=self.is_ours, world=self.world, lease_s=settings.lease_s, look_s=look_s
            )
        return Recovery(settings=settings, world=self.world, store=store, log=log, deaths=self, failure_detector=failure_detector)

    def _host_lease(self, owner: str, hosts: Hosts | None) -> HostLease:
        told = parse_owner(owner)
        lease_s = self.town.settings.lease_s

        def sign() -> HostHeartbeat:
            return HostHeartbeat(boot=told.boot, host=told.host, renewal=0, seen_at=self.world.now(), lease_s=lease_s)

        return HostLease(hosts=hosts, sign=sign, world=self.world, lease_s=lease_s)
