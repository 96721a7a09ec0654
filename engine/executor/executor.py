"""The executor calls tasks, one at a time; whatever a task does, it affects no process but this one.

    worker ── inbox: one packet a Run ──▶ child ── outbox: Done, Progressed ──▶ worker
           ── SIGUSR1, after noting the attempt in the shared page ──▶ an exception in the task

The worker keeps this end of the inbox, too, so it can take back packets that were not read. Tasks run in the main thread, because
only there can an exception be raised in them. An executor whose job was interrupted, or has changed something that cannot be
undone, reports so with the outcome and exits.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from datetime import timedelta
from socket import socket

from jobyard.engine.executor import messages
from jobyard.engine.executor.child_environment import ChildEnvironment
from jobyard.engine.executor.interrupt import InterruptPage, Why
from jobyard.engine.executor.job_context import JobContext
from jobyard.engine.executor.messages import Run
from jobyard.engine.executor.outcomes import TaskOutcome, failure, raised, success
from jobyard.engine.executor.output_mark import mark_of
from jobyard.engine.executor.packets import receive_packet
from jobyard.engine.tasks.context import CurrentJob, Interrupted, JobCancelled, JobReleased, JobTimeout, executing
from jobyard.engine.tasks.parameters import WrongArguments
from jobyard.engine.tasks.registry import Registry
from jobyard.engine.world import World

TELL_EVERY_S = 0.1
EXIT_OK = 0
OURS = (os.path.dirname(__file__) + os.sep, os.path.join(os.path.dirname(os.__file__), "asyncio", ""))
"""The frames above a task in a traceback, which do not help its author."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorDescriptors:
    """The descriptors that the worker passed to the executor."""

    inbox: socket
    outbox: socket
    output: int
    page: InterruptPage


class Executor:
    """Executes one job after the other."""

    def __init__(
        self, ends: ExecutorDescriptors, *, registry: Registry, world: World, environment: ChildEnvironment, context: JobContext
    ) -> None:  # fmt: skip
        self._inbox = ends.inbox
        self._outbox = ends.outbox
        self._sending = threading.Lock()  # a thread of the task may report progress
        self._page = ends.page
        self._registry = registry
        self._world = world
        self._environment = environment
        self._context = context
        self._pid = os.getpid()
        self._current: Run | None = None
        self._was_interrupted = False
        self._told_at = 0.0
        self._untold: bytes | None = None
        environment.catch(signal.SIGUSR1, self._heed)

    def run(self) -> None:
        """Run the jobs that arrive, until the inbox is closed or this executor is spent."""
        while (packet := receive_packet(self._inbox)) is not None:
            if not self.execute(messages.read_run(packet)):
                return

    def execute(self, run: Run) -> bool:
        """Call the task, end what it left behind, report, prepare for the next; returns whether there may be a next one."""
        if run.is_behind:
            self._environment.mark_output(mark_of(run.job_id, run.attempt))
        self._told_at = -TELL_EVERY_S
        started = self._world.monotonic()
        outcome = self._outcome_of(run)
        elapsed_s = self._world.monotonic() - started
        if os.getpid() != self._pid:
            os._exit(EXIT_OK)  # a process that the task forked returned from the task; only the executor itself reports
        is_spent = self._end_what_is_left() or self._was_interrupted
        if self._untold is not None:
            self._send(self._untold)
            self._untold = None
        self._send(messages.done(run, outcome, elapsed_s=elapsed_s, is_spent=is_spent))
        if not is_spent:
            self._environment.restore()
        return not is_spent

    def _outcome_of(self, run: Run) -> TaskOutcome:
        task = self._registry.get(run.task)
        if task is None:
            return failure(f"UnknownTask: this worker has no task {run.task!r}; its TASKS differ from the scheduler's")
        try:
            call = task.bind(json.loads(run.payload.decode()))
        except WrongArguments as wrong:
            return failure(f"WrongArguments: {wrong}", unrecoverable=True)
        except BaseException as wrong:  # the conversion may call code of the task's, such as `__post_init__`
            return raised(wrong, ours=OURS, is_final=task.retry_rules.is_final)
        try:
            with executing(self._job_of(run)):
                self._current = run
                try:
                    self._heed()
                    value = self._context.call(call)
                finally:
                    self._current = None
            return success(value)
        except BaseException as wrong:  # whatever a task raises is a failed attempt
            return raised(wrong, ours=OURS, is_final=task.retry_rules.is_final)

    def _end_what_is_left(self) -> bool:
        """Whether this executor is spent. Whatever goes wrong in the clean-up, the outcome is known and must be reported."""
        try:
            self._environment.end_what_is_left()
        except Exception:
            with contextlib.suppress(Exception):
                traceback.print_exc(file=sys.__stderr__)
            return True
        return self._environment.is_spent

    def _job_of(self, run: Run) -> CurrentJob:
        return CurrentJob(
            job_id=run.job_id, attempt=run.attempt, epoch=run.epoch, retry_count=run.retry_count,
            deadline=self._world.now() + timedelta(seconds=run.timeout_s), report=self._tell,
        )  # fmt: skip

    def _heed(self, *signalled: object) -> None:
        """SIGUSR1: end the attempt that the page names, if it is the one that runs."""
        run = self._current
        if run is None:
            return
        why = self._page.asked_of(run.job_id, run.attempt)
        if why is not None:
            self._was_interrupted = True
            raise INTERRUPTIONS[why][0](INTERRUPTIONS[why][1])

    def _tell(self, job: CurrentJob, fraction: float, note: str) -> None:
        """Report progress, at most a few times a second, since people read it. The last report is always sent."""
        told = messages.progressed(job.job_id, job.attempt, fraction, note)
        now = self._world.monotonic()
        if now - self._told_at < TELL_EVERY_S:
            self._untold = told
            return
        self._told_at = now
        self._untold = None
        self._send(told)

    def _send(self, message: bytes) -> None:
        with self._sending:
            self._outbox.sendall(message)


INTERRUPTIONS: dict[Why, tuple[type[Interrupted], str]] = {
    Why.TIMEOUT: (JobTimeout, "its time was up"),
    Why.CANCEL: (JobCancelled, "it was cancelled"),
    Why.RELEASE: (JobReleased, "the system stops, and it will run again"),
}

