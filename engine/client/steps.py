"""What an operation of the client asks of the world, and what it is given back: values, no sockets.

An operation is a generator: it yields a `Request` and is sent a `Response` or `NoAnswer`, or it yields a `Pause` and is sent
None when that is over; what it returns is the caller's. `core.py` writes the operations, `sync_client.py` and
`async_client.py` carry them out.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request. `harmless_twice`: whether it may be sent again when nobody knows what became of it."""

    method: str
    path: str
    body: bytes | None = None
    harmless_twice: bool = True
    timeout_s: float | None = None
    """None: the client's."""
    wait_s: float = 0.0
    """How long the service was asked to wait with its answer, on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What came back. The names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAnswer:
    """Nothing came back. `was_sent`: whether the request may have arrived."""

    was_sent: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Go on after so many seconds."""

    seconds: float


Operation = Generator[Request | Pause, Response | NoAnswer | None, T]
