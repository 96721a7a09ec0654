"""Runs jobs: receives what watchers claimed for it, has it executed, settles the outcomes.

    queue ── Leased ──▶ jobs that have begun here ──▶ executors ── Ended ── settle (one commit) ──▶ Ack

A job arrives when its begin is in the store, so its task may start at once. The way an executor dies is its job's own failure; the
death of a worker is not (`lifecycle.recover`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta

import msgspec

from jobyard.engine.config import Settings
from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.hosts.host_lease import HostLease
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.owners import parse_owner
from jobyard.engine.logs import Log
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.service_address import own_service
from jobyard.engine.store.port import Store
from jobyard.engine.tasks.catalog import Catalog
from jobyard.engine.tasks.webhook import NAME as WEBHOOK
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.wire.hub import Envelope, Network
from jobyard.engine.wire.json_reply import as_json
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import (
    CancelAsked,
    Closed,
    Done,
    GetOutput,
    Held,
    OutputNow,
    Ping,
    Progressed,
    Ready,
    Refused,
    Wake,
)
from jobyard.engine.wire.queue_connector import QueueConnector
from jobyard.engine.wire.queue_messages import Leased, WatcherGone, Withdrawn
from jobyard.engine.wire.run_dir import RunDir
from jobyard.engine.wire.turns import whose_turn
from jobyard.engine.worker.arrivals import Arrivals
from jobyard.engine.worker.executor_pool import ExecutorPool
from jobyard.engine.worker.hook_deliveries import HookDeliveries
from jobyard.engine.worker.predecessors import PredecessorReader
from jobyard.engine.worker.queue_client import QueueClient
from jobyard.engine.worker.settle import Ledger, Written
from jobyard.engine.worker.slot import Key, Slot
from jobyard.engine.worker.template_client import TemplateClient
from jobyard.engine.world import World

RECONNECT_S = 0.1
WITHOUT_QUEUE_S = 3.0
IDLE_S = 60.0
_decode = msgspec.msgpack.Decoder(list[Job]).decode


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
        self._queue = QueueClient(connector=QueueConnector(network=network, names=queue_names), owner=owner)
        self._host_lease = host_lease
        self._templates = templates
        self._executors = ExecutorPool(settings=settings, world=world, log=log, templates=templates)
        self._ledger = Ledger(settings=settings, world=world, store=store, log=log, catalog=Catalog(run_dir))
        self._predecessors = PredecessorReader(store, service=own_service(settings))
        self._arrivals = Arrivals(owner=owner, store=store, log=log)
        self._hook_deliveries = HookDeliveries(world=world, store=store, log=log)
        self._gone_watchers: list[str] = []
        self._looks_for_ghosts = False
        self._cancelled_early: set[str] = set()
        """Jobs to be cancelled that had not arrived at the last look; when one arrives, it is time for another."""
        self._extend_at = self._cancel_look_at = self._ghost_look_at = self._started = world.monotonic()
        self._draining = self._has_looked_last = False
        self._look_last_by = float("inf")
        self._wakes = 0

    @property
    def drained(self) -> bool:
        """Whether nothing is left that only this process knows of."""
        return self._is_idle and self._has_looked_last

    @property
    def _is_idle(self) -> bool:
        """Whether the drain has left nothing to do."""
        return self._draining and self._ledger.is_clear and self._executors.is_empty and not self._arrivals.has_doubts

    def tick(self, inbox: list[Envelope]) -> float:
        """Handle what arrived and what is overdue, settle what ended in one commit, offer what is free."""
        self._let_go_if_lost()
        dead = self._executors.dead()
        for envelope in inbox:
            self._read(envelope)
        self._executors.reap(dead)
        self._templates.reach()
        self._executors.look_after()
        self._renew()
        self._settle()
        self._reach_queue()
        self._look_for_ghosts()
        self._look_last()
        self._offer()
        self._keep_leases()
        return self._sleep_s()

    def drain(self) -> None:
        """Take nothing new: 1. return what has not started; 2. let run what runs; 3. after DRAIN_S end it, free of charge;
        4. settle everything; 5. let the executors exit; 6. return what has not arrived. The executor pool does 1, 2, 3 and 5."""
        self._draining = True
        self._look_last_by = self._world.monotonic() + WITHOUT_QUEUE_S
        self._queue.close_offer()
        self._executors.drain()

    def hasten(self) -> None:
        """See `Hastened`: what runs is told now that it must end, as after DRAIN_S."""
        self._executors.hasten()

    def close(self) -> None:
        """See `Role`."""
        self._templates.close()
        self._store.close()

    # ---- the host's lease

    def _let_go_if_lost(self) -> None:
        """Before anything else, because others may begin these jobs soon. The attempts are settled if nobody has taken them yet."""
        if self._host_lease.is_lost and self._executors.is_busy:
            ended = self._executors.abandon()
            if ended:
                self._log.warning("host_lease_lost", jobs=ended, reason="the database was unreachable for nearly LEASE_S")

    def _renew(self) -> None:
        """Not before everything that the lost lease covered has ended."""
        if self._ledger.fault is not None or (self._host_lease.is_lost and self._executors.is_busy):
            return
        try:
            self._host_lease.renew()
        except StoreUnavailable as fault:
            self._ledger.note_fault(fault)

    # ---- messages

    def _read(self, envelope: Envelope) -> None:
        match envelope.message:
            case Leased() as leased:
                self._receive(leased)
            case Done() as done:
                self._executors.note_done(envelope.peer, done)
            case Ready(fd=fd):
                self._templates.note_ready(fd)
                self._executors.note_ready(fd)
            case Progressed() as progress:
                self._executors.note_progress(envelope.peer, progress)
            case Held() as held:
                self._hold(held)
            case Withdrawn():
                self._queue.note_withdrawn()
            case CancelAsked():
                self._cancel_look_at = self._world.monotonic()  # only a hint: the store says what was requested
            case WatcherGone(owner=watcher):
                self._gone_watchers.append(watcher)
            case Closed():
                if self._queue.note_closed(envelope.peer):
                    self._looks_for_ghosts = True
                else:
                    self._executors.note_closed(envelope.peer)
            case GetOutput(job_id=job_id, attempt=attempt) if envelope.peer is not None:
                found = self._executors.output_of(job_id, attempt) or self._ledger.output_of(job_id, attempt)
                envelope.peer.send(OutputNow(output=found))
            case Ping() if envelope.peer is not None:
                envelope.peer.send(self._health())

    def _hold(self, held: Held) -> None:
        """Stored before anything else that this tick has brought: the end of the attempt, for one."""
        running = ((attempt.job.job_id, attempt.job.attempt, attempt.job.limit) for attempt in self._executors.attempts())
        parts = next((limit for job_id, attempt, limit in running if (job_id, attempt) == (held.job_id, held.attempt)), None)
        if parts is None:
            return
        try:
            self._store.limits.hold_parts(parts, self._world.now() + timedelta(seconds=held.for_s))
            self._log.info("limits_held", job_id=held.job_id, limits=list(parts), for_s=held.for_s)
        except StoreUnavailable as fault:
            self._log.warning("limits_not_held", job_id=held.job_id, limits=list(parts), reason=fault.message)

    def _receive(self, leased: Leased) -> None:
        self._queue.note_received(leased.units)
        jobs = _decode(leased.jobs)
        known = self._known() if leased.is_again else set()
        self._start(self._arrivals.accept(jobs, known=known, is_again=leased.is_again))

    def _start(self, jobs: list[Job]) -> None:
        """Have the jobs executed, or return them if none may start here any more."""
        if self._draining or self._host_lease.is_lost:
            self._executors.give_back(jobs)
            return
        if any(job.task == WEBHOOK for job in jobs):
            jobs = self._prepared(jobs)
        self._ledger.attempt_metrics.note_begun(jobs)
        self._executors.hand(jobs, self._predecessors.told(jobs))
        if not self._cancelled_early.isdisjoint(job.job_id for job in jobs):
            self._cancel_look_at = self._world.monotonic()
        if self._log.is_debug:
            for job in jobs:
                self._log.debug("attempt_begun", job_id=job.job_id, attempt=job.attempt, task=job.task)

    def _prepared(self, jobs: list[Job]) -> list[Job]:
        """The jobs with what deliveries of hooks need; those that are not to be delivered are over."""
        prepared = self._hook_deliveries.prepare(jobs)
        self._executors.give_back(prepared.returned)
        self._queue.ack([(job.job_id, job.epoch) for job in prepared.cancelled], self._executors.room())
        return prepared.to_run

    def _known(self) -> set[Key]:
        """Everything that is in our hands."""
        return {*(attempt.key for attempt in self._executors.attempts()), *self._executors.ended_keys(), *self._ledger.held()}

    # ---- the store

    def _settle(self) -> None:
        """One commit for everything that ended; then the ends of its leases."""
        ended = self._executors.collect()
        if any(end.attempt.job.task == WEBHOOK for end in ended):
            with self._noting_faults():
                self._hook_deliveries.note_ended(ended)
        if ended or self._ledger.next_try_at() <= self._world.monotonic():
            written = self._ledger.write(ended)
            self._queue.ack(written.acked, self._executors.room())
            self._queue.release(written.released)
            self._wake_watcher(written)
        if self._arrivals.has_doubts and self._ledger.fault is None:
            with self._noting_faults():
                self._start(self._arrivals.resolve(known=self._known()))
        self._queue.release(self._arrivals.take_dropped())

    def _look_for_ghosts(self) -> None:
        """Return what was claimed for us and cannot arrive any more: after the death of a watcher or a queue, and now and then, in
        case a claim took effect after that look."""
        now = self._world.monotonic()
        is_time = now >= self._ghost_look_at
        if self._ledger.fault is not None or not (self._gone_watchers or self._looks_for_ghosts or is_time):
            return
        with self._noting_faults():
            if self._looks_for_ghosts:
                self._executors.give_back(self._arrivals.ghosts(known=self._known()))
            for watcher in [] if self._looks_for_ghosts else self._gone_watchers:
                self._executors.give_back(self._arrivals.ghosts(known=self._known(), claimed_by=watcher))
            if is_time:
                self._ghost_look_at = now + (self._settings.lease_s / 3 if self._queue.is_open else WITHOUT_QUEUE_S)
                self._executors.give_back(self._arrivals.ghosts(known=self._known(), seen_twice=self._queue.is_open))
            self._looks_for_ghosts, self._gone_watchers = False, []

    def _look_last(self) -> None:
        """Once nothing is left to do, and the queue sends nothing more: what was claimed for this worker and has not arrived.

        What is claimed later, for a place that this worker had offered, the queue refuses, and its watcher returns it.
        """
        if not self._is_idle or self._has_looked_last or self._world.monotonic() < self._look_last_at():
            return
        self._has_looked_last = True
        with self._noting_faults():  # without a database nobody can claim for us, and the next start recovers what is left
            self._executors.give_back(self._arrivals.ghosts(known=set()))

    def _look_last_at(self) -> float:
        return 0.0 if self._queue.is_withdrawn else self._look_last_by

    @contextlib.contextmanager
    def _noting_faults(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable as fault:
            self._ledger.note_fault(fault)

    def _wake_watcher(self, written: Written) -> None:
        """Something is due again, sooner than the next poll would find it."""
        due_at = self._world.now() if written.resolves else written.wake_at
        if due_at is None or (due_at - self._world.now()).total_seconds() >= 2 * self._settings.poll_s:
            return
        watchers = self._run_dir.components("watcher")
        if watchers:
            self._wakes += 1
            in_turn = watchers[self._wakes % len(watchers)]
            woken = whose_turn(watchers, self._world.monotonic()) if written.resolves else in_turn
            self._network.hint(woken, Wake(due_at=due_at, resolves=written.resolves))

    # ---- the queue

    def _reach_queue(self) -> None:
        if self._queue.connect():
            self._looks_for_ghosts = True

    def _offer(self) -> None:
        if self._draining or self._ledger.fault is not None or self._host_lease.is_lost or not self._templates.is_open:
            self._queue.close_offer()
        elif self._ledger.is_clear or not self._executors.is_busy:  # else the next ends of leases take the offer along
            free, ahead = self._executors.room()
            self._queue.offer(free, ahead, self._executors.costs())

    def _keep_leases(self) -> None:
        """Extend the leases, and see which jobs are to be cancelled: after a hint, and regularly, for requests of other hosts."""
        now = self._world.monotonic()
        if now < min(self._extend_at, self._cancel_look_at):
            return
        held = [attempt.key for attempt in self._executors.attempts()]
        if now >= self._extend_at:
            self._extend_at = now + self._settings.lease_s / 3
            self._queue.extend([*held, *self._ledger.held(), *self._arrivals.keys()])
        if now >= self._cancel_look_at and self._ledger.fault is None:
            self._cancel_look_at = now + self._settings.poll_s
            with contextlib.suppress(StoreUnavailable):  # the next write reports it
                requested = set(self._store.cancel_requests(self._owner))
                for job_id in requested:
                    self._executors.cancel(job_id)
                self._cancelled_early = requested - {job_id for job_id, _ in held}

    # ---- time

    def _sleep_s(self) -> float:
        now = self._world.monotonic()
        dues = [now + IDLE_S, self._executors.next_look_at(), self._ledger.next_try_at(), self._host_lease_due_at()]
        if not self._queue.is_open:
            dues.append(now + RECONNECT_S)
        if self._arrivals.has_doubts and self._ledger.fault is None:
            dues.append(now)
        if self._is_idle and not self._has_looked_last:
            dues.append(self._look_last_at())
        if any(slot.attempts for slot in self._executors.slots):
            dues.append(self._extend_at)
            if self._ledger.fault is None:
                dues.append(self._cancel_look_at)
        return max(0.0, min(dues) - now)

    def _host_lease_due_at(self) -> float:
        """The next heartbeat, or the moment at which we must let go; while something else must come first, that wakes us."""
        if self._host_lease.is_lost and self._executors.is_busy:
            return float("inf")
        due_at = float("inf") if self._ledger.fault is not None else self._host_lease.next_at()
        return due_at if self._host_lease.is_lost else min(due_at, self._host_lease.ends_at())

    # ---- requests

    def _health(self) -> Message:
        if not self._queue.is_open:
            return Refused(code="unavailable", message=f"{self._queue.name} does not answer", retry_after_s=1)
        if self._ledger.fault is not None:
            return Refused(code="database_unavailable", message=self._ledger.fault, retry_after_s=1)
        if self._executors.fault is not None:
            return Refused(code="unavailable", message=self._executors.fault, retry_after_s=1)
        return as_json({"status": "healthy"})

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
            histograms={"lag": metrics.lag, "run": metrics.run},
            minute=minutes.under_way(), minutes=minutes.over(),
        )  # fmt: skip


def _shown(slot: Slot) -> dict[str, object]:
    current = slot.current
    job_id, running_since = (None, None) if current is None else (current.job.job_id, current.started_at)
    return {"pid": slot.handle.pid, "job_id": job_id, "running_since": running_since}
