"""The waiting hall: clients that wait for the end of a job, in the loop of an HTTP worker; no thread waits with them.

    enter ─▶ waiting ──the scheduler says `Ended` · the time is up · the front leaves──▶ called
                └──the client is gone──▶ leave

One scheduler is told of all jobs that are waited for; when it is gone, or not well, another one is. Whoever is called asks for
the job as everybody does. So a lost word costs time and nothing else, and nothing that is said here is the answer.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from jobyard.api.front.round_robin import RoundRobin
from jobyard.api.http.waiting import Wait
from jobyard.engine.wire.hub import Envelope, Mailbox, Peer
from jobyard.engine.wire.messages import Closed, Ended, WatchCompletion
from jobyard.engine.world import World

MAX_WAITING = 2_000
AGAIN_S = 0.25


class Parked(Exception):
    """In place of an answer: the connection is to be kept until there is one."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(wait.job_id)
        self.wait = wait


class Waiter:
    """One client's wait."""

    __slots__ = ("call", "ends_at", "is_here", "job_id")

    def __init__(self, job_id: str, ends_at: float, call: Callable[[], None]) -> None:
        self.job_id = job_id
        self.ends_at = ends_at
        self.call = call
        self.is_here = True


class LongPoll:
    """Of one HTTP worker. Only its loop calls it, but for `is_full`."""

    def __init__(self, *, network: Mailbox, round_robin: RoundRobin, world: World, max_waiting: int) -> None:
        self._network = network
        self._round_robin = round_robin
        self._world = world
        self.max_waiting = max_waiting
        self._waiters: dict[str, dict[Waiter, None]] = {}
        self._count = 0
        self._ends: list[tuple[float, int, Waiter]] = []
        self._numbers = itertools.count()
        self._peer: Peer | None = None
        self._name = ""
        self._again_at = 0.0
        self._fresh: dict[str, None] = {}
        self._gone: dict[str, None] = {}
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether nobody else can wait now."""
        return self._count >= self.max_waiting

    def fileno(self) -> int:
        """Readable when there is something to hear."""
        return self._network.fileno()

    def enter(self, job_id: str, wait_s: float, call: Callable[[], None]) -> Waiter:
        """`call` is called once, unless the guest leaves; at once when there is no seat, or the front leaves."""
        waiter = Waiter(job_id, self._world.monotonic() + wait_s, call)
        if self.is_full or self._is_closed:
            waiter.is_here = False
            call()
            return waiter
        self._count += 1
        of_job = self._waiters.setdefault(job_id, {})
        if not of_job:
            self._fresh[job_id] = None
            self._gone.pop(job_id, None)
        of_job[waiter] = None
        heapq.heappush(self._ends, (waiter.ends_at, next(self._numbers), waiter))
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """The client is gone, or need not wait any longer."""
        if not waiter.is_here:
            return
        waiter.is_here = False
        self._count -= 1
        of_job = self._waiters[waiter.job_id]
        del of_job[waiter]
        if not of_job:
            del self._waiters[waiter.job_id]
            if waiter.job_id in self._fresh:
                del self._fresh[waiter.job_id]
            else:
                self._gone[waiter.job_id] = None
        if len(self._ends) > 2 * self._count + 100:
            self._ends = [end for end in self._ends if end[2].is_here]
            heapq.heapify(self._ends)

    def close(self) -> None:
        """The front leaves: everybody is called."""
        self._is_closed = True
        for job_id in list(self._waiters):
            self._call(job_id)

    def turn(self) -> None:
        """Once a turn of the loop: call those whose time is up, tell the scheduler who came and went."""
        now = self._world.monotonic()
        while self._ends and self._ends[0][0] <= now:
            waiter = heapq.heappop(self._ends)[2]
            if waiter.is_here:
                self.leave(waiter)
                waiter.call()
        self._stay_in_touch(now)
        if self._peer is not None and (self._fresh or self._gone):
            fresh, gone, self._fresh, self._gone = list(self._fresh), list(self._gone), {}, {}
            if not self._peer.send(WatchCompletion(job_ids=fresh, no_longer=gone)):
                self.hear()  # it may have broken just now, which makes nothing readable

    def next_turn_s(self) -> float:
        """How long there is nothing to do, unless somebody speaks."""
        now = self._world.monotonic()
        ends_at = self._ends[0][0] if self._ends else float("inf")
        return max(0.0, min(ends_at, self._again_at if self._waiters and self._peer is None else float("inf")) - now)

    def hear(self) -> None:
        """What the scheduler says."""
        for envelope in self._network.poll(0):
            self._read(envelope)

    def _read(self, envelope: Envelope) -> None:
        if envelope.peer is not self._peer:
            return
        if isinstance(envelope.message, Ended):
            for job_id in envelope.message.job_ids:
                self._call(job_id)
                self._gone.pop(job_id, None)
        elif isinstance(envelope.message, Closed):
            self._peer = None

    def _call(self, job_id: str) -> None:
        for waiter in list(self._waiters.get(job_id, ())):
            self.leave(waiter)
            waiter.call()

    def _stay_in_touch(self, now: float) -> None:
        if self._peer is not None and self._round_robin.is_better_without(self._name):
            self._peer.close()
            self._peer = None
        if self._peer is not None or not self._waiters or now < self._again_at:
            return
        self._again_at = now + AGAIN_S
        self._name = next(iter(self._round_robin.next()), "")
        self._peer = self._network.connect(self._name) if self._name else None
        if self._peer is not None:
            self._fresh, self._gone = dict.fromkeys(self._waiters), {}

