"""Runs jobs: leases tickets, begins them in the store, hands them to executor children, settles what came of them.

    queue ── Leased ──▶ tickets ── begin (one commit) ──▶ slots ── Done ──▶ ended ── settle (the same commit) ──▶ Ack

One turn makes one commit for everything that ended and everything that begins. A task's first line runs only after its begin is in
the store. An outcome that cannot be written is kept and repeated; one that the store refuses is dropped: somebody else
has the job. What a child dies of is that job's own failure; what we die of is not (`lifecycle.recover`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime

import msgspec

from engine import lifecycle
from engine.attempts import Deadlines, crash_words
from engine.config import Settings
from engine.errors import StoreUnavailable
from engine.job import ExecutionStatus, Job, Outcome, Status, Ticket, rfc3339
from engine.lifecycle import Change
from engine.logs import Log
from engine.output import OutputLog
from engine.owners import parse_owner
from engine.pace import Pace
from engine.slot import Attempt, Child, Slot
from engine.store.port import Store
from engine.wire.hub import Letter, Network, Peer
from engine.wire.messages import (
    Ack,
    CancelAsked,
    Closed,
    Done,
    Extend,
    GetStats,
    Json,
    Leased,
    Message,
    Ping,
    Progressed,
    Ready,
    Refused,
    Release,
    Wake,
    Want,
)
from engine.wire.run_dir import RunDir
from engine.world import World

RECONNECT_S = 0.1
STORE_PAUSE_S = 0.25
STUCK_S = 0.02
HOMELESS_S = 0.1
IDLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt and what came of it, waiting to be settled."""

    attempt: Attempt
    outcome: Outcome


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
        self._queue_address = queue_address
        self._run_dir = run_dir
        self._child = child
        self._pace = Pace()
        self._output = OutputLog(log)
        self._deadlines = Deadlines(world, drain_s=settings.drain_s)
        self._queue: Peer | None = None
        self._wanted = 0
        self._tickets: deque[tuple[Ticket, float]] = deque()
        self._homeless: deque[tuple[Attempt, float]] = deque()
        self._ended: list[Ended] = []
        self._store_fault: str | None = None
        self._store_retry_at = 0.0
        self._extend_at = self._cancel_look_at = self._memory_look_at = world.monotonic()
        self._draining_since: float | None = None
        self._started = world.monotonic()
        self._last_execution: datetime | None = None
        self._wakes = 0
        self.counts = dict.fromkeys(("jobs_succeeded", "jobs_failed", "jobs_retried", "jobs_lost"), 0)
        self._slots = [self._new_slot() for _ in range(settings.concurrency)]

    @property
    def drained(self) -> bool:
        """Whether nothing is left that only we know of."""
        return self._draining_since is not None and not self._slots and not self._ended and not self._homeless

    def tick(self, inbox: list[Letter]) -> float:
        """One turn: what came, what is overdue, one commit, hand out, ask for more."""
        self._bury_dead()
        for letter in inbox:
            self._read(letter)
        self._look_after_slots()
        self._write()
        self._reach_queue()
        self._ask_for_more()
        self._keep_leases()
        return self._sleep_s()

    def drain(self) -> None:
        """1. Take nothing new, give back what has not begun. 2. Let run what runs. 3. After DRAIN_S end it, free of charge.
        4. Settle everything. 5. Let the children leave."""
        self._draining_since = self._world.monotonic()
        self._release([ticket for ticket, _ in self._tickets])
        self._tickets.clear()
        self._say(Want(count=0, worker=self._name))

    def close(self) -> None:
        """See `Role`."""
        self._store.close()

    # ---- what came

    def _read(self, letter: Letter) -> None:
        match letter.message:
            case Leased(tickets=tickets):
                self._wanted = 0
                self._take(tickets)
            case Done() as done:
                self._note_done(letter.peer, done)
            case Ready(fd=fd):
                self._note_ready(fd)
            case Progressed() as told:
                self._log.info("job_progressed", job_id=told.job_id, attempt=told.attempt, fraction=told.fraction, note=told.note)
            case CancelAsked(job_id=job_id):
                self._cancel(job_id)
            case Closed() if letter.peer is self._queue:
                self._queue = None
                self._tickets.clear()
            case GetStats() if letter.peer is not None:
                letter.peer.send(self._stats())
            case Ping() if letter.peer is not None:
                letter.peer.send(self._health())

    def _take(self, tickets: list[Ticket]) -> None:
        if self._draining_since is not None or self._store_fault is not None:
            self._release(tickets)
            return
        now = self._world.monotonic()
        self._tickets.extend((ticket, now) for ticket in tickets)

    def _note_done(self, peer: Peer | None, done: Done) -> None:
        slot = next((slot for slot in self._slots if slot.peer is peer), None)
        if slot is None:
            return
        self._read_output(slot)
        attempt = slot.done(done.job_id, done.attempt)
        if attempt is None:
            self._log.warning("report_ignored", pid=slot.pid, job_id=done.job_id)
            return
        self._pace.note(attempt.job.task, done.elapsed_s)
        self._end(attempt, self._deadlines.outcome_of(attempt, done.outcome))
        if self._settings.max_jobs_per_child and slot.runs >= self._settings.max_jobs_per_child:
            self._retire(slot)

    def _note_ready(self, fd: int) -> None:
        for slot in self._slots:
            if fd == slot.pid_fd:
                slot.dying = True
            elif fd == slot.output_fd:
                self._read_output(slot)

    def _read_output(self, slot: Slot) -> None:
        data = slot.read_output()
        if data and slot.current is not None:
            self._output.tell(slot.current, data)

    def _cancel(self, job_id: str) -> None:
        for slot in self._slots:
            for attempt in slot.attempts:
                if attempt.job.job_id == job_id:
                    self._deadlines.begin_end(attempt, ExecutionStatus.CANCELLED)

    # ---- children

    def _new_slot(self) -> Slot:
        return Slot(child=self._child, world=self._world, network=self._network)

    def _bury_dead(self) -> None:
        """Those whose death was seen a turn ago: all that they reported has been read since."""
        for slot in [slot for slot in self._slots if slot.dying]:
            self._read_output(slot)
            unread = slot.take_back() if not slot.retiring else []
            status = slot.bury()
            self._slots.remove(slot)
            self._shelter(unread)
            for attempt in slot.attempts:
                outcome = Outcome(status=ExecutionStatus.CRASHED, error=attempt.crash or crash_words(status))
                self._end(attempt, self._deadlines.outcome_of(attempt, outcome))
            if self._draining_since is None:
                self._slots.append(self._new_slot())

    def _retire(self, slot: Slot) -> None:
        self._shelter(slot.take_back())
        slot.retire()

    def _look_after_slots(self) -> None:
        """Time-outs, cancellations, memory, short jobs stuck behind a long one, and the end of the drain."""
        now = self._world.monotonic()
        for slot in self._slots:
            current = slot.current
            if current is None or slot.dying:
                continue
            if len(slot.attempts) > 1 and current.started_at is not None and now - current.started_at > STUCK_S:
                self._shelter(slot.take_back())
            if self._deadlines.step(slot, current, draining_since=self._draining_since):
                self._shelter(slot.take_back())
        self._look_at_memory(now)
        if self._draining_since is not None:
            for slot in self._slots:
                if not slot.attempts and slot.takes_work:
                    slot.retire()

    def _look_at_memory(self, now: float) -> None:
        limit_mb = self._settings.child_memory_mb
        if not limit_mb or now < self._memory_look_at:
            return
        self._memory_look_at = now + 0.5
        for slot in self._slots:
            used_mb = self._world.memory_of(slot.pid) >> 20
            if used_mb > limit_mb and slot.current is not None:
                slot.current.crash = f"out of memory: {used_mb} MiB used, CHILD_MEMORY_MB allows {limit_mb}"
            if used_mb > limit_mb:
                slot.kill()

    def _shelter(self, attempts: list[Attempt]) -> None:
        now = self._world.monotonic()
        self._homeless.extend((attempt, now) for attempt in attempts)

    # ---- the store

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        self._ended.append(Ended(attempt, outcome))
        self._output.end(attempt)

    def _write(self) -> None:
        """One commit for all that ended and all that begins; then acks and hand-outs."""
        now_s = self._world.monotonic()
        if self._store_fault is not None and now_s < self._store_retry_at:
            return
        self._house(now_s)
        tickets = self._next_tickets()
        if not self._ended and not tickets and self._store_fault is None:
            return
        try:
            self._commit(tickets)
            self._store_fault = None
        except StoreUnavailable as fault:
            self._note_store_fault(fault, tickets)

    def _commit(self, tickets: list[Ticket]) -> None:
        now = self._world.now()
        ended, self._ended = self._ended, []
        settles = [self._settle(end, now) for end in ended]
        try:
            jobs = self._store.find([ticket.job_id for ticket in tickets]) if tickets else []
            begins = [
                (ticket, job, lifecycle.begin(job, owner=self._owner, now=now, lease_s=self._settings.lease_s))
                for ticket, job in zip(tickets, jobs, strict=True)
                if job is not None and job.epoch == ticket.epoch and job.status in (Status.CLAIMED, Status.QUEUED)
            ]
            changes = [*settles, *(change for _, _, change in begins)]
            done = self._store.apply(changes) if changes else []
        except StoreUnavailable:
            self._ended = ended + self._ended
            raise
        for end, change, was_done in zip(ended, settles, done[: len(settles)], strict=True):
            self._note_settled(end, change, was_done)
        self._start([(ticket, change.after(job)) for (ticket, job, change), ok in zip(begins, done[len(settles) :], strict=True) if ok])
        begun = {ticket.job_id for (ticket, _, _), ok in zip(begins, done[len(settles) :], strict=True) if ok}
        self._ack([end.attempt.ticket for end in ended] + [ticket for ticket in tickets if ticket.job_id not in begun])

    def _settle(self, end: Ended, now: datetime) -> Change:
        return lifecycle.settle(end.attempt.job, end.outcome, now=now, retry_base_s=self._settings.retry_base_s)

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
            self._log.info("attempt_ended", job_id=job.job_id, attempt=job.attempt, status=end.outcome.status, error=_first_line(end.outcome.error))
        if status is Status.PENDING:
            self._wake_watcher(change.fields["scheduled_at"])

    def _settle_again(self, end: Ended) -> None:
        """Refused: either somebody asked to cancel meanwhile, or the job is no longer ours."""
        job = self._store.find([end.attempt.job.job_id])[0]
        mine = job is not None and job.epoch == end.attempt.job.epoch and job.status is Status.RUNNING
        if mine and job is not None and end.attempt.job.cancel_requested_at is None and job.cancel_requested_at is not None:
            end.attempt.job = job
            self._ended.append(end)
            return
        self.counts["jobs_lost"] += 1
        self._log.debug("outcome_dropped", job_id=end.attempt.job.job_id, attempt=end.attempt.job.attempt)

    def _note_store_fault(self, fault: StoreUnavailable, tickets: list[Ticket]) -> None:
        if self._store_fault is None:
            self._log.error("database_lost", reason=fault.message, outcomes_kept=len(self._ended))
        self._store_fault = fault.message
        self._store_retry_at = self._world.monotonic() + STORE_PAUSE_S
        self._release(tickets + [ticket for ticket, _ in self._tickets])
        self._tickets.clear()

    # ---- handing out

    def _house(self, now_s: float) -> None:
        """Attempts that were taken back go to whoever is free, or are given back free of charge."""
        while self._homeless:
            attempt, since = self._homeless[0]
            slot = next((slot for slot in self._slots if slot.takes_work and not slot.attempts), None)
            if self._draining_since is None and slot is not None and slot.hand(attempt):
                self._homeless.popleft()
            elif self._draining_since is not None or now_s - since > HOMELESS_S:
                self._homeless.popleft()
                self._end(attempt, Outcome(status=ExecutionStatus.RELEASED, error="it found no free executor"))
            else:
                return

    def _next_tickets(self) -> list[Ticket]:
        """As many as can start now; what has waited too long behind long jobs goes back to the queue."""
        if self._homeless or self._draining_since is not None:
            return []
        room = {slot: len(slot.attempts) for slot in self._slots if slot.takes_work}
        chosen: list[Ticket] = []
        while self._tickets:
            ticket = self._tickets[0][0]
            ahead = self._pace.ahead(ticket.task)
            slot = min(room, key=lambda slot: room[slot], default=None)
            if slot is None or room[slot] >= self._depth(slot, ahead):
                break
            room[slot] += 1
            chosen.append(ticket)
            self._tickets.popleft()
        self._release_waiting()
        return chosen

    def _depth(self, slot: Slot, ahead: int) -> int:
        """How many attempts it may have at all: one behind a job that is long or may be."""
        return min([ahead, *(self._pace.ahead(attempt.job.task) for attempt in slot.attempts)])

    def _release_waiting(self) -> None:
        overdue = self._world.monotonic() - HOMELESS_S
        late = [ticket for ticket, since in self._tickets if since < overdue]
        if late:
            self._tickets = deque((ticket, since) for ticket, since in self._tickets if since >= overdue)
            self._release(late)

    def _start(self, begun: list[tuple[Ticket, Job]]) -> None:
        slots = [slot for slot in self._slots if slot.takes_work]
        for ticket, job in begun:
            attempt = Attempt(job=job, ticket=ticket)
            slot = min(slots, key=lambda slot: len(slot.attempts), default=None)
            if slot is None or not slot.hand(attempt):
                self._shelter([attempt])

    # ---- the queue

    def _reach_queue(self) -> None:
        if self._queue is None:
            self._queue = self._network.connect(self._queue_address)
            self._wanted = 0

    def _ask_for_more(self) -> None:
        if self._draining_since is not None or self._store_fault is not None:
            return
        takers = [slot for slot in self._slots if slot.takes_work]
        each = self._pace.expected()
        ahead = len(takers) * each if each > 1 else 0
        free = sum(max(0, each - len(slot.attempts)) for slot in takers)
        want = max(0, free + ahead - len(self._tickets) - len(self._homeless))
        if want != self._wanted and (want > self._wanted or want == 0) and self._say(Want(count=want, worker=self._name)):
            self._wanted = want

    def _keep_leases(self) -> None:
        now = self._world.monotonic()
        if now < self._extend_at:
            return
        self._extend_at = now + self._settings.lease_s / 3
        held = [ticket for ticket, _ in self._tickets] + [attempt.ticket for attempt in self._attempts()]
        if held:
            self._say(Extend(leases=_leases(held)))

    def _attempts(self) -> list[Attempt]:
        running = [attempt for slot in self._slots for attempt in slot.attempts]
        return running + [attempt for attempt, _ in self._homeless] + [end.attempt for end in self._ended]

    def _ack(self, tickets: list[Ticket]) -> None:
        if tickets:
            self._say(Ack(leases=_leases(tickets)))

    def _release(self, tickets: list[Ticket]) -> None:
        if tickets:
            self._say(Release(leases=_leases(tickets)))

    def _say(self, message: Message) -> bool:
        return self._queue is not None and self._queue.send(message)

    def _wake_watcher(self, due_at: object) -> None:
        assert isinstance(due_at, datetime)
        watchers = self._run_dir.components("watcher")
        if watchers and (due_at - self._world.now()).total_seconds() < 2 * self._settings.poll_s:
            self._wakes += 1
            self._network.hint(watchers[self._wakes % len(watchers)], Wake(due_at=due_at))

    # ---- time

    def _sleep_s(self) -> float:
        now = self._world.monotonic()
        if any(slot.dying for slot in self._slots):
            return 0.0
        dues = [now + IDLE_S]
        if self._queue is None:
            dues.append(now + RECONNECT_S)
        if self._store_fault is not None:
            dues.append(self._store_retry_at)
        if self._homeless or self._tickets:
            dues.append(now + STUCK_S)
        running = [slot for slot in self._slots if slot.attempts]
        if running:
            self._look_for_cancels(now)
            dues += [self._extend_at, self._cancel_look_at]
            dues += [self._deadlines.next_step_at(slot.attempts[0], self._draining_since) for slot in running]
            dues += [now + STUCK_S for slot in running if len(slot.attempts) > 1]
            dues += [self._memory_look_at] if self._settings.child_memory_mb else []
        return max(0.0, min(dues) - now)

    def _look_for_cancels(self, now: float) -> None:
        """The safety net under the hint, and how the request of another host arrives."""
        if now < self._cancel_look_at:
            return
        self._cancel_look_at = now + self._settings.poll_s
        try:
            for job_id in self._store.cancel_requests(self._owner):
                self._cancel(job_id)
        except StoreUnavailable:
            return

    # ---- questions

    def _health(self) -> Message:
        if self._queue is None:
            return Refused(code="unavailable", message=f"{self._queue_address} does not answer", retry_after_s=1)
        if self._store_fault is not None:
            return Refused(code="database_unavailable", message=self._store_fault, retry_after_s=1)
        return Json(body=msgspec.json.encode({"status": "healthy"}))

    def _stats(self) -> Message:
        now = self._world.monotonic()
        executors = [
            {
                "pid": slot.pid, "job_id": slot.current.job.job_id if slot.current else None,
                "running_s": round(now - (slot.current.started_at or now), 3) if slot.current else 0,
            }
            for slot in self._slots
        ]  # fmt: skip
        return Json(
            body=msgspec.json.encode(
                {
                    "worker_id": self._name, "concurrency": self._settings.concurrency,
                    "currently_running": sum(slot.current is not None for slot in self._slots), **self.counts,
                    "last_execution_time": rfc3339(self._last_execution), "executors": executors,
                    "uptime_s": round(now - self._started, 3),
                }
            )
        )  # fmt: skip


def _leases(tickets: list[Ticket]) -> list[tuple[str, int]]:
    return [(ticket.job_id, ticket.epoch) for ticket in tickets]


def _first_line(text: str | None) -> str:
    return (text or "").split("\n")[0][:200]
