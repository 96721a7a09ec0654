"""What a template says to its supervisor and to workers, and they to it: one packet of JSON each, descriptors beside it.

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
    """Are you well?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """Fork no more, and leave when your executors have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndWorker:
    """This worker is dead: end its executors, and say so when none is left."""

    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Importing:
    """This module is next."""

    module: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """All modules are imported. `tasks`: their options by name; `files`: those of the user's modules; `warnings`: for people."""

    tasks: dict[str, dict[str, Any]]
    files: list[str]
    warnings: list[str]
    schedules: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFailed:
    """A module cannot be imported: what a person must know, the traceback, and the files that may be to blame."""

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
    """The first word of a worker: its owner's name, and what `ps` shows of its executors."""

    owner: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawn:
    """Fork an executor with the four descriptors that come along: inbox, outbox, output, page."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """It lives; its pidfd comes along."""

    number: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSpawned:
    """It could not be forked."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """It is reaped and its process group killed; its exit status, minus a signal's number, or None where that got lost."""

    number: int
    status: int | None = field(default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retiring:
    """Another template has taken this one's place: connect to it, and let executors of this one leave."""


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
    """Its name and its fields."""
    return json.dumps([type(message).__name__, dataclasses.asdict(message)]).encode()


def decode(packet: bytes) -> Message:
    """What `encode` made this of."""
    kind, fields = json.loads(packet)
    return _KINDS[kind](**fields)
