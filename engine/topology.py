"""The components of an instance and their ports: one line per role, all ports shifted by `PORT_OFFSET`."""

from __future__ import annotations

from dataclasses import dataclass

from jobyard.engine.config import Settings
from jobyard.engine.errors import CannotStart

GATEWAY, SCHEDULER, WATCHER, QUEUE, WORKER = ROLES = ("gateway", "scheduler", "watcher", "queue", "worker")
COUNTING = (SCHEDULER, WATCHER, QUEUE, WORKER)
"""Roles of the components that publish counters."""
SUPERVISOR = "supervisor"
FRONT = "front"
"""Role of the process that serves HTTP for a component that was started alone; under `start-all` the gateway serves it."""

FIRST_PORTS = {GATEWAY: 8080, SCHEDULER: 8081, WATCHER: 9001, QUEUE: 6000, WORKER: 7001}
LAST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One component; users and other processes refer to it by its name."""

    role: str
    port: int

    @property
    def name(self) -> str:
        """`worker-7001`."""
        return f"{self.role}-{self.port}"


def all_components(settings: Settings) -> list[Component]:
    """The components that `start-all` starts, in start order: slow starters first, and the queue before its clients."""
    counts = {GATEWAY: 1, QUEUE: 1, SCHEDULER: settings.schedulers, WATCHER: settings.watchers, WORKER: settings.workers}
    return [
        Component(role=role, port=FIRST_PORTS[role] + settings.port_offset + number)
        for role, count in counts.items()
        for number in range(count)
    ]


def one_component(role: str, port: str, settings: Settings) -> Component:
    """The component that `start ROLE` starts. An empty `port` means the role's first; `PORT_OFFSET` is added."""
    first = port or str(FIRST_PORTS[role])
    if not first.isascii() or not first.isdigit() or not 1 <= int(first) + settings.port_offset <= LAST_PORT:
        raise CannotStart(f"PORT must be a whole number from 1 to {LAST_PORT - settings.port_offset}, not {port!r}")
    return Component(role=role, port=int(first) + settings.port_offset)


def queue_name(settings: Settings) -> str:
    """The name of the queue that watchers and workers connect to."""
    return Component(role=QUEUE, port=FIRST_PORTS[QUEUE] + settings.port_offset).name


def describe(components: list[Component]) -> str:
    """The components in short, as the readiness line shows them: `schedulers 8081-8083, queue 6000`."""
    parts = []
    for role in ROLES:
        ports = [component.port for component in components if component.role == role]
        if ports:
            parts.append(f"{role} {ports[0]}" if len(ports) == 1 else f"{role}s {ports[0]}-{ports[-1]}")
    return ", ".join(parts)
