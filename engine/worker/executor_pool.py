"""All executors of a worker: forks as many as jobs run at once, sends them attempts, and brings every attempt to an end.

    hand ──▶ slot ──▶ Done ──────────────▶ Ended
              │  ├──▶ the executor dies ─▶ Ended (crashed)
              │  └──▶ the template dies ─▶ Ended (lost)
              └── taken back unread (behind a long one, or its executor ends) ──▶ unplaced ──▶ another slot, or Ended (unstarted)

One more executor is kept warm than is busy with jobs that are not short; further ones exit after a while without work. The worker
collects what has ended and settles it in the store. Nothing here knows the store or the queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from jobyard.engine.config import Settings
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Output, Progress
from jobyard.engine.logs import Log
from jobyard.engine.wire.hub import Peer
from jobyard.engine.wire.messages import Done, Progressed
from jobyard.engine.worker.deadlines import Deadlines, death_words
from jobyard.engine.worker.duration_estimates import DurationEstimates
from jobyard.engine.worker.slot import LONG_S, Attempt, Key, Slot
from jobyard.engine.worker.slot_allocator import SlotAllocator
from jobyard.engine.worker.template_client import TemplateClient
from jobyard.engine.world import World

NOTHING: Mapping[str, str] = MappingProxyType({})
UNPLACED_S = 0.5
"""How long an attempt may wait for a slot before it is returned to the store."""
WITHOUT_TEMPLATE_S = 3.0
"""How long an attempt may wait while no template is connected; a new one usually starts sooner."""
BROKEN_OFF_S = 0.2
MEMORY_LOOK_S = 0.5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
WARM_S = 3.0
"""How long an idle executor is kept, unless it is the last one."""
LEAVE_S = 5.0
"""How long an executor may take to exit, `on_child_stop` included."""
SUSPECT_AFTER = 3
"""An executor is replaced after this many failures in a row of tasks that succeed in other executors."""
STILLBORN_SHOWN = 3
LOST = "the template process that its executor was forked from died"


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that waits to be settled, and its outcome; None if its task never started."""

    attempt: Attempt
    outcome: Outcome | None


class ExecutorPool:
    """The executors of one worker and their attempts."""

    def __init__(self, *, settings: Settings, world: World, log: Log, templates: TemplateClient) -> None:
        self._settings = settings
        self._world = world
        self._log = log
        self._templates = templates
        self._spawn_at = self._memory_look_at = world.monotonic()
        self._pause_s = 0.0
        self._stillborn = 0
        self._succeeded_at: dict[str, float] = {}
        self._deadlines = Deadlines(world, drain_s=settings.drain_s)
        self._unplaced: deque[tuple[Attempt, float]] = deque()
        self._ended: list[Ended] = []
        self._draining_since: float | None = None
        self._durations = DurationEstimates()
        self.slots: list[Slot] = []

    @property
    def is_empty(self) -> bool:
        """Whether every executor has exited after `drain`, and nothing waits."""
        return not self.slots and not self._unplaced and not self._ended

    @property
    def is_busy(self) -> bool:
        """Whether anything runs or waits to run."""
        return bool(self._unplaced) or any(slot.attempts for slot in self.slots)

    @property
    def fault(self) -> str | None:
        """Why no jobs can run here, in words; None if they can."""
        if self._stillborn >= STILLBORN_SHOWN:
            return f"the last {self._stillborn} executors ended before their first job; the log has what they printed"
        return self._templates.fault

    def allocator(self) -> SlotAllocator:
        """How many attempts each slot can take now."""
        limit = self._settings.max_jobs_per_child
        now = self._world.monotonic()
        return SlotAllocator(self.slots, self._durations, now=now, max_jobs_per_child=limit, spare=self._spare())

    def room(self) -> tuple[int, int]:
        """The units that are free, and those for short jobs ahead; see `wire.capacity`."""
        return self.allocator().room(attempt.job.task for attempt, _ in self._unplaced)

    def costs(self) -> dict[str, int]:
        """The units of a job by task; the same object as long as nothing has changed."""
        return self._durations.costs

    def hand(self, jobs: Iterable[Job], waited_for: Mapping[str, str] = NOTHING) -> None:
        """Run jobs that have begun in the store, each in the slot that has the least to do. `waited_for`: of `Attempt`, by id."""
        self._requeue(Attempt(job=job, waited_for=waited_for.get(job.job_id)) for job in jobs)
        self._place()

    def give_back(self, jobs: Iterable[Job]) -> None:
        """Jobs that have begun in the store and must not start here."""
        self._ended += [Ended(Attempt(job=job), None) for job in jobs]

    def ended_keys(self) -> list[Key]:
        """The leases of what has ended and was not collected."""
        return [end.attempt.key for end in self._ended]

    def collect(self) -> list[Ended]:
        """The attempts that have ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def attempts(self) -> Iterator[Attempt]:
        """All attempts that have begun here and have not ended."""
        for slot in self.slots:
            yield from slot.attempts
        yield from (attempt for attempt, _ in self._unplaced)

    def output_of(self, job_id: str, attempt: int) -> Output | None:
        """The output of an attempt so far; None if the attempt is not here."""
        for slot in self.slots:
            for one in slot.attempts:
                if (one.job.job_id, one.job.attempt) == (job_id, attempt):
                    return slot.output_of(one) or Output(job_id=job_id, attempt=attempt)
        return None

    def cancel(self, job_id: str) -> None:
        """End the attempt at this job, because its cancellation was requested."""
        for attempt in self.attempts():
            if attempt.job.job_id == job_id:
                self._deadlines.begin_end(attempt, ExecutionStatus.CANCELLED)

    def abandon(self) -> int:
        """End everything at once, without using up retries: the host is about to lose its lease. Returns how many attempts."""
        ended = 0
        for attempt in self.attempts():
            if attempt.ending is None:
                attempt.ending, attempt.crash = ExecutionStatus.RELEASED, "handed back: the database was out of reach for too long"
                ended += 1
        for slot in self.slots:
            if slot.attempts:
                slot.handle.kill()
        return ended

    def drain(self) -> None:
        """Fork no more executors; what runs may continue for DRAIN_S."""
        self._draining_since = self._world.monotonic()

    def hasten(self) -> None:
        """End now what `drain` lets continue."""
        self._deadlines.end_drain()

    # ---- reports of executors

    def note_done(self, peer: Peer | None, done: Done) -> None:
        """An executor reports the end of an attempt."""
        slot = next((slot for slot in self.slots if slot.handle.peer is peer), None)
        attempt = slot.done(done) if slot is not None else None
        if slot is None or attempt is None:
            self._log.warning("report_ignored", job_id=done.job_id, attempt=done.attempt)
            return
        self._pause_s, self._stillborn = 0.0, 0
        if done.outcome.status is ExecutionStatus.SUCCESS:  # how fast a task fails does not tell how long it takes
            self._durations.note(attempt.job.task, done.elapsed_s)
            self._succeeded_at[attempt.job.task] = self._world.monotonic()
        self._ended.append(Ended(attempt, self._deadlines.outcome_of(attempt, done.outcome)))
        is_worn = self._settings.max_jobs_per_child and slot.runs >= self._settings.max_jobs_per_child
        if is_worn or done.is_spent or attempt.step or self._is_suspect(slot, attempt.job.task):
            self._requeue(slot.retire())

    def note_progress(self, peer: Peer | None, told: Progressed) -> None:
        """A task reports its progress."""
        slot = next((slot for slot in self.slots if slot.handle.peer is peer), None)
        current = slot.current if slot is not None else None
        if current is not None and (current.job.job_id, current.job.attempt) == (told.job_id, told.attempt):
            current.progress = Progress(fraction=told.fraction, note=told.note, at=self._world.now())
            self._log.info("job_progressed", job_id=told.job_id, attempt=told.attempt, fraction=told.fraction, note=told.note)

    def note_closed(self, peer: Peer | None) -> None:
        """An executor's stream of reports has ended: it exited, which its pidfd shows soon, or its task closed the stream."""
        for slot in self.slots:
            if slot.handle.peer is peer:
                slot.broke_off_at = self._world.monotonic()

    def note_ready(self, fd: int) -> None:
        """A task printed something, or an executor exited."""
        for slot in self.slots:
            if fd == slot.handle.output_fd:
                slot.read_output()

    def dead(self) -> list[Slot]:
        """The slots whose executors were seen dead in an earlier tick: all of their reports are in the inbox of this tick."""
        return [slot for slot in self.slots if slot.dying]

    def reap(self, dead: list[Slot]) -> None:
        """Call after the inbox was handled: a message about a descriptor must not reach a new executor with the same number."""
        for slot in dead:
            self._requeue(slot.take_back())
            slot.reap()
            handle = slot.handle
            words = LOST if handle.is_lost else death_words(handle.status)
            self.slots.remove(slot)
            status = ExecutionStatus.LOST if handle.is_lost else ExecutionStatus.CRASHED
            for attempt in slot.attempts:
                error = words if handle.is_lost else attempt.crash or words
                self._ended.append(Ended(attempt, self._deadlines.outcome_of(attempt, Outcome(status=status, error=error))))
            if not handle.has_lived:
                self._pause()
            if slot.retiring or handle.is_lost or not handle.has_lived:
                continue
            self._log.info("executor_died", pid=handle.pid, reason=words, jobs_run=slot.runs)
            if not slot.runs and not slot.attempts:  # it never started a job: the next one may do no better
                self._stillborn += 1
                self._pause()

    # ---- timers

    def look_after(self) -> None:
        """Handle timeouts, cancellations, memory limits, short jobs behind a long one, unplaced attempts, the end of a drain."""
        now = self._world.monotonic()
        self._templates.look_after()
        for slot in self.slots:
            slot.has_read = False
            slot.dying = slot.dying or slot.handle.is_dead
            slot.note_birth()
            current = slot.current
            if current is None or slot.dying or slot.handle.has_exited:
                continue
            self._deadlines.look(current, draining_since=self._draining_since)
            is_stuck = len(slot.attempts) > 1 and (current.ending is not None or slot.is_behind_long(now))
            if is_stuck or (current.ending is not None and not slot.handle.has_lived):
                self._requeue(slot.take_back())
            self._deadlines.step(slot, current)
        self._end_broken_off(now)
        self._look_at_memory(now)
        self._retire(now)
        self._place()
        self._fill()

    def next_look_at(self) -> float:
        """When `look_after`, `reap` or `collect` has something to do, in monotonic seconds."""
        now = self._world.monotonic()
        if self._ended or any(slot.dying for slot in self.slots):
            return now
        dues, wanted = [float("inf")], self._wanted()
        for slot in self.slots:
            if slot.handle.has_exited:
                continue
            if slot.retiring and not slot.attempts:
                dues.append(slot.retired_at + LEAVE_S)
            elif slot.broke_off_at is not None:
                dues.append(slot.broke_off_at + BROKEN_OFF_S)
            elif not slot.attempts and len(self.slots) > wanted:
                dues.append(slot.idle_since + WARM_S)
            if slot.attempts:
                dues.append(self._deadlines.next_step_at(slot.attempts[0], self._draining_since))
                if not slot.is_behind_long(now):
                    dues.append((slot.attempts[0].started_at or now) + LONG_S)
                elif len(slot.attempts) > 1:
                    dues.append(now + LONG_S)
        if self._unplaced:
            dues.append(now + LONG_S)
        if self._settings.child_memory_mb:
            dues.append(self._memory_look_at)
        if len(self.slots) < wanted and self._draining_since is None and self._templates.is_open:
            dues.append(self._spawn_at)
        return min([*dues, self._templates.next_look_at()])

    def _end_broken_off(self, now: float) -> None:
        """An executor that is alive but has no stream of reports can never report a result."""
        for slot in self.slots:
            if slot.broke_off_at is None or slot.dying or (slot.retiring and not slot.attempts):
                continue
            if now >= slot.broke_off_at + BROKEN_OFF_S:
                self._end_child(slot, "the task closed the line on which its result was to come")
                slot.broke_off_at = now

    def _look_at_memory(self, now: float) -> None:
        limit_mb = self._settings.child_memory_mb
        if not limit_mb or now < self._memory_look_at:
            return
        self._memory_look_at = now + MEMORY_LOOK_S
        for slot in self.slots:
            used_mb = slot.handle.memory() >> 20
            if used_mb > limit_mb:
                self._end_child(slot, f"out of memory: {used_mb} MiB used, CHILD_MEMORY_MB allows {limit_mb}")

    def _end_child(self, slot: Slot, why: str) -> None:
        """Kill an executor for what its current attempt did; that attempt is charged."""
        self._requeue(slot.take_back())
        if slot.current is not None:
            slot.current.crash = why
            self._deadlines.spare_others(slot)
        slot.handle.kill()

    def _requeue(self, attempts: Iterable[Attempt]) -> None:
        now = self._world.monotonic()
        self._unplaced.extend((attempt, now) for attempt in attempts)

    def _place(self) -> None:
        """Attempts without a slot go to one that is free; those that wait too long are returned to the store."""
        if not self._unplaced:
            return
        allocator = self.allocator()
        now = self._world.monotonic()
        patience_s = self._patience_s(now)
        waiting, self._unplaced = self._unplaced, deque()
        for attempt, since in waiting:
            may_run = self._draining_since is None and attempt.ending is None
            share = allocator.take(attempt.job.task) if may_run else None
            if share is not None:
                share.slot = share.slot or self._new_slot()
                if share.slot is not None and share.slot.hand(attempt):
                    continue
            if may_run and now - since < patience_s:
                self._unplaced.append((attempt, since))
            else:
                self._ended.append(Ended(attempt, None))

    def _patience_s(self, now: float) -> float:
        """How long an attempt may wait for a slot: not behind long jobs, since it might run elsewhere."""
        if not self._templates.is_open:
            return WITHOUT_TEMPLATE_S
        return UNPLACED_S if any(self._moves_on(slot, now) for slot in self.slots) else LONG_S

    def _moves_on(self, slot: Slot, now: float) -> bool:
        """Whether the slot is free soon."""
        if not slot.takes_work or slot.is_behind_long(now):
            return False
        return slot.current is None or not self._durations.is_known_long(slot.current.job.task)

    def _retire(self, now: float) -> None:
        """Let executors exit that are not needed or were forked from an older template; kill those that do not exit."""
        idle = [slot for slot in self.slots if slot.takes_work and not slot.attempts]
        spare = len(self.slots) - self._wanted()
        for slot in self.slots:
            if slot.handle.is_outdated and not slot.retiring and not slot.dying:
                self._requeue(slot.retire())
            elif slot.retiring and not slot.attempts and not slot.dying and now >= slot.retired_at + LEAVE_S:
                slot.handle.kill()
                slot.retired_at = now
        for slot in sorted(idle, key=lambda slot: slot.idle_since):
            if self._draining_since is not None:
                slot.retire()
            elif spare > 0 and now >= slot.idle_since + WARM_S:
                slot.retire()
                spare -= 1

    def _is_suspect(self, slot: Slot, task: str) -> bool:
        """Whether the executor, rather than the task, seems to be at fault."""
        if slot.failures_in_a_row == 1:
            slot.failing_since = self._world.monotonic()
        return slot.failures_in_a_row >= SUSPECT_AFTER and self._succeeded_at.get(task, 0.0) > slot.failing_since

    def _wanted(self) -> int:
        """How many executors there should be: one more than are busy with jobs that are not short, so that one is warm."""
        now = self._world.monotonic()
        busy = sum(
            slot.retiring or job.ending is not None or slot.is_behind_long(now) or self._durations.is_known_long(job.job.task)
            for slot in self.slots
            if (job := slot.current) is not None
        )
        return min(self._settings.concurrency, busy + 1)

    def _spare(self) -> int:
        """How many more executors may be forked now."""
        may_fork = self._draining_since is None and self._templates.is_open and self._world.monotonic() >= self._spawn_at
        return max(0, self._settings.concurrency - len(self.slots)) if may_fork else 0

    def _fill(self) -> None:
        """Fork as many as are wanted; if one cannot be started, retry after a pause."""
        while len(self.slots) < self._wanted() and self._spare() and self._new_slot() is not None:
            pass

    def _new_slot(self) -> Slot | None:
        try:
            slot = Slot(self._templates.spawn(), world=self._world, log=self._log)
        except OSError as fault:
            self._log.error("executor_not_started", reason=fault.strerror)
            self._pause()
            return None
        self.slots.append(slot)
        return slot

    def _pause(self) -> None:
        self._pause_s = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause_s))
        self._spawn_at = self._world.monotonic() + self._pause_s
