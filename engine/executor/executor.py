"""The child that calls tasks one at a time; a task that crashes takes down this process only.

    worker ── inbox: one packet a Run ──▶ child ── outbox: Done, Progressed ──▶ worker
           ── SIGUSR1, after writing the attempt to the shared page ──▶ an exception in the task

The worker keeps a copy of the child's end of the inbox, so it can take back packets that the child has not read yet. Tasks run in
the main thread, because an exception can only be raised there. After an interrupted job, or one that made an irreversible change,
the child reports `is_spent` with the outcome and exits.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from datetime import datetime, timedelta
from socket import socket

from jobyard.engine.executor import messages
from jobyard.engine.executor.child_environment import ChildEnvironment
from jobyard.engine.executor.interrupt import InterruptPage, Why
from jobyard.engine.executor.job_context import JobContext
from jobyard.engine.executor.messages import Run
from jobyard.engine.executor.outcomes import TaskOutcome, failure, raised, success
from jobyard.engine.executor.output_mark import mark_of
from jobyard.engine.executor.packets import receive_packet
from jobyard.engine.executor.predecessors import predecessors_in
from jobyard.engine.tasks.context import CurrentJob, Interrupted, JobCancelled, JobReleased, JobTimeout, executing
from jobyard.engine.tasks.parameters import WrongArguments
from jobyard.engine.tasks.registry import Registry
from jobyard.engine.world import World

PROGRESS_EVERY_S = 0.1
EXIT_OK = 0
CALLING_CODE = (os.path.dirname(__file__) + os.sep, os.path.join(os.path.dirname(os.__file__), "asyncio", ""))
"""Path prefixes of the code that calls tasks; its frames are left out of tracebacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorDescriptors:
    """The descriptors that the worker passed to the child."""

    inbox: socket
    outbox: socket
    output: int
    page: InterruptPage


class Executor:
    """Executes jobs one after another."""

    def __init__(
        self, descriptors: ExecutorDescriptors, *, registry: Registry, world: World, environment: ChildEnvironment,
        context: JobContext,
    ) -> None:  # fmt: skip
        self._inbox = descriptors.inbox
        self._outbox = descriptors.outbox
        self._sending = threading.Lock()  # a thread of the task may report progress
        self._page = descriptors.page
        self._registry = registry
        self._world = world
        self._environment = environment
        self._context = context
        self._pid = os.getpid()
        self._current: Run | None = None
        self._was_interrupted = False
        self._progress_sent_at = 0.0
        self._unsent_progress: bytes | None = None
        environment.install_handler(signal.SIGUSR1, self._check_interrupt)

    def run(self) -> None:
        """Execute jobs until the inbox is closed or this child is spent."""
        while (packet := receive_packet(self._inbox)) is not None:
            if not self.execute(messages.read_run(packet)):
                return

    def execute(self, run: Run) -> bool:
        """Call the task, end what it left running, report the outcome, restore the environment. False: run no further job."""
        if run.is_behind:
            self._environment.mark_output(mark_of(run.job_id, run.attempt))
        self._progress_sent_at = -PROGRESS_EVERY_S
        started = self._world.monotonic()
        outcome = self._outcome_of(run)
        elapsed_s = self._world.monotonic() - started
        if os.getpid() != self._pid:
            os._exit(EXIT_OK)  # the task forked and its child returned here: it must not report an outcome
        is_spent = self._end_leftovers() or self._was_interrupted
        if self._unsent_progress is not None:
            self._send(self._unsent_progress)
            self._unsent_progress = None
        self._send(messages.done(run, outcome, elapsed_s=elapsed_s, is_spent=is_spent))
        if not is_spent:
            self._environment.restore()
        return not is_spent

    def _outcome_of(self, run: Run) -> TaskOutcome:
        task = self._registry.get(run.task)
        if task is None:
            return failure(f"UnknownTask: this worker has no task {run.task!r}; its TASKS differ from the scheduler's")
        try:
            call = task.bind(_from_json(run.payload.decode()))
        except WrongArguments as wrong:
            return failure(f"WrongArguments: {wrong}", unrecoverable=True)
        except BaseException as wrong:  # the conversion may call code of the task's, such as `__post_init__`
            return raised(wrong, ours=CALLING_CODE, is_final=task.retry_rules.is_final)
        try:
            with executing(functools.partial(self._job_of, run, self._world.monotonic())):
                self._current = run
                try:
                    self._check_interrupt()
                    value = self._context.call(call)
                finally:
                    self._current = None
            return success(value)
        except BaseException as wrong:  # any exception of a task is its failure
            return raised(wrong, ours=CALLING_CODE, is_final=task.retry_rules.is_final)

    def _end_leftovers(self) -> bool:
        """Whether this child is spent. An error in the clean-up must not prevent the known outcome from being sent."""
        try:
            self._environment.end_leftovers()
        except BaseException:  # of an object of the task, such as a stream that it has put in place of stdout
            with contextlib.suppress(BaseException):
                traceback.print_exc(file=sys.__stderr__)
            return True
        return self._environment.is_spent or self._context.is_spent

    def _job_of(self, run: Run, began: float) -> CurrentJob:
        left_s = began + run.timeout_s - self._world.monotonic()
        return CurrentJob(
            job_id=run.job_id, attempt=run.attempt, epoch=run.epoch, retry_count=run.retry_count,
            deadline=self._world.now() + timedelta(seconds=left_s), report=self._report_progress,
            fire_at=None if run.fire_at is None else datetime.fromisoformat(run.fire_at),
            hold_limits=self._hold_limits if run.has_limit else None,
            waited_for=None if run.waited_for is None else functools.partial(predecessors_in, run.waited_for),
        )  # fmt: skip

    def _check_interrupt(self, *signalled: object) -> None:
        """Raise the requested exception if the shared page names the running attempt. Also the SIGUSR1 handler."""
        run = self._current
        if run is None:
            return
        why = self._page.request_for(run.job_id, run.attempt)
        if why is not None:
            self._was_interrupted = True
            raise INTERRUPTIONS[why][0](INTERRUPTIONS[why][1])

    def _report_progress(self, job: CurrentJob, fraction: float, note: str) -> None:
        """Send progress at most once in `PROGRESS_EVERY_S`; the latest report is always sent when the job ends."""
        message = messages.progressed(job.job_id, job.attempt, fraction, note)
        now = self._world.monotonic()
        if now - self._progress_sent_at < PROGRESS_EVERY_S:
            self._unsent_progress = message
            return
        self._progress_sent_at = now
        self._unsent_progress = None
        self._send(message)

    def _hold_limits(self, job: CurrentJob, for_s: float) -> None:
        self._send(messages.held(job.job_id, job.attempt, for_s))

    def _send(self, message: bytes) -> None:
        with self._sending:
            self._outbox.sendall(message)


_from_json = json.JSONDecoder().decode
INTERRUPTIONS: dict[Why, tuple[type[Interrupted], str]] = {
    Why.TIMEOUT: (JobTimeout, "its time was up"),
    Why.CANCEL: (JobCancelled, "it was cancelled"),
    Why.RELEASE: (JobReleased, "the system stops, and it will run again"),
}

