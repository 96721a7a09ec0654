"""Jobs that have begun at a worker and are on their way there, until the queue confirms that it has passed them on.

    push ──▶ queue ──▶ worker            a new queue: everything unconfirmed is pushed again, marked as such,
      └── unconfirmed ◀── confirm        and the worker asks the store whether it may still run it

What the queue cannot deliver, because the worker is gone, is returned to the store as if it had never been claimed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job, ticket_for
from jobyard.engine.store.port import Store
from jobyard.engine.watcher.places import CLAIM_BYTES
from jobyard.engine.wire.hub import Peer
from jobyard.engine.wire.queue_messages import Delivery, Push

_encode = msgspec.msgpack.Encoder().encode


class Deliveries:
    """The deliveries of one watcher."""

    def __init__(self, units: Callable[[str, list[Job]], int]) -> None:
        """`units(worker, jobs)`: called once for each delivery; what it takes of the worker's places."""
        self._units = units
        self._unconfirmed: deque[tuple[int, Push, list[Job]]] = deque()
        self._returns: list[Job] = []
        self._pushes = 0

    @property
    def is_clear(self) -> bool:
        """Whether nothing is on its way, and nothing waits to be returned."""
        return not self._unconfirmed and not self._returns

    def push(self, jobs: Iterable[Job], queue: Peer) -> None:
        """Send these jobs to their workers."""
        by_worker: dict[str, list[Job]] = {}
        for job in jobs:
            by_worker.setdefault(job.locked_by or "", []).append(job)
        for some in _by_size(by_worker):
            deliveries = [self._delivery(worker, of_worker) for worker, of_worker in some]
            self._send(Push(deliveries=deliveries), [job for _, of_worker in some for job in of_worker], queue)

    def push_again(self, queue: Peer) -> None:
        """A new queue: it knows nothing of what was pushed to the one before."""
        pushed, self._unconfirmed, self._pushes = self._unconfirmed, deque(), 0
        for _, push, jobs in pushed:
            self._send(msgspec.structs.replace(push, is_again=True), jobs, queue)

    def confirm(self, pushes: int) -> None:
        """The queue has passed on so many pushes of this connection."""
        while self._unconfirmed and self._unconfirmed[0][0] <= pushes:
            self._unconfirmed.popleft()

    def note_undelivered(self, leases: list[tuple[str, int]]) -> None:
        """The queue could not pass these on, because their worker is gone."""
        undelivered = set(leases)
        self._returns += [
            job for _, _, jobs in self._unconfirmed for job in jobs if (job.job_id, job.epoch) in undelivered
        ]  # fmt: skip

    def give_back(self, store: Store, now: datetime) -> int:
        """Return to the store what could not be delivered; how many jobs. Guarded: whoever proves the worker dead may be first.

        Raises `StoreUnavailable`; what was not returned is returned by the next call.
        """
        returned = 0
        while self._returns:
            done = store.apply([lifecycle.return_unstarted(job, now=now) for job in self._returns])
            returned += sum(done)
            self._returns = [job for job, was_done in zip(self._returns, done, strict=True) if not was_done]
            self._returns = _with_new_requests(store, self._returns)
        return returned

    def _delivery(self, worker: str, jobs: list[Job]) -> Delivery:
        tickets = [ticket_for(job) for job in jobs]
        return Delivery(owner=worker, units=self._units(worker, jobs), tickets=tickets, jobs=msgspec.Raw(_encode(jobs)))

    def _send(self, push: Push, jobs: list[Job], queue: Peer) -> None:
        self._pushes += 1
        self._unconfirmed.append((self._pushes, push, jobs))
        queue.send(push)


def _with_new_requests(store: Store, refused: list[Job]) -> list[Job]:
    """Those that were refused because their cancellation was requested meanwhile, as they are stored now."""
    stored = store.find([job.job_id for job in refused]) if refused else []
    return [
        now
        for job, now in zip(refused, stored, strict=True)
        if now is not None and now.epoch == job.epoch and now.cancel_requested_at != job.cancel_requested_at
    ]


def _by_size(by_worker: dict[str, list[Job]]) -> Iterator[list[tuple[str, list[Job]]]]:
    """Everything at once, unless the payloads are too large for one message."""
    if sum(len(job.payload) for jobs in by_worker.values() for job in jobs) <= 2 * CLAIM_BYTES:
        yield [*by_worker.items()]
        return
    for worker, jobs in by_worker.items():
        some: list[Job] = []
        size = 0
        for job in jobs:
            if some and size + len(job.payload) > CLAIM_BYTES:
                yield [(worker, some)]
                some, size = [], 0
            some.append(job)
            size += len(job.payload)
        yield [(worker, some)]
