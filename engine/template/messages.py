"""The messages between a template, its supervisor and workers: one packet of JSON each, with file descriptors attached.

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
    """Check that the template responds; the reply is `Alive`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """Fork no more executors, and exit when the last one has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndWorker:
    """This worker is dead: kill its executors, and reply `WorkerEnded` when none is left."""

    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Importing:
    """The module that is about to be imported."""

    module: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """All modules are imported. `tasks`: their options by name; `files`: those of the user's modules; `warnings`: to be logged."""

    tasks: dict[str, dict[str, Any]]
    files: list[str]
    warnings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFailed:
    """A module cannot be imported: the reason in words, the traceback, and the files to watch for a correction."""

    error: str
    traceback: str
    files: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """The answer to a `Ping`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnded:
    """Nothing that this template forked for the worker is left, and nothing will be forked for it."""

    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """A worker's first message: its owner name, and the process title of its executors."""

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
    """The executor was reaped and its process group killed. `status`: exit status, negative signal number, or None if unknown."""

    number: int
    status: int | None = field(default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retiring:
    """Another template has replaced this one: connect to it, and let the executors of this one exit."""


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
    """The message as JSON: its name and its fields."""
    return json.dumps([type(message).__name__, dataclasses.asdict(message)]).encode()


def decode(packet: bytes) -> Message:
    """The message that `encode` encoded."""
    kind, fields = json.loads(packet)
    return _KINDS[kind](**fields)
