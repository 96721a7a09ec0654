"""The values that an operation of the client exchanges with its driver, so that operations need no I/O.

An operation is a generator: it yields a `Request` and is sent a `Response` or `NoAnswer`, or it yields a `Pause` and is sent
None when that is over; its return value is the caller's result. `core.py` defines the operations, `sync_client.py` and
`async_client.py` perform them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request. `is_idempotent`: whether it may be sent again when its outcome is unknown."""

    method: str
    path: str
    body: bytes | None = None
    is_idempotent: bool = True
    timeout_s: float | None = None
    """None: the client's timeout."""
    wait_s: float = 0.0
    """How long the service is asked to delay its answer, on top of the timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """There was no answer. `was_sent`: whether the request may have arrived."""

    was_sent: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Resume after this many seconds."""

    seconds: float


Operation = Generator[Request | Pause, Response | NoAnswer | None, T]
