"""A worker's connection to the queue: what it wants, what it holds, what it is done with. Made again whenever it breaks.

A queue may be started at any time and on any port, so where it is is looked up at each try (`QueueConnector`, the watchers' too).

What is said while there is no connection is lost, and that is harmless: a new queue knows none of our leases, and an old one
takes them back with the connection.
"""

from __future__ import annotations

from collections.abc import Iterable

from jobyard.engine.jobs.job import Ticket
from jobyard.engine.wire.hub import Peer
from jobyard.engine.wire.messages import Ack, Extend, Message, Release, Want
from jobyard.engine.wire.queue_connector import QueueConnector


class QueueClient:
    """The line of one worker."""

    def __init__(self, *, connector: QueueConnector, worker: str) -> None:
        self._connector = connector
        self._worker = worker
        self._peer: Peer | None = None
        self._wanted = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a queue."""
        return self._peer is not None

    @property
    def name(self) -> str:
        """Who is at the other end, or was, or should be."""
        return self._connector.name

    def reach(self) -> None:
        """Connect if we are not."""
        if self._peer is None:
            self._peer = self._connector.connect()
            self._wanted = 0

    def lost(self, peer: Peer | None) -> bool:
        """This peer is gone; whether it was the queue."""
        if self._peer is None or peer is not self._peer:
            return False
        self._peer = None
        return True

    def was_answered(self, tickets: int) -> None:
        """So many came; the queue knows that we still want the rest."""
        self._wanted = max(0, self._wanted - tickets)

    def want(self, count: int) -> None:
        """Ask for so many tickets in all; said again only when the queue thinks of half as many, or of more than twice as many."""
        much_more, much_less = count > self._wanted and count >= 2 * self._wanted, 2 * count < self._wanted
        if (much_more or much_less) and self._say(Want(count=count, worker=self._worker)):
            self._wanted = count

    def extend(self, tickets: Iterable[Ticket]) -> None:
        """Still at work on these."""
        self._say_of(Extend, tickets)

    def ack(self, tickets: Iterable[Ticket]) -> None:
        """Done with these."""
        self._say_of(Ack, tickets)

    def release(self, tickets: Iterable[Ticket]) -> None:
        """These have not begun."""
        self._say_of(Release, tickets)

    def _say_of(self, kind: type[Extend] | type[Ack] | type[Release], tickets: Iterable[Ticket]) -> None:
        leases = [(ticket.job_id, ticket.epoch) for ticket in tickets]
        if leases:
            self._say(kind(leases=leases))

    def _say(self, message: Message) -> bool:
        return self._peer is not None and self._peer.send(message)
