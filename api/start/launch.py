"""Composes the supervisor: the specs of all processes, the order of the drain, and the line that announces readiness."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from jobyard.api.start.drain import drain_stages
from jobyard.api.start.roles import Start, control_spec, front_spec, print_fault, spec_for
from jobyard.api.start.task_modules import TaskCode
from jobyard.api.start.templates import Templates
from jobyard.engine.config import Settings
from jobyard.engine.control.channel import Channel
from jobyard.engine.control.handshake import load_digests
from jobyard.engine.control.protocol import CONTROL
from jobyard.engine.jobs.owners import Owner
from jobyard.engine.logs import Log, write_line
from jobyard.engine.supervisor.commands import Commands, reload_by
from jobyard.engine.supervisor.control_link import ControlLink
from jobyard.engine.supervisor.deaths import ProofsOfDeath
from jobyard.engine.supervisor.heartbeat import HeartbeatPage
from jobyard.engine.supervisor.hooks import Hooks
from jobyard.engine.supervisor.orphans import Orphans, PendingDeaths
from jobyard.engine.supervisor.ports import advice_on_clients, given_to_clients
from jobyard.engine.supervisor.process_table import ProcessSpec
from jobyard.engine.supervisor.readiness import SupervisorHeartbeat
from jobyard.engine.supervisor.supervisor import Supervisor
from jobyard.engine.supervisor.supervisor_loop import become_supervisor, fork_process, run_supervisor
from jobyard.engine.supervisor.template_keeper import TemplateKeeper
from jobyard.engine.topology import COUNTING, FRONT, GATEWAY, WATCHER, WORKER, Component, describe
from jobyard.engine.wire.hub import Hub
from jobyard.engine.wire.messages import OwnersDied
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one start consists of. `alone`: nothing else may run on the data folder."""

    who: str
    components: list[Component]
    alone: bool

    @property
    def supervisor(self) -> str:
        """The name of its supervisor."""
        return "supervisor" if self.alone else f"supervisor-{self.who}"

    @property
    def template(self) -> str:
        """The name of its template, by which its workers find it."""
        return "template" if self.alone else f"template-{self.who}"

    @property
    def has_workers(self) -> bool:
        """Whether it has workers."""
        return any(component.role == WORKER for component in self.components)

    @property
    def control(self) -> str:
        """The name of its control process."""
        return CONTROL if self.alone else f"{CONTROL}-{self.who}"

    @property
    def guard(self) -> str:
        """The process title of its guard."""
        return "guard" if self.alone else f"guard-{self.who}"

    @property
    def front(self) -> Component:
        """The process that serves HTTP for all of its components: the gateway if there is one."""
        gateways = [component for component in self.components if component.role == GATEWAY]
        return gateways[0] if gateways else Component(role=FRONT, port=self.components[0].port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A start that has passed all checks."""

    plan: Plan
    settings: Settings
    world: World
    boot: str
    guard: int
    listeners: Mapping[int, socket.socket]
    database: str
    heartbeat: SupervisorHeartbeat
    code: TaskCode
    watches_files: bool = False

    def supervise(self) -> int:
        """The main function of the supervisor; called in the guard's fork."""
        become_supervisor(self.guard)
        load_digests()
        gc.freeze()
        log = Log(self.world, level=self.settings.log_level, form=self.settings.log_format, process="supervisor")
        if ports := given_to_clients(self.listeners):
            log.warning("ports_given_to_clients", ports=ports, advice=advice_on_clients())
        run_dir = RunDir(self.settings.data_dir)
        deaths = self._proofs_of_death(run_dir)
        boot_lock = deaths.hold()
        hub = Hub(run_dir)
        link = self._link(run_dir)
        specs = self._specs(log)
        hooks = Hooks(
            fork=lambda spec, identity: fork_process(self.world, spec, identity, keep=frozenset({boot_lock})),
            report_deaths=lambda owners: _notify_watchers(hub, run_dir, owners),
            announce=self._announce, report_fault=print_fault, is_roster_published=lambda: link.is_roster_published,
            forget=run_dir.remove,
        )  # fmt: skip
        supervisor = Supervisor(
            specs=specs, stages=drain_stages(self.settings.drain_s), hang_s=self.settings.hang_s, world=self.world, log=log,
            owner=Owner(host=self.world.host(), boot=self.boot, process=self.plan.supervisor, generation=1),
            pid=os.getpid(), heartbeats=HeartbeatPage(len(specs)),
            pending_deaths=PendingDeaths(record=deaths.record, orphans=Orphans(self.world), log=log), hooks=hooks,
            templates=self._templates(hub, run_dir, log, boot_lock) if self.plan.has_workers else None,
        )  # fmt: skip
        commands = Commands(supervisor, level=log.level, drainable=COUNTING, reload=reload_by(supervisor))
        return run_supervisor(
            supervisor, hub=hub, name=self.plan.supervisor, guard=self.guard, heartbeat=self.heartbeat, link=link,
            commands=commands, world=self.world,
        )  # fmt: skip

    def _link(self, run_dir: RunDir) -> ControlLink:
        name = self.plan.supervisor
        reports, commands = (Channel(run_dir, self.world, name=name) for _ in range(2))
        return ControlLink(reports, commands, supervisor=name)

    def _templates(self, hub: Hub, run_dir: RunDir, log: Log, boot_lock: int) -> TemplateKeeper:
        templates = Templates(
            name=self.plan.template, settings=self.settings, code=self.code, run_dir=run_dir, world=self.world, boot_lock=boot_lock
        )  # fmt: skip
        return templates.keeper(network=hub, log=log.named("template"), watches_files=self.watches_files)

    def _proofs_of_death(self, run_dir: RunDir) -> ProofsOfDeath:
        return ProofsOfDeath(run_dir, boot=self.boot, foreign_hosts=self.settings.mongo_uri is not None)

    def _specs(self, log: Log) -> list[ProcessSpec]:
        start = Start(
            settings=self.settings, world=self.world, log=log, boot=self.boot, supervisor=os.getpid(), template=self.plan.template
        )  # fmt: skip
        ports = {component.port: component.name for component in self.plan.components}
        front = front_spec(self.plan.front, start, ports=ports, listeners=self.listeners)
        control = control_spec(start, name=self.plan.control)
        return [control, front, *(spec_for(component, start) for component in self.plan.components if component.role != GATEWAY)]

    def _announce(self) -> None:
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        where = f"http://{host}:{self.plan.front.port} ({describe(self.plan.components)})"
        write_line(f"Jobyard is ready: {where}, data in {self.settings.data_dir}, {self.database}")
        self.heartbeat.ready.beat()


def _notify_watchers(hub: Hub, run_dir: RunDir, owners: list[str]) -> None:
    for watcher in run_dir.components(WATCHER):
        hub.hint(watcher, OwnersDied(owners=owners))
