"""The queue's contents: ready tickets by priority, then age, and leases that expire. A plain data structure without a clock.

    push ──▶ READY ──pop──▶ LEASED ──ack──▶ gone
               ▲               │
               └─ release · expire · the holder's connection ended

Returning a leased ticket is always safe: a job is begun by its ticket's epoch, and only the first to do so succeeds. So no proof of
death is needed here; a lease merely keeps two workers from trying the same job. Room is limited per priority, so a flood of
low-priority jobs never keeps a high-priority one out.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from jobyard.engine.jobs.job import PRIORITIES, Ticket

CAPACITY = 2_000

Lease = tuple[str, int]
"""The job_id and epoch of a leased ticket."""


@dataclass(slots=True)
class Entry:
    """A ticket and its state; `holder` is None while it is ready."""

    ticket: Ticket
    number: int
    holder: object | None = None
    worker: str | None = None
    expires_at: float = 0.0


class Backlog:
    """Ready tickets and leases."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._entries: dict[str, Entry] = {}
        self._ready: list[list[tuple[datetime, int, Entry]]] = [[] for _ in PRIORITIES]
        self._ready_counts = [0 for _ in PRIORITIES]
        self._stored = [0 for _ in PRIORITIES]
        self._numbers = itertools.count()
        self.overtaken = 0
        """Leases ended by a later ticket of their job: the job is settled, and its holder's ack is still on its way."""

    @property
    def size(self) -> int:
        """The number of tickets, ready and leased."""
        return len(self._entries)

    @property
    def ready(self) -> int:
        """The number of ready tickets."""
        return sum(self._ready_counts)

    def depth(self) -> list[int]:
        """The number of ready tickets, by priority."""
        return [*self._ready_counts]

    @property
    def leased(self) -> int:
        """The number of leased tickets."""
        return len(self._entries) - self.ready

    def room(self, priority: int) -> int:
        """How many more tickets of this priority fit."""
        return max(0, self.capacity - self._stored[priority])

    def push(self, ticket: Ticket) -> bool:
        """Add a ticket; False if it, or a later one of its job, is already here. It replaces an earlier one."""
        known = self._entries.get(ticket.job_id)
        if known is not None:
            if known.ticket.epoch >= ticket.epoch:
                return False
            self.overtaken += known.holder is not None
            self._remove(known)
        entry = Entry(ticket, next(self._numbers))
        self._entries[ticket.job_id] = entry
        self._stored[ticket.priority] += 1
        self._make_ready(entry)
        return True

    def pop(self, count: int, *, holder: object, worker: str, expires_at: float) -> list[Ticket]:
        """Lease up to `count` tickets, highest priority first, then the earliest due."""
        taken: list[Ticket] = []
        for priority in reversed(PRIORITIES):
            heap = self._ready[priority]
            while heap and len(taken) < count:
                entry = heapq.heappop(heap)[2]
                if not self._is_ready(entry):
                    continue
                entry.holder, entry.worker, entry.expires_at = holder, worker, expires_at
                self._ready_counts[priority] -= 1
                taken.append(entry.ticket)
        return taken

    def extend(self, leases: Iterable[Lease], *, holder: object, expires_at: float) -> None:
        """Extend the leases that the holder is still working on."""
        for entry in self._held(leases, holder):
            entry.expires_at = expires_at

    def ack(self, leases: Iterable[Lease], *, holder: object) -> int:
        """Remove the tickets that the holder has finished with; returns how many of them it held."""
        return sum(self._remove(entry) for entry in self._held(leases, holder))

    def release(self, leases: Iterable[Lease], *, holder: object) -> int:
        """Return the tickets that the holder has not started; returns how many of them it held."""
        return sum(self._give_back(entry) for entry in self._held(leases, holder))

    def release_all(self, holder: object) -> int:
        """Return all tickets of a holder that is gone; returns how many."""
        return sum(self._give_back(entry) for entry in list(self._entries.values()) if entry.holder == holder)

    def expire(self, now: float) -> int:
        """Return the tickets whose leases have expired; returns how many."""
        overdue = [entry for entry in self._entries.values() if entry.holder is not None and entry.expires_at <= now]
        return sum(self._give_back(entry) for entry in overdue)

    def discard(self, job_id: str, *, before_epoch: int) -> bool:
        """Remove a ready ticket of an earlier epoch, whose job was cancelled; a leased one is dropped by its worker."""
        entry = self._entries.get(job_id)
        if entry is None or entry.holder is not None or entry.ticket.epoch >= before_epoch:
            return False
        return self._remove(entry)

    def entries(self, limit: int) -> list[Entry]:
        """The leased entries, then the ready ones in the order of handing out."""
        leased = (entry for entry in self._entries.values() if entry.holder is not None)
        return list(itertools.islice(itertools.chain(leased, self._in_order(limit)), limit))

    def place(self, job_id: str) -> tuple[Entry | None, int]:
        """The job's entry, and the number of ready tickets that are handed out before it."""
        entry = self._entries.get(job_id)
        if entry is None or entry.holder is not None:
            return entry, 0
        mine = _order(entry)
        return entry, sum(other.holder is None and _order(other) < mine for other in self._entries.values())

    def waiting(self) -> list[int]:
        """The number of ready tickets of each priority."""
        counts = Counter(entry.ticket.priority for entry in self._entries.values() if entry.holder is None)
        return [counts[priority] for priority in PRIORITIES]

    def tickets(self) -> list[Ticket]:
        """All tickets."""
        return [entry.ticket for entry in self._entries.values()]

    def _in_order(self, limit: int) -> Iterator[Entry]:
        for priority in reversed(PRIORITIES):
            waiting = (item for item in self._ready[priority] if self._is_ready(item[2]))
            yield from (item[2] for item in heapq.nsmallest(limit, waiting))

    def _held(self, leases: Iterable[Lease], holder: object) -> Iterator[Entry]:
        """The leases that are still valid; a late message about an earlier epoch must not end the current lease."""
        for job_id, epoch in leases:
            entry = self._entries.get(job_id)
            if entry is not None and entry.holder is holder and entry.ticket.epoch == epoch:
                yield entry

    def _is_ready(self, entry: Entry) -> bool:
        return entry.holder is None and self._entries.get(entry.ticket.job_id) is entry

    def _make_ready(self, entry: Entry) -> None:
        heapq.heappush(self._ready[entry.ticket.priority], (entry.ticket.scheduled_at, entry.number, entry))
        self._ready_counts[entry.ticket.priority] += 1

    def _give_back(self, entry: Entry) -> bool:
        entry.holder = entry.worker = None
        self._make_ready(entry)
        return True

    def _remove(self, entry: Entry) -> bool:
        del self._entries[entry.ticket.job_id]
        self._stored[entry.ticket.priority] -= 1
        self._ready_counts[entry.ticket.priority] -= entry.holder is None
        return True


def _order(entry: Entry) -> tuple[int, datetime, int]:
    return -entry.ticket.priority, entry.ticket.scheduled_at, entry.number
