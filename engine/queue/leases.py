"""The leases of one queue: which worker has which job, and until when. A plain data structure without a clock.

A lease says who works on a job; it decides nothing. A job that has begun is taken from its worker only on proof of death
(`watcher.recovery`), whatever becomes of its lease here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jobyard.engine.jobs.job import Ticket

Key = tuple[str, int]
"""The job_id and epoch of a leased job."""


@dataclass(slots=True)
class Lease:
    """One job at one worker; `expires_at` in monotonic seconds."""

    ticket: Ticket
    holder: object
    worker: str
    expires_at: float


class Leases:
    """All current leases, oldest first."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}
        self._replaced: dict[Key, Lease] = {}
        """Earlier leases of jobs that were leased again before the end of these arrived."""

    def __len__(self) -> int:
        return len(self._leases)

    def add(self, ticket: Ticket, *, holder: object, worker: str, expires_at: float) -> None:
        """A later lease of the same job replaces an earlier one, whose end is still on its way, and is counted when it arrives."""
        earlier = self._leases.pop(ticket.job_id, None)
        if earlier is not None and earlier.ticket.epoch != ticket.epoch:
            self._replaced[ticket.job_id, earlier.ticket.epoch] = earlier
        self._leases[ticket.job_id] = Lease(ticket, holder, worker, expires_at)

    def extend(self, keys: Iterable[Key], *, holder: object, expires_at: float) -> None:
        """Extend the leases that the holder still works on."""
        for lease in self._held(keys, holder):
            lease.expires_at = expires_at

    def end(self, keys: Iterable[Key], *, holder: object) -> int:
        """End leases; returns how many of them the holder had."""
        return sum(self._end(key, holder) for key in keys)

    def end_all(self, holder: object) -> int:
        """End the leases of a holder that is gone; returns how many."""
        self._replaced = {key: lease for key, lease in self._replaced.items() if lease.holder is not holder}
        return self._remove([lease for lease in self._leases.values() if lease.holder is holder])

    def expire(self, now: float) -> int:
        """End the leases that were not extended in time; returns how many."""
        self._replaced = {key: lease for key, lease in self._replaced.items() if lease.expires_at > now}
        return self._remove([lease for lease in self._leases.values() if lease.expires_at <= now])

    def __iter__(self) -> Iterator[Lease]:
        return iter(self._leases.values())

    def _end(self, key: Key, holder: object) -> bool:
        """Whether the holder had this lease; a late message about an earlier epoch must not end the current one."""
        lease = self._leases.get(key[0])
        if lease is not None and lease.ticket.epoch == key[1]:
            ended = self._leases.pop(key[0]) if lease.holder is holder else None
        else:
            earlier = self._replaced.get(key)
            ended = self._replaced.pop(key) if earlier is not None and earlier.holder is holder else None
        return ended is not None

    def _remove(self, leases: list[Lease]) -> int:
        for lease in leases:
            del self._leases[lease.ticket.job_id]
        return len(leases)

    def _held(self, keys: Iterable[Key], holder: object) -> Iterator[Lease]:
        """The leases that are still valid."""
        for job_id, epoch in keys:
            lease = self._leases.get(job_id)
            if lease is not None and lease.holder is holder and lease.ticket.epoch == epoch:
                yield lease
