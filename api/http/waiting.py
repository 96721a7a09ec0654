"""How a view defers its answer until a job ends, or is there to be leased: the front keeps the connection open, no thread waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jobyard.api.http.body import Environ
from jobyard.api.http.reply import Reply, json_reply
from jobyard.api.http.request_metrics import request_id_of
from jobyard.engine.errors import Unavailable

WAIT, LONG_POLL = "jobyard.wait", "jobyard.long_poll"
"""The keys in a request's WSGI environment for what it waits for (a `Wait`), and for the front's long poll, if there is one."""


class LongPollCapacity(Protocol):
    """The long poll as a view sees it."""

    @property
    def is_full(self) -> bool:
        """Whether no further client can wait now."""

    @property
    def max_waiting(self) -> int:
        """How many clients can wait at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a request waits for: the end of the job, or, if `lease` is set, jobs for an HTTP worker that asked with this body.

    `answer`: computes the reply after the wait, called in a thread.
    """

    job_id: str = ""
    lease: bytes | None = None
    wait_s: float
    answer: Callable[[], Reply]
    request_id: str = ""


def wait_for_end(environ: Environ, job_id: str, wait_s: float, answer: Callable[[], Reply]) -> None:
    """Defer the request's answer; without a long poll it is sent at once. Raises `Unavailable` when the long poll is full."""
    _defer(environ, Wait(job_id=job_id, wait_s=wait_s, answer=answer, request_id=request_id_of(environ)))


def wait_for_lease(environ: Environ, body: bytes, wait_s: float) -> None:
    """The same for an HTTP worker that waits for jobs; if none comes, it gets an empty array."""
    _defer(environ, Wait(lease=body, wait_s=wait_s, answer=lambda: json_reply(b"[]"), request_id=request_id_of(environ)))


def _defer(environ: Environ, wait: Wait) -> None:
    long_poll: LongPollCapacity | None = environ.get(LONG_POLL)
    if long_poll is None:
        return
    if long_poll.is_full:
        raise Unavailable("overloaded", f"{long_poll.max_waiting} clients wait already; ask without wait_s", retry_after_s=1)
    environ[WAIT] = wait
