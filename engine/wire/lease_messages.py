"""The messages about HTTP workers, between the front and a scheduler; see `wire.messages`.

    front ─ LeaseJobs ───▶ scheduler ─ Leased… at once, perhaps of nothing
    front ─ AwaitLeases ─▶ scheduler ─ Granted ─▶ front     when there is something; one for each number
    front ─ ReturnLeases ▶ scheduler                        what no client received any more
    front ─ SettleLeases ▶ scheduler ─ Json | Refused ─▶ front
    scheduler ─ LeasesGranted (hint) ─▶ watcher
"""

from __future__ import annotations

from jobyard.engine.wire.message import Message


class LeaseJobs(Message, frozen=True):
    """Lease what is due now to an HTTP worker. `body`: that of its request; the reply is `JobsLeased` or `Refused`."""

    body: bytes
    request_id: str = ""


class JobsLeased(Message, frozen=True):
    """The jobs as JSON text, an array, with their tokens. `wait_s`: how long the request would wait for the first."""

    body: bytes
    tokens: list[tuple[str, int]] = []
    wait_s: float = 0


class AwaitLeases(Message, frozen=True):
    """Lease jobs to these requests, by number, as soon as something is due; and no longer to those in `no_longer`."""

    bodies: list[tuple[int, bytes]]
    no_longer: list[int] = []


class Granted(Message, frozen=True):
    """What was leased to the request of this number, which waits no longer."""

    number: int
    leased: JobsLeased


class ReturnLeases(Message, frozen=True):
    """No client received these leases; the reply is `Json`."""

    tokens: list[tuple[str, int]]


class SettleLeases(Message, frozen=True):
    """What a worker tells of one job (`do`, `job_id`), or, if `do` is None, of many; the reply is `Json` or `Refused`."""

    body: bytes
    do: str | None = None
    job_id: str = ""
    request_id: str = ""


class DeclareTask(Message, frozen=True):
    """Declare a task that HTTP workers run; the reply is `Json` or `Refused`."""

    name: str
    body: bytes
    request_id: str = ""


class DeleteTask(Message, frozen=True):
    """Remove such a task; the reply is `Json` or `Refused`."""

    name: str
    request_id: str = ""


class LeasesGranted(Message, frozen=True):
    """→ watcher, a hint: there are leases whose ends must be kept."""


LEASE_MESSAGES = (
    LeasesGranted | LeaseJobs | JobsLeased | AwaitLeases | Granted | ReturnLeases | SettleLeases | DeclareTask | DeleteTask
)
