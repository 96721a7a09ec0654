"""Runs jobs: leases tickets, begins them in the store, has them executed, settles what came of them.

    queue ── Leased ──▶ tickets ── begin (one commit) ──▶ workshop ── Ended ── settle (the same commit) ──▶ Ack

One turn makes one commit for everything that ended and everything that begins (`Ledger`). A task's first line runs only after its
begin is in the store. What a child dies of is that job's own failure; what we die of is not (`lifecycle.recover`).
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

import msgspec

from jobyard.engine.config import Settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.hosts.host_lease import HostLease
from jobyard.engine.jobs.job import Ticket
from jobyard.engine.jobs.owners import parse_owner
from jobyard.engine.logs import Log
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.store.port import Store
from jobyard.engine.tasks.catalog import Catalog
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.wire.hub import Envelope, Network
from jobyard.engine.wire.messages import (
    CancelAsked,
    Closed,
    Done,
    GetOutput,
    Json,
    Leased,
    Message,
    OutputNow,
    Ping,
    Progressed,
    Ready,
    Refused,
    Wake,
)
from jobyard.engine.wire.queue_connector import QueueConnector
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.worker.begin_and_settle import Ledger, Written
from jobyard.engine.worker.executor_pool import ExecutorPool
from jobyard.engine.worker.queue_client import QueueClient
from jobyard.engine.worker.slot import Slot
from jobyard.engine.worker.template_client import TemplateClient
from jobyard.engine.world import World

RECONNECT_S = 0.1
TICKETS_WAIT_S = 0.1
IDLE_S = 60.0


class Worker:
    """The role; see `supervisor.role_loop.Role`."""

    def __init__(
        self, *, owner: str, settings: Settings, world: World, store: Store, network: Network, log: Log, run_dir: RunDir,
        queue_names: Callable[[], list[str]], templates: TemplateClient, host_lease: HostLease,
    ) -> None:  # fmt: skip
        self._owner = owner
        self._name = parse_owner(owner).process
        self._settings = settings
        self._world = world
        self._store = store
        self._network = network
        self._log = log
        self._run_dir = run_dir
        self._queue = QueueClient(connector=QueueConnector(network=network, names=queue_names), worker=self._name)
        self._host_lease = host_lease
        self._templates = templates
        self._executors = ExecutorPool(settings=settings, world=world, log=log, templates=templates)
        self._ledger = Ledger(
            owner=owner, settings=settings, world=world, store=store, log=log, host_lease=host_lease,
            catalog=Catalog(run_dir), running=lambda: (attempt.job for attempt in self._executors.attempts()),
        )  # fmt: skip
        self._tickets: deque[tuple[Ticket, float]] = deque()
        self._put_off: deque[tuple[Ticket, float]] = deque()
        self._extend_at = self._cancel_look_at = self._ghost_look_at = self._started = world.monotonic()
        self._draining = False
        self._wakes = 0

    @property
    def drained(self) -> bool:
        """Whether nothing is left that only we know of."""
        return self._draining and self._ledger.is_clear and self._executors.is_empty

    def tick(self, inbox: list[Envelope]) -> float:
        """One turn: what came, what is overdue, one commit, ask for more."""
        self._let_go_if_lost()
        dead = self._executors.dead()
        for envelope in inbox:
            self._read(envelope)
        self._executors.reap(dead)
        self._templates.reach()
        self._executors.look_after()
        self._renew()
        self._write()
        self._queue.reach()
        self._ask_for_more()
        self._keep_hold()
        return self._sleep_s()

    def drain(self) -> None:
        """Take nothing new: 1. give back what has not begun; 2. let run what runs; 3. after DRAIN_S end it, free of charge;
        4. settle everything; 5. let the children leave. The workshop does 2, 3 and 5."""
        self._draining = True
        self._queue.release(self._drop_tickets())
        self._queue.want(0)
        self._executors.drain()

    def close(self) -> None:
        """See `Role`."""
        self._templates.close()
        self._store.close()

    # ---- our right to what we hold

    def _let_go_if_lost(self) -> None:
        """Before anything else, because others may begin our jobs soon. Their attempts are settled if nobody has taken them yet."""
        if self._host_lease.is_lost and self._executors.is_busy:
            ended = self._executors.abandon()
            if ended:
                self._log.warning("host_lease_lost", jobs=ended, reason="the database was unreachable for nearly LEASE_S")

    def _renew(self) -> None:
        """Not before what we lost has ended."""
        if self._ledger.fault is not None or (self._host_lease.is_lost and self._executors.is_busy):
            return
        try:
            self._host_lease.renew()
        except StoreUnavailable as fault:
            self._ledger.note_fault(fault)

    # ---- what came

    def _read(self, envelope: Envelope) -> None:
        match envelope.message:
            case Leased(tickets=tickets):
                self._take(tickets)
            case Done() as done:
                self._executors.note_done(envelope.peer, done)
            case Ready(fd=fd):
                self._templates.note_ready(fd)
                self._executors.note_ready(fd)
            case Progressed() as told:
                self._executors.note_progress(envelope.peer, told)
            case CancelAsked():
                self._cancel_look_at = self._world.monotonic()  # only a hint: the store says what was asked
            case Closed():
                if self._queue.lost(envelope.peer):
                    self._drop_tickets()
                else:
                    self._executors.note_closed(envelope.peer)
            case GetOutput(job_id=job_id, attempt=attempt) if envelope.peer is not None:
                found = self._executors.output_of(job_id, attempt) or self._ledger.output_of(job_id, attempt)
                envelope.peer.send(OutputNow(output=found))
            case Ping() if envelope.peer is not None:
                envelope.peer.send(self._health())

    def _take(self, tickets: list[Ticket]) -> None:
        self._queue.was_answered(len(tickets))
        if self._draining or self._ledger.fault is not None or self._host_lease.is_lost:
            self._queue.release(tickets)
            return
        now = self._world.monotonic()
        is_in_order = not self._tickets
        self._tickets.extend((ticket, now) for ticket in tickets)
        if not is_in_order:
            self._tickets = deque(sorted(self._tickets, key=lambda waiting: (-waiting[0].priority, waiting[0].scheduled_at)))

    def _drop_tickets(self) -> list[Ticket]:
        dropped = [ticket for ticket, _ in (*self._tickets, *self._put_off)]
        self._tickets.clear()
        self._put_off.clear()
        return dropped

    # ---- the store

    def _write(self) -> None:
        """One commit for all that ended and all that begins; then hand-outs and acks."""
        ended = self._executors.collect()
        tickets = self._next_tickets()
        if not ended and not tickets and self._ledger.next_try_at() > self._world.monotonic():
            return
        written = self._ledger.write(ended, tickets)
        self._executors.hand(written.begun)
        self._queue.ack(written.acked)
        self._queue.release(written.released)
        self._put_off.extend((ticket, self._world.monotonic()) for ticket in written.put_off)
        self._wake_watcher(written)
        if self._ledger.fault is not None:
            self._queue.release(self._drop_tickets())

    def _next_tickets(self) -> list[Ticket]:
        """As many as can start now. Of the others, what is not known to be short, or waits too long, goes back to the queue."""
        chosen: list[Ticket] = []
        looks_for_seats = not self._executors.has_unplaced
        if self._tickets and looks_for_seats:
            seats = self._executors.seats()
            while self._tickets and seats.take(self._tickets[0][0].task) is not None:
                chosen.append(self._tickets.popleft()[0])
        if self._tickets or self._put_off:
            self._give_back_late(found_no_seat=looks_for_seats)
        return chosen

    def _give_back_late(self, *, found_no_seat: bool) -> None:
        overdue = self._world.monotonic() - TICKETS_WAIT_S
        waiting: deque[tuple[Ticket, float]] = deque()
        late = [ticket for ticket, since in self._put_off if since <= overdue]
        for ticket, since in self._tickets:
            if since <= overdue or (found_no_seat and not self._executors.is_short(ticket.task)):
                late.append(ticket)
            else:
                waiting.append((ticket, since))
        self._tickets = waiting
        self._put_off = deque((ticket, since) for ticket, since in self._put_off if since > overdue)
        self._queue.release(late)

    def _wake_watcher(self, written: Written) -> None:
        """Something is due again, sooner than the next poll would find it."""
        due_at = written.wake_at
        if due_at is None or (due_at - self._world.now()).total_seconds() >= 2 * self._settings.poll_s:
            return
        watchers = self._run_dir.components("watcher")
        if watchers:
            self._wakes += 1
            self._network.hint(watchers[self._wakes % len(watchers)], Wake(due_at=due_at))

    # ---- the queue

    def _ask_for_more(self) -> None:
        can_begin = not self._draining and self._ledger.fault is None and not self._host_lease.is_lost
        self._queue.want(max(0, self._executors.seats().wanted_tickets() - len(self._tickets)) if can_begin else 0)

    def _keep_hold(self) -> None:
        """Extend the leases; and see what was asked to be cancelled: after a hint, and now and then, for another host's sake."""
        now = self._world.monotonic()
        held = [attempt.ticket for attempt in self._executors.attempts()] + self._ledger.held()
        if now >= self._extend_at:
            self._extend_at = now + self._settings.lease_s / 3
            self._queue.extend([*held, *(ticket for ticket, _ in self._tickets)])
        with contextlib.suppress(StoreUnavailable):  # the next write tells it
            if held and now >= self._cancel_look_at and self._ledger.fault is None:
                self._cancel_look_at = now + self._settings.poll_s
                for job_id in self._store.cancel_requests(self._owner):
                    self._executors.cancel(job_id)
            if self._host_lease.is_shared and now >= self._ghost_look_at and self._ledger.fault is None:
                self._ghost_look_at = now + self._settings.lease_s / 3
                self._ledger.look_for_ghosts({ticket.job_id for ticket in held})

    # ---- time

    def _sleep_s(self) -> float:
        now = self._world.monotonic()
        dues = [now + IDLE_S, self._executors.next_look_at(), self._ledger.next_try_at(), self._hold_due_at()]
        if not self._queue.is_open:
            dues.append(now + RECONNECT_S)
        if self._tickets or self._put_off:
            dues.append(self._tickets_wait_until())
        if any(slot.attempts for slot in self._executors.slots):
            dues.append(self._extend_at)
            if self._ledger.fault is None:
                dues.append(self._cancel_look_at)
        return max(0.0, min(dues) - now)

    def _hold_due_at(self) -> float:
        """The next sign, or the moment at which we must let go; while something else must come first, that wakes us."""
        if self._host_lease.is_lost and self._executors.is_busy:
            return float("inf")
        due_at = float("inf") if self._ledger.fault is not None else self._host_lease.next_at()
        return due_at if self._host_lease.is_lost else min(due_at, self._host_lease.ends_at())

    def _tickets_wait_until(self) -> float:
        return min(since for _, since in (*self._tickets, *self._put_off)) + TICKETS_WAIT_S

    # ---- questions

    def _health(self) -> Message:
        if not self._queue.is_open:
            return Refused(code="unavailable", message=f"{self._queue.name} does not answer", retry_after_s=1)
        if self._ledger.fault is not None:
            return Refused(code="database_unavailable", message=self._ledger.fault, retry_after_s=1)
        if self._executors.fault is not None:
            return Refused(code="unavailable", message=self._executors.fault, retry_after_s=1)
        return Json(body=msgspec.json.encode({"status": "healthy"}))

    def counters(self) -> ComponentCounters:
        """See `Role`."""
        slots, metrics, minutes = self._executors.slots, self._ledger.attempt_metrics, self._ledger.minutes
        return ComponentCounters(
            started_at=self._started,
            stats={
                "worker_id": self._name, "concurrency": self._settings.concurrency,
                "currently_running": sum(slot.current is not None for slot in slots), **self._ledger.counts,
                "last_execution_time": rfc3339(self._ledger.last_execution), "executors": [_shown(slot) for slot in slots],
                "fault": self._executors.fault, "has_template": self._templates.is_open,
            },
            counts={"stale_writes": self._ledger.stale_writes}, attempts=metrics.attempts,
            histograms={"lag": metrics.lag, "wait": metrics.wait, "run": metrics.run},
            minute=minutes.under_way(), minutes=minutes.over(),
        )  # fmt: skip


def _shown(slot: Slot) -> dict[str, object]:
    current = slot.current
    job_id, running_since = (None, None) if current is None else (current.job.job_id, current.started_at)
    return {"pid": slot.handle.pid, "job_id": job_id, "running_since": running_since}
