"""The messages between a template, its supervisor and workers: one JSON packet each, with descriptors as ancillary data.

    supervisor ── Ping, Retire, EndWorker ──▶ template ── Importing, Ready, ImportFailed, Alive, WorkerEnded ──▶ supervisor
    worker ── Hello, Spawn (inbox, outbox, output, page) ──▶ template ── Spawned (pidfd), NotSpawned, Ended, Retiring ──▶ worker
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """A health check; the template replies with `Alive`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """Stop forking executors, and exit when all existing ones have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndWorker:
    """The worker is dead: kill its executors, and reply with `WorkerEnded` when none is left."""

    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Importing:
    """The import of this module begins."""

    module: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """All modules are imported. `tasks`: task options by name; `files`: those of the user's modules; `warnings`: for the log."""

    tasks: dict[str, dict[str, Any]]
    files: list[str]
    warnings: list[str]
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFailed:
    """A module cannot be imported. `error`: one line for the user; `files`: the user's files that were read so far."""

    error: str
    traceback: str
    files: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The reply to a `Ping`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnded:
    """No executor that this template forked for the worker is left, and none will be forked for it."""

    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first message of a worker: its owner name, and the process title of its executors."""

    owner: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawn:
    """Fork an executor with the four attached descriptors: inbox, outbox, output, page."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """The executor was forked; its pidfd is attached."""

    number: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSpawned:
    """The executor could not be forked."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The executor was reaped and its process group killed. `status`: the exit status, the negative number of a signal, or None
    if unknown."""

    number: int
    status: int | None = field(default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retiring:
    """A new template has replaced this one: connect to it, and let the executors of this one finish."""


Message = (
    Ping | Retire | EndWorker | Importing | Ready | ImportFailed | Alive | WorkerEnded | Hello | Spawn | Spawned | NotSpawned
    | Ended | Retiring
)  # fmt: skip
_KINDS: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (
        Ping, Retire, EndWorker, Importing, Ready, ImportFailed, Alive, WorkerEnded, Hello, Spawn, Spawned, NotSpawned, Ended,
        Retiring,
    )
}  # fmt: skip


def encode(message: Message) -> bytes:
    """Encode as a JSON array of the message's name and its fields."""
    return json.dumps([type(message).__name__, dataclasses.asdict(message)]).encode()


def decode(packet: bytes) -> Message:
    """The inverse of `encode`."""
    kind, fields = json.loads(packet)
    return _KINDS[kind](**fields)
