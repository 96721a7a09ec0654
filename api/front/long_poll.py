"""The long poll: clients that wait for the end of a job, in the event loop of an HTTP worker. A waiting client holds no thread.

    add ─▶ waiting ──the scheduler reports `Ended` · the time is up · the front stops──▶ on_end is called
              └──the client disconnects──▶ remove

One scheduler watches all jobs that are waited for; when it is gone or unhealthy, another one takes over. At the end of a wait the
job is read like any other. So no message here is the answer, and a lost message only costs time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jobyard.api.front.deadlines import Deadlines
from jobyard.api.front.round_robin import RoundRobin
from jobyard.api.front.scheduler_link import SchedulerLink
from jobyard.api.http.waiting import Wait
from jobyard.engine.wire.hub import Envelope, Mailbox
from jobyard.engine.wire.messages import Closed, Ended, WatchCompletion
from jobyard.engine.world import World

MAX_WAITING = 2_000


class ResponseDeferred(Exception):
    """Raised in place of an answer: the connection must be kept open until there is one."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(wait.job_id)
        self.wait = wait


@dataclass(frozen=True, slots=True, kw_only=True)
class DeferredResponse:
    """What a connection waits for, and whether it is closed after the answer."""

    wait: Wait
    is_last: bool


class Waiter:
    """One waiting client."""

    __slots__ = ("deadline", "is_waiting", "job_id", "on_end")

    def __init__(self, job_id: str, deadline: float, on_end: Callable[[], None]) -> None:
        self.job_id = job_id
        self.deadline = deadline
        self.on_end = on_end
        self.is_waiting = True


class LongPoll:
    """The long poll of one HTTP worker. Everything but `is_full` is called from its event loop only."""

    def __init__(self, *, network: Mailbox, round_robin: RoundRobin, world: World, max_waiting: int) -> None:
        self._network = network
        self._link = SchedulerLink(network=network, round_robin=round_robin)
        self._world = world
        self.max_waiting = max_waiting
        self._waiters: dict[str, dict[Waiter, None]] = {}
        self._count = 0
        self._deadlines: Deadlines[Waiter] = Deadlines()
        self._added: dict[str, None] = {}
        self._removed: dict[str, None] = {}
        self._is_closed = False

    @property
    def count(self) -> int:
        """How many clients wait."""
        return self._count

    @property
    def is_full(self) -> bool:
        """Whether no further client can wait now."""
        return self._count >= self.max_waiting

    def fileno(self) -> int:
        """Readable when a message has arrived."""
        return self._network.fileno()

    def add(self, job_id: str, wait_s: float, on_end: Callable[[], None]) -> Waiter:
        """`on_end` is called once, unless the waiter is removed first; at once when the long poll is full or closed."""
        waiter = Waiter(job_id, self._world.monotonic() + wait_s, on_end)
        if self.is_full or self._is_closed:
            waiter.is_waiting = False
            on_end()
            return waiter
        self._count += 1
        of_job = self._waiters.setdefault(job_id, {})
        if not of_job:
            self._added[job_id] = None
            self._removed.pop(job_id, None)
        of_job[waiter] = None
        self._deadlines.add(waiter)
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """The client has disconnected, or its wait is over."""
        if not waiter.is_waiting:
            return
        waiter.is_waiting = False
        self._count -= 1
        of_job = self._waiters[waiter.job_id]
        del of_job[waiter]
        if not of_job:
            del self._waiters[waiter.job_id]
            if waiter.job_id in self._added:
                del self._added[waiter.job_id]
            else:
                self._removed[waiter.job_id] = None
        self._deadlines.note_end(self._count)

    def close(self) -> None:
        """The front stops: end every wait."""
        self._is_closed = True
        for job_id in list(self._waiters):
            self._end_waits(job_id)

    def tick(self) -> None:
        """Called once per iteration of the loop: end the waits whose time is up, send the changes to the scheduler."""
        now = self._world.monotonic()
        for waiter in self._deadlines.pop_due(now):
            self.remove(waiter)
            waiter.on_end()
        if self._link.keep(now, is_needed=bool(self._waiters)):
            self._added, self._removed = dict.fromkeys(self._waiters), {}
        peer = self._link.peer
        if peer is not None and (self._added or self._removed):
            added, removed, self._added, self._removed = list(self._added), list(self._removed), {}, {}
            if not peer.send(WatchCompletion(job_ids=added, no_longer=removed)):
                self.receive()  # the connection may have just been lost, which does not make the descriptor readable

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
        if isinstance(envelope.message, Ended):
            for job_id in envelope.message.job_ids:
                self._end_waits(job_id)
                self._removed.pop(job_id, None)
        elif isinstance(envelope.message, Closed):
            self._link.note_closed()

    def _end_waits(self, job_id: str) -> None:
        for waiter in list(self._waiters.get(job_id, ())):
            self.remove(waiter)
            waiter.on_end()
