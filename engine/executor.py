"""The child that calls tasks, one at a time; whatever a task does, it takes down nothing but this process.

    worker ── inbox: one packet a Run ──▶ child ── outbox: Done, Progressed ──▶ worker
           ── SIGUSR1, after noting the job in the shared page ──▶ an exception in the task

Packets that the child has not read yet can be taken back by the worker, which keeps this end of the inbox too. The child has
a session, a temporary folder and signal handlers of its own, and sets back between two jobs what a task may have changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
import mmap
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType

from engine.job import ExecutionStatus, Outcome
from engine.process_control import adopt_orphans, close_descriptors, die_with_parent, forbid_new_privileges, set_title
from engine.tasks.context import CurrentJob, Interrupted, JobCancelled, JobTimeout, Retry, Unrecoverable, executing
from engine.tasks.registry import Registry
from engine.wire.frames import frame
from engine.wire.messages import Done, Message, Progressed, Run
from engine.wire.packets import receive_packet
from engine.world import World

MAX_RESULT_BYTES = 1 << 20
MAX_ERROR_CHARS = 4_000
MAX_TRACEBACK_CHARS = 4_000
MAX_RETRY_DELAY_S = 315_360_000
SECRETS = ("API_TOKEN", "MONGO_URI")
TIMEOUT, CANCEL = b"T", b"C"
RESET_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM, signal.SIGPIPE, signal.SIGQUIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """What the child keeps of what it inherited."""

    inbox: socket.socket
    outbox: socket.socket
    output: int
    page: mmap.mmap


def run_executor(ends: Ends, *, registry: Registry, world: World, parent: int, title: str, folder: str) -> int:
    """The child's life: runs what comes until the inbox is closed; the exit status."""
    _settle_in(ends, parent=parent, title=title, folder=folder)
    executor = Executor(ends, registry=registry, world=world)
    while (run := receive_packet(ends.inbox)) is not None:
        assert isinstance(run, Run)
        executor.execute(run)
    return 0


def _settle_in(ends: Ends, *, parent: int, title: str, folder: str) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    for number in RESET_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    die_with_parent(parent)
    adopt_orphans()
    forbid_new_privileges()
    with contextlib.suppress(OSError):
        (score := open("/proc/self/oom_score_adj", "w")).write("500")
        score.close()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(ends.output, 1)
    os.dup2(ends.output, 2)
    close_descriptors(keep={ends.inbox.fileno(), ends.outbox.fileno()})
    sys.stdin = open(0, closefd=False)
    sys.stdout, sys.stderr = (open(fd, "w", buffering=1, errors="backslashreplace", closefd=False) for fd in (1, 2))
    set_title(title)
    for name in SECRETS:
        os.environ.pop(name, None)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    os.environ["TMPDIR"] = folder
    gc.enable()


class Executor:
    """Executes one job after the other."""

    def __init__(self, ends: Ends, *, registry: Registry, world: World) -> None:
        self._ends = ends
        self._registry = registry
        self._world = world
        self._current: Run | None = None
        self._environment = dict(os.environ)
        self._folder = os.getcwd()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        signal.signal(signal.SIGUSR1, self._interrupt)

    def execute(self, run: Run) -> None:
        """Call the task, report how it ended, leave no trace of it."""
        started = self._world.monotonic()
        outcome = self._outcome_of(run)
        self._flush()
        self._send(Done(job_id=run.job_id, attempt=run.attempt, outcome=outcome, elapsed_s=self._world.monotonic() - started))
        self._set_back()

    def _outcome_of(self, run: Run) -> Outcome:
        task = self._registry.get(run.task)
        if task is None:
            return _failure(f"UnknownTask: this worker has no task {run.task!r}; its TASKS differ from the scheduler's")
        try:
            with executing(self._job_of(run)):
                self._current = run
                try:
                    value = _call(task.function, json.loads(run.payload))
                finally:
                    self._current = None
            return _success(value)
        except Interrupted as interrupted:
            return _failure(str(interrupted))
        except Retry as wish:
            return _wished(wish)
        except Unrecoverable as wrong:
            return _failed(wrong, unrecoverable=True)
        except BaseException as wrong:  # SystemExit and KeyboardInterrupt of a task are failures like any other
            return _failed(wrong)

    def _job_of(self, run: Run) -> CurrentJob:
        return CurrentJob(
            job_id=run.job_id, attempt=run.attempt, epoch=run.epoch, retry_count=run.retry_count,
            deadline=self._world.now() + timedelta(seconds=run.timeout_s),
            report=lambda fraction, note: self._send(
                Progressed(job_id=run.job_id, attempt=run.attempt, fraction=fraction, note=note)
            ),
        )  # fmt: skip

    def _interrupt(self, number: int, at: object) -> None:
        """The worker's word: end the job that the page names, if it is the one that runs."""
        run = self._current
        if run is None or bytes(self._ends.page[1:25]) != run.job_id.encode():
            return
        raise JobTimeout("its time was up") if self._ends.page[:1] == TIMEOUT else JobCancelled("it was cancelled")

    def _send(self, message: Message) -> None:
        self._ends.outbox.sendall(frame(message))

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()

    def _set_back(self) -> None:
        """What a task may have changed and the next one must not find."""
        signal.signal(signal.SIGUSR1, self._interrupt)
        for number in RESET_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.umask(self._umask)
        with contextlib.suppress(OSError):
            os.chdir(self._folder)
        if dict(os.environ) != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        for child in self._world.children():
            self._world.kill(child, signal.SIGKILL)
        self._world.reap()


def _call(function: Callable[[object], object], payload: object) -> object:
    value = function(payload)
    if inspect.iscoroutine(value):
        return asyncio.run(value)
    return value


def _success(value: object) -> Outcome:
    try:
        result = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError) as wrong:
        return _failure(f"its result is not JSON: {wrong}")
    if len(result) > MAX_RESULT_BYTES:
        return _failure(f"its result is {len(result)} bytes of JSON; at most {MAX_RESULT_BYTES} are kept")
    return Outcome(status=ExecutionStatus.SUCCESS, result=result)


def _wished(wish: Retry) -> Outcome:
    delay_s = wish.delay_s
    if delay_s is not None and not (isinstance(delay_s, int | float) and 0 <= delay_s <= MAX_RETRY_DELAY_S):
        return _failure(f"Retry(delay_s=…) takes a number from 0 to {MAX_RETRY_DELAY_S}, not {delay_s!r}")
    return Outcome(status=ExecutionStatus.FAILED, error=_bounded(f"Retry: {wish}", MAX_ERROR_CHARS), retry_delay_s=delay_s)


def _failed(wrong: BaseException, *, unrecoverable: bool = False) -> Outcome:
    try:
        words = "".join(traceback.format_exception(type(wrong), wrong, _from_the_task_on(wrong.__traceback__)))
        error = f"{type(wrong).__name__}: {wrong}"
    except BaseException:  # an exception that cannot even be shown
        words, error = "", type(wrong).__name__
    return Outcome(
        status=ExecutionStatus.FAILED, error=_bounded(error, MAX_ERROR_CHARS), unrecoverable=unrecoverable,
        traceback=words if len(words) <= MAX_TRACEBACK_CHARS else "…" + _bounded(words[-MAX_TRACEBACK_CHARS:], MAX_TRACEBACK_CHARS),
    )  # fmt: skip


def _from_the_task_on(trace: TracebackType | None) -> TracebackType | None:
    """Without our own frames before it: they tell the task's author nothing."""
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _failure(words: str) -> Outcome:
    return Outcome(status=ExecutionStatus.FAILED, error=_bounded(words, MAX_ERROR_CHARS))


def _bounded(text: str, limit: int) -> str:
    """At most so many characters, four bytes each at the worst, and none that cannot be stored."""
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\\0")
    return text if len(text) <= limit else text[:limit] + "…"
