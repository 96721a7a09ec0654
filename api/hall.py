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
from dataclasses import dataclass

from api.body import Environ
from api.reply import Reply
from api.traffic import request_id_of
from api.turns import Turns
from engine.errors import Unavailable
from engine.wire.hub import Letter, Mailbox, Peer
from engine.wire.messages import Await, Closed, Ended
from engine.world import World

SEATS = 2_000
AGAIN_S = 0.25
WAIT, HALL = "jobyard.wait", "jobyard.hall"
"""Where in its environment a request says what it waits for (a `Wait`), and finds the hall, if it is served where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a request waits for, and who knows the answer then: for a thread to ask."""

    job_id: str
    wait_s: float
    answer: Callable[[], Reply]
    request_id: str = ""


class Parked(Exception):
    """In place of an answer: the connection is to be kept until there is one."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(wait.job_id)
        self.wait = wait


class Guest:
    """One client's wait."""

    __slots__ = ("call", "ends_at", "is_here", "job_id")

    def __init__(self, job_id: str, ends_at: float, call: Callable[[], None]) -> None:
        self.job_id = job_id
        self.ends_at = ends_at
        self.call = call
        self.is_here = True


class Hall:
    """Of one HTTP worker. Only its loop calls it, but for `is_full`."""

    def __init__(self, *, network: Mailbox, turns: Turns, world: World, seats: int) -> None:
        self._network = network
        self._turns = turns
        self._world = world
        self.seats = seats
        self._guests: dict[str, dict[Guest, None]] = {}
        self._count = 0
        self._ends: list[tuple[float, int, Guest]] = []
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
        return self._count >= self.seats

    def fileno(self) -> int:
        """Readable when there is something to hear."""
        return self._network.fileno()

    def enter(self, job_id: str, wait_s: float, call: Callable[[], None]) -> Guest:
        """`call` is called once, unless the guest leaves; at once when there is no seat, or the front leaves."""
        guest = Guest(job_id, self._world.monotonic() + wait_s, call)
        if self.is_full or self._is_closed:
            guest.is_here = False
            call()
            return guest
        self._count += 1
        of_job = self._guests.setdefault(job_id, {})
        if not of_job:
            self._fresh[job_id] = None
            self._gone.pop(job_id, None)
        of_job[guest] = None
        heapq.heappush(self._ends, (guest.ends_at, next(self._numbers), guest))
        return guest

    def leave(self, guest: Guest) -> None:
        """The client is gone, or need not wait any longer."""
        if not guest.is_here:
            return
        guest.is_here = False
        self._count -= 1
        of_job = self._guests[guest.job_id]
        del of_job[guest]
        if not of_job:
            del self._guests[guest.job_id]
            if guest.job_id in self._fresh:
                del self._fresh[guest.job_id]
            else:
                self._gone[guest.job_id] = None
        if len(self._ends) > 2 * self._count + 100:
            self._ends = [end for end in self._ends if end[2].is_here]
            heapq.heapify(self._ends)

    def close(self) -> None:
        """The front leaves: everybody is called."""
        self._is_closed = True
        for job_id in list(self._guests):
            self._call(job_id)

    def turn(self) -> None:
        """Once a turn of the loop: call those whose time is up, tell the scheduler who came and went."""
        now = self._world.monotonic()
        while self._ends and self._ends[0][0] <= now:
            guest = heapq.heappop(self._ends)[2]
            if guest.is_here:
                self.leave(guest)
                guest.call()
        self._stay_in_touch(now)
        if self._peer is not None and (self._fresh or self._gone):
            fresh, gone, self._fresh, self._gone = list(self._fresh), list(self._gone), {}, {}
            if not self._peer.send(Await(job_ids=fresh, no_longer=gone)):
                self.hear()  # it may have broken just now, which makes nothing readable

    def next_turn_s(self) -> float:
        """How long there is nothing to do, unless somebody speaks."""
        now = self._world.monotonic()
        ends_at = self._ends[0][0] if self._ends else float("inf")
        return max(0.0, min(ends_at, self._again_at if self._guests and self._peer is None else float("inf")) - now)

    def hear(self) -> None:
        """What the scheduler says."""
        for letter in self._network.poll(0):
            self._read(letter)

    def _read(self, letter: Letter) -> None:
        if letter.peer is not self._peer:
            return
        if isinstance(letter.message, Ended):
            for job_id in letter.message.job_ids:
                self._call(job_id)
                self._gone.pop(job_id, None)
        elif isinstance(letter.message, Closed):
            self._peer = None

    def _call(self, job_id: str) -> None:
        for guest in list(self._guests.get(job_id, ())):
            self.leave(guest)
            guest.call()

    def _stay_in_touch(self, now: float) -> None:
        if self._peer is not None and self._turns.is_better_without(self._name):
            self._peer.close()
            self._peer = None
        if self._peer is not None or not self._guests or now < self._again_at:
            return
        self._again_at = now + AGAIN_S
        self._name = next(iter(self._turns.next()), "")
        self._peer = self._network.connect(self._name) if self._name else None
        if self._peer is not None:
            self._fresh, self._gone = dict.fromkeys(self._guests), {}


def ask_for_a_seat(environ: Environ, job_id: str, wait_s: float, answer: Callable[[], Reply]) -> None:
    """For a request that has to wait; where there is no hall it is answered as it is. Raises `Unavailable` when that is full."""
    hall = environ.get(HALL)
    if isinstance(hall, Hall):
        if hall.is_full:
            raise Unavailable("overloaded", f"{hall.seats} clients wait for jobs already; ask without wait_s", retry_after_s=1)
        environ[WAIT] = Wait(job_id=job_id, wait_s=wait_s, answer=answer, request_id=request_id_of(environ))
