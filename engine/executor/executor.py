"""The child that calls tasks, one at a time; whatever a task does, it takes down nothing but this process.

    worker ── inbox: one packet a Run ──▶ child ── outbox: Done, Progressed ──▶ worker
           ── SIGUSR1, after noting the attempt in the shared page ──▶ an exception in the task

Packets that the child has not read yet can be taken back by the worker, which keeps this end of the inbox too. Tasks run in the
main thread, because only there can an exception be raised into them.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from jobyard.engine.executor.child_environment import ChildEnvironment
from jobyard.engine.executor.interrupt import InterruptPage, Why
from jobyard.engine.executor.outcomes import failure, raised, success
from jobyard.engine.executor.output_mark import mark_of
from jobyard.engine.jobs.job import Outcome
from jobyard.engine.tasks.context import CurrentJob, JobCancelled, JobTimeout, executing
from jobyard.engine.tasks.registry import Registry
from jobyard.engine.wire.frames import frame
from jobyard.engine.wire.messages import Done, Message, Progressed, Run
from jobyard.engine.wire.packets import receive_packet
from jobyard.engine.world import World

TELL_EVERY_S = 0.1
EXIT_OK = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorDescriptors:
    """What the child keeps of what it inherited."""

    inbox: socket.socket
    outbox: socket.socket
    output: int
    page: InterruptPage


def run_executor(
    ends: ExecutorDescriptors, *, registry: Registry, world: World, parent: int, title: str, folder: str, log_level: str = "info"
) -> int:  # fmt: skip
    """The child's life: runs what comes until the inbox is closed; the exit status."""
    surroundings = ChildEnvironment(output=ends.output, world=world, folder=Path(folder))
    surroundings.set_up(parent=parent, title=title, keep={ends.inbox.fileno(), ends.outbox.fileno()})
    show_logging(log_level)
    executor = Executor(ends, registry=registry, world=world, surroundings=surroundings)
    while (run := receive_packet(ends.inbox)) is not None:
        assert isinstance(run, Run)
        executor.execute(run)
    surroundings.leave()
    return EXIT_OK


def show_logging(level: str) -> None:
    """What tasks log with `logging`, at this level and above, goes to stderr; unless the user's modules have set it up themselves.

    A task may still set it up: `logging` uses its last resort only as long as there is no handler.
    """
    if logging.lastResort is not None:
        logging.lastResort.setLevel(level.upper())
        logging.lastResort.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    if not logging.root.handlers and logging.root.level == logging.WARNING:
        logging.root.setLevel(level.upper())


class Executor:
    """Executes one job after the other."""

    def __init__(self, ends: ExecutorDescriptors, *, registry: Registry, world: World, surroundings: ChildEnvironment) -> None:
        self._outbox = ends.outbox
        self._sending = threading.Lock()  # a thread of the task's may tell its progress
        self._page = ends.page
        self._registry = registry
        self._world = world
        self._environment = surroundings
        self._pid = os.getpid()
        self._current: Run | None = None
        self._told_at = 0.0
        self._untold: Progressed | None = None
        surroundings.catch(signal.SIGUSR1, self._heed)

    def execute(self, run: Run) -> None:
        """Call the task, end what it left, report, be ready for the next."""
        if run.is_behind:
            self._environment.mark_output(mark_of(run.job_id, run.attempt))
        self._told_at = -TELL_EVERY_S
        started = self._world.monotonic()
        outcome = self._outcome_of(run)
        elapsed_s = self._world.monotonic() - started
        if os.getpid() != self._pid:
            os._exit(EXIT_OK)  # a fork of the task's came back to us; only one of us is the child
        self._environment.end_what_is_left()
        if self._untold is not None:
            self._send(self._untold)
            self._untold = None
        self._send(Done(job_id=run.job_id, attempt=run.attempt, outcome=outcome, elapsed_s=elapsed_s))
        self._environment.restore()

    def _outcome_of(self, run: Run) -> Outcome:
        task = self._registry.get(run.task)
        if task is None:
            return failure(f"UnknownTask: this worker has no task {run.task!r}; its TASKS differ from the scheduler's")
        try:
            with executing(self._job_of(run)):
                self._current = run
                try:
                    self._heed()
                    value = _call(task.function, json.loads(run.payload.decode()))
                finally:
                    self._current = None
            return success(value)
        except BaseException as wrong:  # whatever a task raises is its failure
            return raised(wrong, ours=__file__)

    def _job_of(self, run: Run) -> CurrentJob:
        return CurrentJob(
            job_id=run.job_id, attempt=run.attempt, epoch=run.epoch, retry_count=run.retry_count,
            deadline=self._world.now() + timedelta(seconds=run.timeout_s), report=self._tell,
        )  # fmt: skip

    def _heed(self, *signalled: object) -> None:
        """The worker's word: end the attempt that the page names, if it is the one that runs."""
        run = self._current
        if run is None:
            return
        why = self._page.asked_of(run.job_id, run.attempt)
        if why is not None:
            raise JobTimeout("its time was up") if why is Why.TIMEOUT else JobCancelled("it was cancelled")

    def _tell(self, job: CurrentJob, fraction: float, note: str) -> None:
        """Progress, but a few times a second at most: it is told to people. The last one is told in any case."""
        told = Progressed(job_id=job.job_id, attempt=job.attempt, fraction=fraction, note=note)
        now = self._world.monotonic()
        if now - self._told_at < TELL_EVERY_S:
            self._untold = told
            return
        self._told_at = now
        self._untold = None
        self._send(told)

    def _send(self, message: Message) -> None:
        with self._sending:
            self._outbox.sendall(frame(message))


def _call(function: Callable[[object], object], payload: object) -> object:
    value = function(payload)
    if inspect.iscoroutine(value):
        return asyncio.run(value)
    return value
