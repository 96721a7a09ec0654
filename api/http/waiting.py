"""How a view says that its answer has to wait for the end of a job: the connection is kept by the front, and no thread waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jobyard.api.http.body import Environ
from jobyard.api.http.reply import Reply
from jobyard.api.http.request_metrics import request_id_of
from jobyard.engine.errors import Unavailable

WAIT, LONG_POLL = "jobyard.wait", "jobyard.long_poll"
"""Where in its environment a request says what it waits for (a `Wait`), and finds the room for it, if the front has one."""


class Room(Protocol):
    """Where waiting connections are kept."""

    @property
    def is_full(self) -> bool:
        """Whether nobody else can wait now."""

    @property
    def max_waiting(self) -> int:
        """How many can wait at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a request waits for, and who knows the answer then: for a thread to ask."""

    job_id: str
    wait_s: float
    answer: Callable[[], Reply]
    request_id: str = ""


def wait_for_end(environ: Environ, job_id: str, wait_s: float, answer: Callable[[], Reply]) -> None:
    """Make the request wait; without a long poll it is answered at once. Raises `Unavailable` when that is full."""
    room: Room | None = environ.get(LONG_POLL)
    if room is None:
        return
    if room.is_full:
        raise Unavailable("overloaded", f"{room.max_waiting} clients wait for jobs already; ask without wait_s", retry_after_s=1)
    environ[WAIT] = Wait(job_id=job_id, wait_s=wait_s, answer=answer, request_id=request_id_of(environ))
