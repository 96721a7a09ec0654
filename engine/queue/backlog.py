"""What the queue holds: tickets ready by priority then age, and leases with an end. A plain structure: time comes in.

    push ──▶ READY ──pop──▶ LEASED ──ack──▶ gone
               ▲               │
               └─ release · expire · the holder's connection ended

Giving a leased ticket back is always safe: whoever begins a job does so by the ticket's epoch, and only the first wins. So a lease
needs no proof here; it only keeps two workers from trying the same job. Room is bounded per priority, so that a flood of low
ones never keeps a high one out.
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
"""A leased ticket's job_id and epoch."""


@dataclass(slots=True)
class Entry:
    """A ticket and where it stands; `holder` is None while it is ready."""

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
        """Leases that ended when a later ticket of their job came: it is settled, and its holder's ack is still on its way."""

    @property
    def size(self) -> int:
        """Ready and leased."""
        return len(self._entries)

    @property
    def ready(self) -> int:
        """How many wait for a worker."""
        return sum(self._ready_counts)

    def depth(self) -> list[int]:
        """How many wait for a worker, by priority."""
        return [*self._ready_counts]

    @property
    def leased(self) -> int:
        """How many a worker has."""
        return len(self._entries) - self.ready

    def room(self, priority: int) -> int:
        """How many more of this priority fit."""
        return max(0, self.capacity - self._stored[priority])

    def push(self, ticket: Ticket) -> bool:
        """Take a ticket; False when it, or a later one of its job, is here already. An earlier one makes way."""
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
        """Lease up to so many, highest priority first, then the earliest due."""
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
        """The holder is still at work on these."""
        for entry in self._held(leases, holder):
            entry.expires_at = expires_at

    def ack(self, leases: Iterable[Lease], *, holder: object) -> int:
        """The holder is done with these; how many of them it held."""
        return sum(self._remove(entry) for entry in self._held(leases, holder))

    def release(self, leases: Iterable[Lease], *, holder: object) -> int:
        """The holder has not begun these and gives them back; how many of them it held."""
        return sum(self._give_back(entry) for entry in self._held(leases, holder))

    def release_all(self, holder: object) -> int:
        """The holder is gone; how many it held."""
        return sum(self._give_back(entry) for entry in list(self._entries.values()) if entry.holder == holder)

    def expire(self, now: float) -> int:
        """Take back the leases that ran out; how many."""
        overdue = [entry for entry in self._entries.values() if entry.holder is not None and entry.expires_at <= now]
        return sum(self._give_back(entry) for entry in overdue)

    def discard(self, job_id: str, *, before_epoch: int) -> bool:
        """Forget a ready ticket of an earlier epoch, whose job was cancelled; a leased one is its worker's to drop."""
        entry = self._entries.get(job_id)
        if entry is None or entry.holder is not None or entry.ticket.epoch >= before_epoch:
            return False
        return self._remove(entry)

    def entries(self, limit: int) -> list[Entry]:
        """Those with a worker, then the ready ones in the order in which they will be handed out."""
        leased = (entry for entry in self._entries.values() if entry.holder is not None)
        return list(itertools.islice(itertools.chain(leased, self._in_order(limit)), limit))

    def place(self, job_id: str) -> tuple[Entry | None, int]:
        """The job's entry, and how many ready ones are handed out before it."""
        entry = self._entries.get(job_id)
        if entry is None or entry.holder is not None:
            return entry, 0
        mine = _order(entry)
        return entry, sum(other.holder is None and _order(other) < mine for other in self._entries.values())

    def waiting(self) -> list[int]:
        """How many of each priority are ready."""
        counts = Counter(entry.ticket.priority for entry in self._entries.values() if entry.holder is None)
        return [counts[priority] for priority in PRIORITIES]

    def tickets(self) -> list[Ticket]:
        """All of them."""
        return [entry.ticket for entry in self._entries.values()]

    def _in_order(self, limit: int) -> Iterator[Entry]:
        for priority in reversed(PRIORITIES):
            waiting = (item for item in self._ready[priority] if self._is_ready(item[2]))
            yield from (item[2] for item in heapq.nsmallest(limit, waiting))

    def _held(self, leases: Iterable[Lease], holder: object) -> Iterator[Entry]:
        """Those of the leases that stand, one by one; a late word on an earlier epoch must not end the present one."""
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
