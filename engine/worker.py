"""Runs jobs: leases tickets, begins them in the store, has them executed, settles what came of them.

    queue ── Leased ──▶ tickets ── begin (one commit) ──▶ workshop ── Ended ── settle (the same commit) ──▶ Ack

One turn makes one commit for everything that ended and everything that begins. A task's first line runs only after its begin is in
the store. An outcome that cannot be written is kept and repeated; one that the store refuses is dropped: somebody else
has the job. What a child dies of is that job's own failure; what we die of is not (`lifecycle.recover`).
"""

from __future__ import annotations

from collections import deque
from datetime import datetime

import msgspec

from engine import lifecycle
from engine.config import Settings
from engine.errors import StoreUnavailable
from engine.job import ExecutionStatus, Job, Status, Ticket, rfc3339
from engine.lifecycle import Change
from engine.logs import Log
from engine.owners import parse_owner
from engine.queue_line import QueueLine
from engine.slot import Attempt, Child
from engine.store.port import Store
from engine.wire.hub import Letter, Network
from engine.wire.messages import (
    CancelAsked,
    Closed,
    Done,
    GetStats,
    Json,
    Leased,
    Message,
    Ping,
    Progressed,
    Ready,
    Refused,
    Wake,
)
from engine.wire.run_dir import RunDir
from engine.workshop import Ended, Workshop
from engine.world import World

RECONNECT_S = 0.1
STORE_PAUSE_S = 0.25
TICKETS_WAIT_S = 0.1
IDLE_S = 60.0


class Worker:
    """The role; see `engine.processes.child.Role`."""

    def __init__(
        self, *, owner: str, settings: Settings, world: World, store: Store, network: Network, log: Log, queue_address: str,
        run_dir: RunDir, child: Child,
    ) -> None:  # fmt: skip
        self._owner = owner
        self._name = parse_owner(owner).process
        self._settings = settings
        self._world = world
        self._store = store
        self._network = network
        self._log = log
        self._run_dir = run_dir
        self._queue = QueueLine(network=network, address=queue_address, worker=self._name)
        self._workshop = Workshop(settings=settings, world=world, network=network, log=log, child=child)
        self._tickets: deque[tuple[Ticket, float]] = deque()
        self._ended: list[Ended] = []
        self._store_fault: str | None = None
        self._store_retry_at = 0.0
        self._extend_at = self._cancel_look_at = world.monotonic()
        self._draining = False
        self._started = world.monotonic()
        self._last_execution: datetime | None = None
        self._wakes = 0
        self.counts = dict.fromkeys(("jobs_succeeded", "jobs_failed", "jobs_retried", "jobs_lost"), 0)

    @property
    def drained(self) -> bool:
        """Whether nothing is left that only we know of."""
        return self._draining and not self._ended and self._workshop.is_empty

    def tick(self, inbox: list[Letter]) -> float:
        """One turn: what came, what is overdue, one commit, ask for more."""
        self._workshop.bury_dead()
        for letter in inbox:
            self._read(letter)
        self._workshop.look_after()
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
        self._workshop.drain()

    def close(self) -> None:
        """See `Role`."""
        self._store.close()

    # ---- what came

    def _read(self, letter: Letter) -> None:
        match letter.message:
            case Leased(tickets=tickets):
                self._take(tickets)
            case Done() as done:
                self._workshop.note_done(letter.peer, done)
            case Ready(fd=fd):
                self._workshop.note_ready(fd)
            case Progressed() as told:
                self._log.info("job_progressed", job_id=told.job_id, attempt=told.attempt, fraction=told.fraction, note=told.note)
            case CancelAsked(job_id=job_id):
                self._workshop.cancel(job_id)
            case Closed():
                if self._queue.lost(letter.peer):
                    self._drop_tickets()
                else:
                    self._workshop.note_closed(letter.peer)
            case GetStats() if letter.peer is not None:
                letter.peer.send(self._stats())
            case Ping() if letter.peer is not None:
                letter.peer.send(self._health())

    def _take(self, tickets: list[Ticket]) -> None:
        self._queue.was_answered()
        if self._draining or self._store_fault is not None:
            self._queue.release(tickets)
            return
        now = self._world.monotonic()
        self._tickets.extend((ticket, now) for ticket in tickets)
        self._tickets = deque(sorted(self._tickets, key=lambda waiting: (-waiting[0].priority, waiting[0].scheduled_at)))

    def _drop_tickets(self) -> list[Ticket]:
        dropped = [ticket for ticket, _ in self._tickets]
        self._tickets.clear()
        return dropped

    # ---- the store

    def _write(self) -> None:
        """One commit for all that ended and all that begins; then acks and hand-outs."""
        self._ended += self._workshop.collect()
        if self._store_fault is not None and self._world.monotonic() < self._store_retry_at:
            return
        tickets = self._next_tickets()
        if not self._ended and not tickets and self._store_fault is None:
            return
        try:
            self._commit(tickets)
            self._store_fault = None
        except StoreUnavailable as fault:
            self._note_store_fault(fault, tickets)

    def _next_tickets(self) -> list[Ticket]:
        """As many as can start now; what has waited too long behind long jobs goes back to the queue."""
        if self._workshop.has_homeless or self._draining:
            return []
        room = {slot: len(slot.attempts) for slot in self._workshop.takers}
        chosen: list[Ticket] = []
        while self._tickets and room:
            slot = min(room, key=lambda slot: room[slot])
            if room[slot] >= self._workshop.depth(slot, self._workshop.pace.ahead(self._tickets[0][0].task)):
                break
            room[slot] += 1
            chosen.append(self._tickets.popleft()[0])
        self._release_overdue()
        return chosen

    def _release_overdue(self) -> None:
        overdue = self._world.monotonic() - TICKETS_WAIT_S
        late = [ticket for ticket, since in self._tickets if since < overdue]
        if late:
            self._tickets = deque((ticket, since) for ticket, since in self._tickets if since >= overdue)
            self._queue.release(late)

    def _commit(self, tickets: list[Ticket]) -> None:
        now = self._world.now()
        ended = self._ended
        settles = [lifecycle.settle(e.attempt.job, e.outcome, now=now, retry_base_s=self._settings.retry_base_s) for e in ended]
        begins = self._begins(tickets, now)
        done = self._store.apply([*settles, *(change for _, _, change in begins)])
        self._ended = []
        for end, change, was_done in zip(ended, settles, done[: len(settles)], strict=True):
            self._note_settled(end, change, was_done)
        started = [begin for begin, was_done in zip(begins, done[len(settles) :], strict=True) if was_done]
        for ticket, job, change in started:
            self._workshop.hand(Attempt(job=change.after(job), ticket=ticket))
        begun = {ticket.job_id for ticket, _, _ in started}
        self._queue.ack([*(end.attempt.ticket for end in ended), *(ticket for ticket in tickets if ticket.job_id not in begun)])

    def _begins(self, tickets: list[Ticket], now: datetime) -> list[tuple[Ticket, Job, Change]]:
        """For those whose job is still what the ticket says: of the others somebody else has taken care."""
        jobs = self._store.find([ticket.job_id for ticket in tickets]) if tickets else []
        return [
            (ticket, job, lifecycle.begin(job, owner=self._owner, now=now, lease_s=self._settings.lease_s))
            for ticket, job in zip(tickets, jobs, strict=True)
            if job is not None and job.epoch == ticket.epoch and lifecycle.may(job, lifecycle.Verb.BEGIN)
        ]

    def _note_settled(self, end: Ended, change: Change, was_done: bool) -> None:
        job = end.attempt.job
        if not was_done:
            self._settle_again(end)
            return
        self._last_execution = self._world.now()
        status = change.fields["status"]
        if status is Status.COMPLETED:
            self.counts["jobs_succeeded"] += 1
        elif status is Status.FAILED:
            self.counts["jobs_failed"] += 1
        elif status is Status.PENDING and end.outcome.status is not ExecutionStatus.RELEASED:
            self.counts["jobs_retried"] += 1
        if end.outcome.status is not ExecutionStatus.SUCCESS:
            error = _first_line(end.outcome.error)
            self._log.info("attempt_ended", job_id=job.job_id, attempt=job.attempt, status=end.outcome.status, error=error)
        if status is Status.PENDING:
            self._wake_watcher(change.fields["scheduled_at"])

    def _settle_again(self, end: Ended) -> None:
        """Refused: either somebody asked to cancel meanwhile, or the job is no longer ours."""
        known = end.attempt.job
        try:
            job = self._store.find([known.job_id])[0]
        except StoreUnavailable:
            self._ended.append(end)
            return
        if job is not None and job.epoch == known.epoch and job.cancel_requested_at != known.cancel_requested_at:
            end.attempt.job = job
            self._ended.append(end)
            return
        self.counts["jobs_lost"] += 1
        self._log.debug("outcome_dropped", job_id=known.job_id, attempt=known.attempt)

    def _note_store_fault(self, fault: StoreUnavailable, tickets: list[Ticket]) -> None:
        if self._store_fault is None:
            self._log.error("database_lost", reason=fault.message, outcomes_kept=len(self._ended))
        self._store_fault = fault.message
        self._store_retry_at = self._world.monotonic() + STORE_PAUSE_S
        self._queue.release(tickets + self._drop_tickets())

    def _wake_watcher(self, due_at: object) -> None:
        assert isinstance(due_at, datetime)
        watchers = self._run_dir.components("watcher")
        if watchers and (due_at - self._world.now()).total_seconds() < 2 * self._settings.poll_s:
            self._wakes += 1
            self._network.hint(watchers[self._wakes % len(watchers)], Wake(due_at=due_at))

    # ---- the queue

    def _ask_for_more(self) -> None:
        if self._draining or self._store_fault is not None:
            return
        self._queue.want(max(0, self._workshop.appetite() - len(self._tickets)))

    def _keep_hold(self) -> None:
        """Extend the leases; and see what was asked to be cancelled: the safety net under the hint, and how another host asks."""
        now = self._world.monotonic()
        held = [attempt.ticket for attempt in self._workshop.attempts()] + [end.attempt.ticket for end in self._ended]
        if now >= self._extend_at:
            self._extend_at = now + self._settings.lease_s / 3
            self._queue.extend([*held, *(ticket for ticket, _ in self._tickets)])
        if held and now >= self._cancel_look_at and self._store_fault is None:
            self._cancel_look_at = now + self._settings.poll_s
            self._look_for_cancels()

    def _look_for_cancels(self) -> None:
        try:
            for job_id in self._store.cancel_requests(self._owner):
                self._workshop.cancel(job_id)
        except StoreUnavailable:
            return  # the next write tells it

    # ---- time

    def _sleep_s(self) -> float:
        now = self._world.monotonic()
        dues = [now + IDLE_S, self._workshop.next_look_at()]
        if not self._queue.is_open:
            dues.append(now + RECONNECT_S)
        if self._store_fault is not None:
            dues.append(self._store_retry_at)
        elif self._ended:
            dues.append(now)
        if self._tickets:
            dues.append(now + TICKETS_WAIT_S)
        if any(slot.attempts for slot in self._workshop.slots):
            dues += [self._extend_at, self._cancel_look_at]
        return max(0.0, min(dues) - now)

    # ---- questions

    def _health(self) -> Message:
        if not self._queue.is_open:
            return Refused(code="unavailable", message=f"{self._queue.address} does not answer", retry_after_s=1)
        if self._store_fault is not None:
            return Refused(code="database_unavailable", message=self._store_fault, retry_after_s=1)
        return Json(body=msgspec.json.encode({"status": "healthy"}))

    def _stats(self) -> Message:
        now = self._world.monotonic()
        executors = []
        for slot in self._workshop.slots:
            current = slot.current
            running_s = 0 if current is None else round(now - (current.started_at or now), 3)
            executors.append({"pid": slot.pid, "job_id": current and current.job.job_id, "running_s": running_s})
        return Json(
            body=msgspec.json.encode(
                {
                    "worker_id": self._name, "concurrency": self._settings.concurrency,
                    "currently_running": sum(slot.current is not None for slot in self._workshop.slots), **self.counts,
                    "last_execution_time": rfc3339(self._last_execution), "executors": executors,
                    "uptime_s": round(now - self._started, 3),
                }
            )
        )  # fmt: skip


def _first_line(text: str | None) -> str:
    return (text or "").split("\n")[0][:200]
