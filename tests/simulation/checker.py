"""The invariants, checked at every change in the store and every start of a task against what really happened.

The checker sees everything: what each child runs, which processes are dead, what clients were answered. Each rule names the
invariant of the design that it checks.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from jobyard.engine.config import Settings
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Status, at_least
from jobyard.engine.jobs.lifecycle import TABLE, Change, Verb
from jobyard.engine.limits.rules import is_implicit
from jobyard.engine.wire.messages import Run
from tests.simulation.event_queue import EventQueue, Violation
from tests.support.world import START

if TYPE_CHECKING:
    from tests.simulation.children import SimulatedChild
    from tests.simulation.process import Process
    from tests.simulation.store import SharedStore

CHARGED = (ExecutionStatus.FAILED, ExecutionStatus.TIMEOUT, ExecutionStatus.CRASHED)
URGENT_S = 1.5
ISOLATED_SHARE = 0.8
LATE_POLLS = 8
"""A look of a watcher may fail or take long just when the faults end."""


@dataclass
class Attempt:
    """What really happened to an attempt: begun in the store by `owner`, started in a child, ended."""

    owner: str
    begun_at: float
    started_at: float | None = None
    ended_at: float | None = None
    reported: Outcome | None = None
    child: SimulatedChild | None = None


@dataclass
class History:
    """What happened to a job."""

    attempts: dict[int, Attempt] = field(default_factory=dict)
    charged: int = 0
    was_cancelled_at: float | None = None


def _because_of_others(job: Job) -> bool:
    because = job.cancelled_because
    return because is not None and because.reason not in ("expired", "replaced", "limit_full")


class Checker:
    """See the module."""

    store: SharedStore

    def __init__(self, event_queue: EventQueue, settings: Settings) -> None:
        self._queue = event_queue
        self._settings = settings
        self.alive: dict[str, Process] = {}
        self.draining: set[str] = set()
        self.left: set[str] = set()
        self.paused: set[str] = set()
        self.isolated: set[str] = set()
        self.purged: set[str] = set()
        self.deadlines: dict[str, float] = {}
        self.heartbeats: dict[str, float] = {}
        self.accepted: dict[str, str] = {}
        self.clocks_are_right = True
        self.faults_over_since: float | None = None
        self.histories: defaultdict[str, History] = defaultdict(History)
        self.verbs: Counter[Verb] = Counter()
        self.ready_since: dict[str, float] = {}

    @property
    def now(self) -> float:
        """Simulated time."""
        return self._queue.now

    # ---- answers to clients

    def note_accepted(self, job_ids: list[str], key: str | None) -> None:
        """No acknowledged job is lost: it is in the store from the moment of the answer."""
        for job_id in job_ids:
            self._require(self._is_known(job_id), f"{job_id} was acknowledged and is not stored")
            self.accepted[job_id] = key or ""
        if key is not None:
            same = [job.job_id for job in self.store.all_jobs() if job.idempotency_key == key]
            self._require(same == job_ids or job_ids[0] in self.purged, f"the key {key} belongs to {same}, not to {job_ids}")

    def note_refused(self, job_ids: list[str], words: str) -> None:
        """A request that was refused stored nothing."""
        stored = [job_id for job_id in job_ids if self.store.job(job_id) is not None]
        self._require(not stored, f"{stored} was refused ({words}) and is stored")

    def is_finished(self, job_id: str) -> bool:
        """Whether the job is in a final state, or was purged."""
        job = self.store.job(job_id)
        return job_id in self.purged or (job is not None and lifecycle.is_terminal(job))

    def unfinished(self) -> list[Job]:
        """All jobs that are not in a final state."""
        return [job for job in self.store.all_jobs() if not lifecycle.is_terminal(job)]

    # ---- changes in the store

    def note_inserted(self, job: Job) -> None:
        """T1: no submission is stored after its client has given up."""
        self._require(self._queue.now <= self.deadlines[job.job_id], "stored after its deadline", job)

    def note_claimed(self, before: Job, after: Job, now: datetime) -> None:
        """T2 to T4: no job is claimed before it is due; it begins at a worker of the watcher's own host."""
        self.verbs[Verb.CLAIM] += 1
        self.verbs[Verb.BEGIN] += 1
        self._require(before.status is Status.PENDING, f"claimed while {before.status}", before)
        self._require(before.scheduled_at <= now, f"claimed at {now}, due {before.scheduled_at}", before)
        self._require(after.epoch == before.epoch + 2, "claimed without a new epoch", before)
        self._check_begin(before, after, self.histories[before.job_id])

    def note_changed(self, before: Job, after: Job, change: Change, writer: Process) -> None:
        """Every other transition."""
        verb = change.verb
        self.verbs[verb] += 1
        is_legal = after.status in TABLE.get((before.status, verb), ())
        self._require(is_legal, f"{verb} led from {before.status} to {after.status}", before)
        rises = verb is not Verb.REQUEST_CANCEL
        self._require(after.epoch == before.epoch + rises, f"epoch {before.epoch} became {after.epoch}", before)
        if before.status in lifecycle.TERMINAL:
            self._require(verb is Verb.RETRY, f"{verb} after the end", before)
        history = self.histories[before.job_id]
        if verb is Verb.RETRY:
            history.charged = 0
            history.was_cancelled_at = None
        if verb is Verb.RETURN:
            self._check_return(before, after, history, writer)
        elif before.status is Status.RUNNING and verb is not Verb.REQUEST_CANCEL:
            self._check_end(before, after, change, writer)
        if before.status is Status.BLOCKED and (verb is Verb.UNBLOCK or _because_of_others(after)):
            self._check_judgement(before, after)
        if verb is Verb.CANCEL:
            history.was_cancelled_at = self._queue.now
        if verb is Verb.RECOVER and before.status is not Status.RUNNING:
            may = writer.name.startswith("queue-") or before.claimed_by == writer.owner or self._is_gone(before.claimed_by)
            self._require(may, f"{writer.owner} gives back a job that is not its own", before)
        self._check_counts(before, after, verb)

    def note_purged(self, job: Job) -> None:
        """T16: only jobs that finished long enough ago are purged."""
        self._require(lifecycle.is_terminal(job) and job.finished_at is not None, "purged before its end", job)
        if self.clocks_are_right:
            age_s = self._queue.now - (job.finished_at - START).total_seconds()  # type: ignore[operator]
            kept_s = self._settings.retention_failed_s if job.status is Status.FAILED else self._settings.retention_s
            self._require(age_s >= kept_s > 0, f"purged {age_s} s after its end", job)
        for other in self.unfinished():
            named = {(one.job_id, one.group) for one in other.after or ()}
            is_read = (job.job_id, None) in named or (job.group is not None and (None, job.group) in named)
            self._require(not is_read, f"purged while {_describe(other)} may read it", job)
        self.purged.add(job.job_id)
        self.histories.pop(job.job_id, None)  # a request that is repeated after so long is a new one

    def note_renewed(self, process: Process, sent_at: float) -> None:
        """A heartbeat sent at that time is stored; a process that could not send one for most of a lease must release its jobs."""
        if self._is_isolated(process):
            self.isolated.add(process.owner)
        self.heartbeats[process.owner] = sent_at

    def _check_begin(self, before: Job, after: Job, history: History) -> None:
        watcher, worker = after.claimed_by or "", after.locked_by or ""
        self._require(watcher.split(":")[:2] == worker.split(":")[:2], f"{watcher} began it at {worker}", before)
        is_new = after.attempt == before.attempt + 1 and after.attempt not in history.attempts
        self._require(is_new, "attempts are not counted", before)
        if self.clocks_are_right:
            early_s = self.due_at(before) - self._queue.now
            self._require(early_s < 0.002, f"begun {early_s} s before its time", before)
        self._require(history.was_cancelled_at is None, "begun after it was cancelled", before)
        history.attempts[after.attempt] = Attempt(owner=worker, begun_at=self._queue.now)
        self._check_order(before)

    def _check_return(self, before: Job, after: Job, history: History, writer: Process) -> None:
        """A begin is undone only by those who know that no child has run the task, and leaves no attempt."""
        attempt = history.attempts.pop(before.attempt)
        self._require(attempt.started_at is None, "returned after its task had started", before)
        self._require(writer.owner in (before.locked_by, before.claimed_by), f"returned by {writer.owner}", before)
        self._require(after.attempt == before.attempt - 1, "an attempt that never started is counted", before)

    def _check_order(self, begun: Job) -> None:
        """Once the faults are over, no more urgent job waits for long while others begin; those under limits take turns."""
        if begun.lane is not None or begun.limit is not None or any(is_implicit(one.name) for one in self.store.limits.all()):
            return
        if self.faults_over_since is None or self._queue.now < self.faults_over_since + self._settings.lease_s + 5:
            return
        for job in self.store.all_jobs():
            more_urgent = (-job.priority, job.scheduled_at) < (-begun.priority, begun.scheduled_at)
            is_limited = job.lane is not None or job.limit is not None
            if job.status is Status.PENDING and more_urgent and not is_limited and self._since(job) < self._queue.now - URGENT_S:
                raise Violation(f"{_describe(begun)} begins while {_describe(job)} waits since {self._since(job)}")

    def _since(self, job: Job) -> float:
        """Since when the job could have begun; some wait for others in their lane, or for those that kill workers, too."""
        is_next = job.lane is None or not any(other.lane == job.lane and other is not job for other in self.unfinished())
        if not is_next or lifecycle.is_last_chance(job, max_lost=self._settings.max_lost):
            return self._queue.now
        return max(self.due_at(job), (job.updated_at - START).total_seconds())

    def _check_end(self, before: Job, after: Job, change: Change, writer: Process) -> None:
        """An execution ends as its child did, and only its holder ends it, or a process that knows the holder to be dead."""
        row = change.execution
        attempt = self.histories[before.job_id].attempts[before.attempt]
        if row is None or row.attempt != before.attempt or row.finished_at is None:
            raise Violation(f"{change.verb} of {_describe(before)} without the end of its execution")
        if change.verb is Verb.RECOVER:
            self._require(row.status is ExecutionStatus.LOST, f"recovered as {row.status}", before)
            if before.locked_by == writer.owner:
                self._require(not self._runs(attempt), "lost while its child runs it", before)
                self._require(attempt.child is None or attempt.child.is_orphan, "lost, but its template is alive", before)
                return
            left_it = before.locked_by in self.left and attempt.started_at is not None
            self._require(not left_it, f"{before.locked_by} stopped cleanly without settling it", before)
            self._require(self._is_gone(before.locked_by), f"{before.locked_by} is alive and its job was recovered", before)
            paused = before.locked_by in self.paused
            self._require(not self._runs(attempt) or paused, "recovered while a child of the dead process runs it", before)
            return
        self._require(before.locked_by == writer.owner, f"{writer.owner} settled what {before.locked_by} runs", before)
        self._require(not self._runs(attempt), f"settled as {row.status} while its child runs it", before)
        self._check_status(before, after, row.status, attempt, writer)
        if row.status in CHARGED:
            self.histories[before.job_id].charged += 1
        if change.verb is Verb.POSTPONE:
            wish_s = attempt.reported.retry_delay_s if attempt.reported and row.status is ExecutionStatus.FAILED else None
            wait = at_least((before.retry_count + 1) ** 2 * self._settings.retry_base_s if wish_s is None else wish_s)
            waits = after.scheduled_at - after.updated_at
            self._require(waits == wait, f"the retry waits {waits} and should {wait}", before)

    def _check_status(self, job: Job, after: Job, status: ExecutionStatus, attempt: Attempt, writer: Process) -> None:
        reported = attempt.reported
        if status is ExecutionStatus.SUCCESS:
            self._require(reported is not None and reported.result == after.result, f"completed with {after.result!r}", job)
        elif status is ExecutionStatus.FAILED:
            self._require(reported is not None and reported.status is status, "failed by no report of its child", job)
        elif status is ExecutionStatus.CRASHED:
            is_fair = reported is None and attempt.started_at is not None
            self._require(is_fair, "crashed without having started, or after its report", job)
        elif status is ExecutionStatus.TIMEOUT:
            ran_s = (attempt.ended_at or 0) - (attempt.started_at or float("inf"))
            is_over = ran_s >= job.timeout_s - 0.01 or attempt.owner in self.paused
            self._require(is_over, f"timed out after {ran_s} s of {job.timeout_s}", job)
        elif status is ExecutionStatus.CANCELLED:
            self._require(job.cancel_requested_at is not None, "cancelled without a request", job)
        elif status is ExecutionStatus.RELEASED:
            is_asked = attempt.owner in self.draining or attempt.owner in self.isolated or self._is_isolated(writer)
            self._require(attempt.started_at is None or is_asked, "released after it had started, for no reason", job)

    def _check_counts(self, before: Job, job: Job, verb: Verb) -> None:
        history = self.histories[job.job_id]
        retries = 0 if verb is Verb.RETRY else before.retry_count + (verb is Verb.POSTPONE)
        self._require(job.retry_count == retries, f"{verb} made {job.retry_count} of {before.retry_count} retries", job)
        is_loss = verb is Verb.RECOVER and before.status is Status.RUNNING
        losses = 0 if verb is Verb.RETRY else before.lost_count + is_loss
        self._require(job.lost_count == losses, f"{verb} made {job.lost_count} of {before.lost_count} losses", job)
        self._require(history.charged <= 1 + job.max_retries, f"charged {history.charged} times", job)
        self._require(job.lost_count <= self._settings.max_lost, f"lost {job.lost_count} times", job)
        self._require((job.status is Status.RUNNING) == (job.locked_by is not None), "its lock and its status disagree", job)
        if job.cancel_requested_at is not None:
            may = (Status.RUNNING, Status.CANCELLED, Status.COMPLETED)
            self._require(job.status in may, "a request to cancel was forgotten", job)

    # ---- waiting for others

    def wants(self, job: Job) -> Status:
        """What must become of a blocked job, by what really happened to all that it waits for."""
        waited = [other for other in self.store.all_jobs() if _is_waited_for(other, job)]
        bad = [other for other in waited if other.status in (Status.FAILED, Status.CANCELLED)]
        if job.run_if == "completed" and bad:
            return Status.CANCELLED
        if not all(map(lifecycle.is_terminal, waited)):
            return Status.BLOCKED
        return Status.CANCELLED if job.run_if == "failed" and not bad else Status.PENDING

    def check_blocked(self) -> None:
        """Once the faults are over, no job is blocked for long although what it waits for has ended."""
        blocked = [job for job in self.unfinished() if job.status is Status.BLOCKED and self.wants(job) is not Status.BLOCKED]
        self.ready_since = {job.job_id: self.ready_since.get(job.job_id, self._queue.now) for job in blocked}
        for job in blocked:
            late_s = self._queue.now - self.ready_since[job.job_id]
            self._require(late_s <= LATE_POLLS * self._settings.poll_s, f"blocked for {late_s} s and wants {self.wants(job)}", job)

    def _check_judgement(self, before: Job, after: Job) -> None:
        self._require(self.wants(before) is after.status, f"became {after.status} and wants {self.wants(before)}", before)
        because = after.cancelled_because
        if because is not None and because.job_id is not None:
            cause = self.store.job(because.job_id)
            self._require(cause is not None and lifecycle.is_terminal(cause), f"cancelled because of {because.job_id}", before)

    # ---- children

    def note_start(self, run: Run, owner: str, child: SimulatedChild) -> None:
        """A task starts: its attempt is in the store, no other child runs the job, and this attempt never ran before."""
        job = self.store.job(run.job_id)
        attempt = self.histories[run.job_id].attempts.get(run.attempt)
        if job is None or attempt is None:
            raise Violation(f"{run.job_id} attempt {run.attempt} starts and was not begun")
        self._require(attempt.started_at is None, f"attempt {run.attempt} starts twice", job)
        self._require(attempt.owner == owner, f"attempt {run.attempt} of {attempt.owner} starts at {owner}", job)
        running = [number for number, other in self.histories[run.job_id].attempts.items() if self._runs(other)]
        others = [number for number in running if not self._is_lost(job, number)]
        self._require(not others, f"attempt {run.attempt} starts while {others} run", job)
        is_held = (job.status, job.attempt, job.epoch, job.locked_by) == (Status.RUNNING, run.attempt, run.epoch, owner)
        may_be_late = owner not in self.alive or (owner in self.paused and self._is_lost(job, run.attempt))
        self._require(is_held or may_be_late, f"attempt {run.attempt} starts and is not held", job)
        attempt.started_at, attempt.child = self._queue.now, child

    def note_report(self, run: Run, outcome: Outcome) -> None:
        """The child reports how the attempt ended."""
        attempt = self.histories[run.job_id].attempts[run.attempt]
        attempt.reported, attempt.ended_at = outcome, self._queue.now

    def note_killed(self, run: Run) -> None:
        """The child died while it ran the attempt; after a pause of its host the job may already be purged."""
        if run.job_id in self.histories and run.attempt in self.histories[run.job_id].attempts:
            self.histories[run.job_id].attempts[run.attempt].ended_at = self._queue.now

    # ---- the final state

    def check_final_state(self) -> None:
        """Every job has finished, and every attempt that was begun has its record."""
        for job in self.store.all_jobs():
            self._require(lifecycle.is_terminal(job), "has not ended", job)
            rows = self.store.rows(job.job_id)
            self._require([row.attempt for row in rows] == list(range(1, job.attempt + 1)), "attempts lack records", job)
            self._require(all(row.finished_at is not None for row in rows), "an execution has not ended", job)
            begun = self.histories[job.job_id].attempts
            self._require(set(begun) == {row.attempt for row in rows}, "records and attempts differ", job)
            succeeded = [row for row in rows if row.status is ExecutionStatus.SUCCESS]
            self._require(len(succeeded) == (job.status is Status.COMPLETED), f"{len(succeeded)} successes", job)
            started = sum(attempt.started_at is not None for attempt in begun.values())
            ran = (ExecutionStatus.SUCCESS, ExecutionStatus.FAILED, ExecutionStatus.CRASHED)
            least = sum(row.status in ran for row in rows)
            self._require(least <= started <= len(rows), f"{started} starts", job)
        for job_id in self.accepted:
            self._require(self._is_known(job_id), f"{job_id} was acknowledged and is lost")

    # ---- helpers

    def _is_known(self, job_id: str) -> bool:
        return self.store.job(job_id) is not None or job_id in self.purged

    def _is_gone(self, owner: str | None) -> bool:
        """Whether the owner is dead, or belongs to a host without a heartbeat for a lease."""
        if owner not in self.alive:
            return True
        boot = owner.split(":")[1] if owner is not None else ""
        return boot in self.heartbeats and self._queue.now - self.heartbeats[boot] >= self._settings.lease_s

    def _is_isolated(self, process: Process) -> bool:
        return self._queue.now - self.heartbeats.get(process.owner, process.began_at) > ISOLATED_SHARE * self._settings.lease_s

    def _is_lost(self, job: Job, attempt: int) -> bool:
        return any(row.attempt == attempt and row.status is ExecutionStatus.LOST for row in self.store.rows(job.job_id))

    def _runs(self, attempt: Attempt) -> bool:
        return attempt.started_at is not None and attempt.ended_at is None

    def due_at(self, job: Job) -> float:
        """When a job may begin, in simulated seconds on a correct clock."""
        return (job.scheduled_at - START).total_seconds()

    def _require(self, holds: bool, otherwise: str, job: Job | None = None) -> None:
        if not holds:
            raise Violation(otherwise if job is None else f"{_describe(job)}: {otherwise}")


def _is_waited_for(other: Job, job: Job) -> bool:
    return any(one.job_id == other.job_id if one.group is None else one.group == other.group for one in job.after or ())


def _describe(job: Job) -> str:
    return (
        f"job {job.job_id[-6:]} ({job.status}, priority {job.priority}, epoch {job.epoch}, attempt {job.attempt}, "
        f"due {job.scheduled_at}, held by {job.holder})"
    )
