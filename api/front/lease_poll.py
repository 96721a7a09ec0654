"""The requests of HTTP workers that wait for jobs, in the event loop of an HTTP worker. A waiting client holds no thread.

    add ─▶ waiting ──the scheduler sends `Granted` · the time is up · the front stops──▶ on_end is called
              └──the client disconnects──▶ remove

One scheduler claims for all of them. If it is gone or unhealthy, they are sent to another one. What it granted to a request that
waits no longer, or whose client is gone, is returned at once.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable

from jobyard.api.front.client_watch import is_gone
from jobyard.api.front.deadlines import Deadlines
from jobyard.api.front.round_robin import RoundRobin
from jobyard.api.front.scheduler_link import SchedulerLink
from jobyard.api.http.reply import Reply, json_reply
from jobyard.engine.wire.hub import Envelope, Mailbox
from jobyard.engine.wire.lease_messages import AwaitLeases, Granted, JobsLeased, ReturnLeases
from jobyard.engine.wire.messages import Closed
from jobyard.engine.world import World


class Grant:
    """What a waiting request got."""

    def __init__(self, leased: JobsLeased, give_back: Callable[[JobsLeased], None]) -> None:
        self._leased = leased
        self._give_back = give_back

    def reply_to(self, sock: socket.socket) -> Reply:
        """The reply to the client at the other end; if it is gone, the leases are returned."""
        if is_gone(sock):
            self._give_back(self._leased)
        return json_reply(self._leased.body)


class LeaseWaiter:
    """One waiting request."""

    __slots__ = ("body", "deadline", "is_waiting", "number", "on_end")

    def __init__(self, number: int, body: bytes, deadline: float, on_end: Callable[[Grant | None], None]) -> None:
        self.number = number
        self.body = body
        self.deadline = deadline
        self.on_end = on_end
        self.is_waiting = True


class LeasePoll:
    """Those of one HTTP worker; called from its event loop only."""

    def __init__(self, *, network: Mailbox, round_robin: RoundRobin, world: World) -> None:
        self._network = network
        self._link = SchedulerLink(network=network, round_robin=round_robin)
        self._world = world
        self._waiters: dict[int, LeaseWaiter] = {}
        self._deadlines: Deadlines[LeaseWaiter] = Deadlines()
        self._numbers = itertools.count()
        self._added: dict[int, bytes] = {}
        self._removed: list[int] = []
        self._is_closed = False

    @property
    def count(self) -> int:
        """How many clients wait."""
        return len(self._waiters)

    def fileno(self) -> int:
        """Readable when a message has arrived."""
        return self._network.fileno()

    def add(self, body: bytes, wait_s: float, on_end: Callable[[Grant | None], None]) -> LeaseWaiter:
        """`on_end` is called once, unless the waiter is removed first; at once when the front stops. None: there was nothing."""
        waiter = LeaseWaiter(next(self._numbers), body, self._world.monotonic() + wait_s, on_end)
        if self._is_closed:
            waiter.is_waiting = False
            on_end(None)
            return waiter
        self._waiters[waiter.number] = waiter
        self._added[waiter.number] = body
        self._deadlines.add(waiter)
        return waiter

    def remove(self, waiter: LeaseWaiter) -> None:
        """The client has disconnected, or its wait is over."""
        if not waiter.is_waiting:
            return
        waiter.is_waiting = False
        del self._waiters[waiter.number]
        if self._added.pop(waiter.number, None) is None:
            self._removed.append(waiter.number)
        self._deadlines.note_end(len(self._waiters))

    def close(self) -> None:
        """The front stops: end every wait."""
        self._is_closed = True
        for waiter in list(self._waiters.values()):
            self._end(waiter, None)

    def tick(self) -> None:
        """Called once per iteration of the loop: end the waits whose time is up, send the changes to the scheduler."""
        now = self._world.monotonic()
        for waiter in self._deadlines.pop_due(now):
            self._end(waiter, None)
        if self._link.keep(now, is_needed=bool(self._waiters)):
            self._added, self._removed = {number: waiter.body for number, waiter in self._waiters.items()}, []
        peer = self._link.peer
        if peer is not None and (self._added or self._removed):
            added, removed, self._added, self._removed = list(self._added.items()), self._removed, {}, []
            if not peer.send(AwaitLeases(bodies=added, no_longer=removed)):
                self.receive()

    def next_tick_s(self) -> float:
        """How long there is nothing to do unless a message arrives."""
        due_at = min(self._deadlines.next_at(), self._link.next_try_at(is_needed=bool(self._waiters)))
        return max(0.0, due_at - self._world.monotonic())

    def receive(self) -> None:
        """Read the scheduler's messages."""
        for envelope in self._network.poll(0):
            self._read(envelope)

    def _read(self, envelope: Envelope) -> None:
        if envelope.peer is not self._link.peer:
            return
        if isinstance(envelope.message, Granted):
            waiter = self._waiters.get(envelope.message.number)
            if waiter is None:
                self._give_back(envelope.message.leased)
            else:
                self.remove(waiter)
                self._removed.remove(waiter.number)  # the scheduler knows
                waiter.on_end(Grant(envelope.message.leased, self._give_back))
        elif isinstance(envelope.message, Closed):
            self._link.note_closed()

    def _end(self, waiter: LeaseWaiter, grant: Grant | None) -> None:
        self.remove(waiter)
        waiter.on_end(grant)

    def _give_back(self, leased: JobsLeased) -> None:
        """If this is lost, the leases end by themselves."""
        if self._link.peer is not None:
            self._link.peer.send(ReturnLeases(tokens=leased.tokens))
