"""Everything that clients wait for without a thread: ends of jobs (`long_poll`), and jobs for HTTP workers (`lease_poll`)."""

from __future__ import annotations

import selectors
from collections.abc import Callable

from jobyard.api.front.lease_poll import Grant, LeasePoll, LeaseWaiter
from jobyard.api.front.long_poll import LongPoll, Waiter
from jobyard.api.http.waiting import Wait

OnEnd = Callable[[Grant | None], None]


class Waits:
    """Those of one HTTP worker. Everything but `is_full` is called from its event loop only."""

    def __init__(self, jobs: LongPoll, leases: LeasePoll) -> None:
        self._jobs = jobs
        self._leases = leases
        self.max_waiting = jobs.max_waiting

    @property
    def is_full(self) -> bool:
        """Whether no further client can wait now."""
        return self._jobs.count + self._leases.count >= self.max_waiting

    def register(self, poller: selectors.BaseSelector) -> None:
        """Have messages read when they arrive."""
        poller.register(self._jobs.fileno(), selectors.EVENT_READ, lambda fd: self._jobs.receive())
        poller.register(self._leases.fileno(), selectors.EVENT_READ, lambda fd: self._leases.receive())

    def add(self, wait: Wait, on_end: OnEnd) -> Waiter | LeaseWaiter:
        """`on_end` is called once, unless the waiter is removed first; with what was granted, where that is the answer."""
        if wait.lease is not None:
            return self._leases.add(wait.lease, wait.wait_s, on_end)
        return self._jobs.add(wait.job_id, wait.wait_s, lambda: on_end(None))

    def remove(self, waiter: Waiter | LeaseWaiter) -> None:
        """The client has disconnected."""
        if isinstance(waiter, LeaseWaiter):
            self._leases.remove(waiter)
        else:
            self._jobs.remove(waiter)

    def close(self) -> None:
        """The front stops: end every wait."""
        self._jobs.close()
        self._leases.close()

    def tick(self) -> None:
        """Called once per iteration of the loop."""
        self._jobs.tick()
        self._leases.tick()

    def next_tick_s(self) -> float:
        """How long there is nothing to do unless a message arrives."""
        return min(self._jobs.next_tick_s(), self._leases.next_tick_s())
