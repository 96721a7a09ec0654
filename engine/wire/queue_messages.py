"""The messages of the queue, with watchers and workers; see `wire.messages` for the whole."""

from __future__ import annotations

import msgspec

from jobyard.engine.jobs.job import Ticket
from jobyard.engine.wire.capacity import Offer
from jobyard.engine.wire.message import Message


class Want(Message, frozen=True):
    """Worker → queue: send jobs until `limit` units have been sent on this connection, and jobs of short tasks until `short_limit`.

    Counted from the connection's start, so that what is on its way is never counted twice. `costs`: units of a job by task, as far
    as they have changed (see `capacity`). `is_closed`: nothing more for now; what was granted is void.
    """

    owner: str
    limit: int = 0
    short_limit: int = 0
    costs: dict[str, int] = {}
    is_closed: bool = False


class Reserve(Message, frozen=True):
    """Watcher → queue: grant places at workers.

    `least` 0: a share of what is free, to have at hand. Otherwise a job is due that takes so many units: grant everything that is
    free, once a worker has room for it. `is_return`: what was granted before is returned, also what is on its way. `is_last`: it
    is returned, and nothing is wanted but the reply.
    """

    owner: str
    least: int = 0
    is_return: bool = False
    is_last: bool = False


class Room(Message, frozen=True):
    """Queue → watcher: these places are yours. `pushes`: how many pushes of this connection have been passed on.

    `returned`: how often the watcher had returned its places on this connection; a grant that crossed a later return is void.
    `costs`: units of a job by task, as far as they have changed.
    """

    granted: list[Offer]
    pushes: int
    returned: int = 0
    costs: dict[str, int] = {}


class Withdrawn(Message, frozen=True):
    """Queue → watcher: the places at this worker are void. Queue → worker: you have closed, and nothing more is sent to you, except
    what may have been delivered before."""

    owner: str


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Jobs for one worker: their tickets for the queue, the jobs (a list of `Job`, encoded) for the worker."""

    owner: str
    units: int
    tickets: list[Ticket]
    jobs: msgspec.Raw


class Push(Message, frozen=True):
    """Watcher → queue: these jobs have begun in the store. `is_again`: they may have been delivered before."""

    deliveries: list[Delivery]
    is_again: bool = False


class Undelivered(Message, frozen=True):
    """Queue → watcher: the worker of these (job_id, epoch) is gone or takes nothing more; it did not receive them."""

    leases: list[tuple[str, int]]


class Leased(Message, frozen=True):
    """Queue → worker: these jobs (a list of `Job`, encoded) are leased to you. See `Delivery` and `Push`."""

    jobs: msgspec.Raw
    units: int
    is_again: bool = False


class WatcherGone(Message, frozen=True):
    """Queue → worker: everything that this watcher pushed has been passed on; it pushes nothing more on this connection."""

    owner: str


class Extend(Message, frozen=True):
    """Worker → queue: extend these leases, each a job_id and its epoch."""

    leases: list[tuple[str, int]]


class Ack(Message, frozen=True):
    """Worker → queue: finished with these (job_id, epoch), whatever the outcome. The limits are those of `Want`; 0: unchanged."""

    leases: list[tuple[str, int]]
    limit: int = 0
    short_limit: int = 0


class Release(Message, frozen=True):
    """Worker → queue: these (job_id, epoch) were not started and are returned to the store."""

    leases: list[tuple[str, int]]
