"""One slot of a worker: an executor and the attempts that it was sent, in the order in which it runs them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from jobyard.engine.executor.interrupt import Why
from jobyard.engine.jobs.job import ExecutionStatus, Job, Output, Progress
from jobyard.engine.logs import Log
from jobyard.engine.wire.messages import Done, Run
from jobyard.engine.worker.executor_handle import ExecutorHandle
from jobyard.engine.worker.output import OutputReader, Printer
from jobyard.engine.world import World

Key = tuple[str, int]
"""The job_id and epoch of a job that has begun: the name of its lease."""


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """A job that was begun here and has not been settled. `output` is there once it has ended, if it left any.

    `waited_for`: see `worker.predecessors`.
    """

    job: Job
    started_at: float | None = None
    ending: ExecutionStatus | None = None
    next_step_at: float = 0.0
    step: int = 0
    crash: str | None = None
    progress: Progress | None = None
    output: Output | None = None
    waited_for: str | None = None

    @property
    def key(self) -> Key:
        """Its lease."""
        return self.job.job_id, self.job.epoch


LONG_S = 0.02
WHYS = {ExecutionStatus.TIMEOUT: Why.TIMEOUT, ExecutionStatus.CANCELLED: Why.CANCEL, ExecutionStatus.RELEASED: Why.RELEASE}


class Slot:
    """An executor and its attempts."""

    def __init__(self, handle: ExecutorHandle, *, world: World, log: Log) -> None:
        self.handle = handle
        self.attempts: deque[Attempt] = deque()
        self._handed: set[Printer] = set()
        self.runs = 0
        self.dying = False
        self.retiring = False
        self.broke_off_at: float | None = None
        self.retired_at = 0.0
        self.idle_since = world.monotonic()
        self.failures_in_a_row = 0
        self.failing_since = 0.0
        self._handed_at = 0.0
        self.has_read = False
        """Whether everything was read that was printed before the reports of this tick."""
        self._world = world
        self._output_reader = OutputReader(log, pid=lambda: handle.pid, awaits=self._handed.__contains__)

    @property
    def current(self) -> Attempt | None:
        """The attempt that it runs now."""
        return self.attempts[0] if self.attempts else None

    @property
    def takes_work(self) -> bool:
        """Whether it may be sent a job: not behind one that is being ended, since that may end the executor, too."""
        if self.dying or self.retiring or self.broke_off_at is not None or self.handle.is_outdated:
            return False
        return not self.attempts or self.attempts[0].ending is None

    def hand(self, attempt: Attempt) -> bool:
        """Send it one more attempt; False if it cannot take it now."""
        job = attempt.job
        run = Run(
            job_id=job.job_id, attempt=job.attempt, epoch=job.epoch, retry_count=job.retry_count, task=job.task,
            payload=job.payload, timeout_s=job.timeout_s, is_behind=bool(self.attempts),
            fire_at=job.fire_at, has_limit=job.limit is not None, waited_for=attempt.waited_for,
        )  # fmt: skip
        if not self.handle.send(run):
            return False
        if not self.attempts:
            self._handed_at = self._world.monotonic()
            self._output_reader.begin(job.job_id, job.attempt)
            attempt.started_at = self._world.monotonic() if self.handle.has_lived else None
        self.attempts.append(attempt)
        self._handed.add((job.job_id, job.attempt))
        return True

    def done(self, done: Done) -> Attempt | None:
        """The attempt whose end was reported; None if it is not the one that runs here."""
        current = self.current
        if current is None or (current.job.job_id, current.job.attempt) != (done.job_id, done.attempt):
            return None
        if not self.has_read:
            self.read_output()
        self._output_reader.end(done.job_id, done.attempt)
        current.output = self._output_reader.taken(done.job_id, done.attempt, current.progress)
        self.attempts.popleft()
        self._handed.discard((done.job_id, done.attempt))
        self.runs += 1
        self.idle_since = self._world.monotonic()
        self.failures_in_a_row = 0 if done.outcome.status is ExecutionStatus.SUCCESS else self.failures_in_a_row + 1
        if self.attempts:
            self._handed_at = self.attempts[0].started_at = self._world.monotonic()
        return current

    def is_behind_long(self, now: float) -> bool:
        """Whether its job has run, or has waited for the executor to start, longer than others should wait behind it."""
        current = self.current
        return current is not None and now - (current.started_at or self._handed_at) > LONG_S

    def note_birth(self) -> None:
        """The first attempt's time starts when the executor has been forked."""
        if self.attempts and self.attempts[0].started_at is None and self.handle.has_lived:
            self.attempts[0].started_at = self._world.monotonic()

    def take_back(self) -> list[Attempt]:
        """Take back the attempts that the executor has not read, in order; no process runs them now."""
        unread = self.handle.take_back()
        taken = [attempt for attempt in self.attempts if (attempt.job.job_id, attempt.job.attempt) in unread]
        self.attempts = deque(attempt for attempt in self.attempts if attempt not in taken)
        for attempt in taken:
            attempt.started_at = None
            self._handed.discard((attempt.job.job_id, attempt.job.attempt))
        return taken

    def interrupt(self, attempt: Attempt) -> None:
        """Raise an exception in the attempt's task, if the executor runs it."""
        why = WHYS.get(attempt.ending or ExecutionStatus.CANCELLED, Why.CANCEL)
        self.handle.interrupt(why, attempt.job.job_id, attempt.job.attempt)

    def retire(self) -> list[Attempt]:
        """Let the executor exit once it has nothing left to do; returns the attempts that it has not read."""
        taken = self.take_back()
        self.retiring = True
        self.retired_at = self._world.monotonic()
        self.handle.dismiss()
        return taken

    def read_output(self) -> None:
        """Read what was printed: it goes to the log, and the last part of it is kept."""
        self.has_read = True
        printed = self.handle.read_output()
        if printed:
            self._output_reader.take(printed)

    def output_of(self, attempt: Attempt) -> Output | None:
        """What the attempt has printed, and its progress, so far."""
        self.read_output()
        return self._output_reader.so_far(attempt.job.job_id, attempt.job.attempt, attempt.progress)

    def reap(self) -> None:
        """The executor has exited: read what it printed last, and release its descriptors."""
        self.read_output()
        self.handle.reap()
        self._output_reader.close()
        for attempt in self.attempts:
            attempt.output = self._output_reader.taken(attempt.job.job_id, attempt.job.attempt, attempt.progress)
