"""The process state that a task runs in: signals, standard streams, environment, folders; identical for every job of a child.

`set_up` establishes it in a fresh child; `restore` undoes a job's changes, and costs next to nothing if the job changed nothing.
Processes that a task started end with it: the child is the subreaper of all its descendants, so none can escape.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TextIO

from jobyard.engine.executor.interpreter_state import InterpreterState
from jobyard.engine.executor.temporary_folder import TemporaryFolder
from jobyard.engine.executor.title import set_title
from jobyard.engine.executor.touch_watch import WATCH
from jobyard.engine.process_control import adopt_orphans, die_with_parent, forbid_new_privileges, out_of_memory_score
from jobyard.engine.world import World

SECRETS = ("API_TOKEN", "READ_TOKEN", "WORKER_TOKEN", "MONGO_URI")
OUT_OF_MEMORY_SCORE, HIGHEST_SCORE = 500, 1000
"""The kernel should choose a task. It is more than the template's, which tells what tasks have started (`template.leftovers`)."""
MAX_KILL_ROUNDS = 100

Handler = Callable[[int, FrameType | None], object] | int | None

FIXED = (signal.SIGKILL, signal.SIGSTOP)
HANDLERS: dict[int, Handler] = {
    **{int(number): int(signal.SIG_DFL) for number in signal.Signals if number < signal.SIGRTMIN and number not in FIXED},
    int(signal.SIGPIPE): int(signal.SIG_IGN), int(signal.SIGXFSZ): int(signal.SIG_IGN),
    int(signal.SIGINT): signal.default_int_handler,
}  # fmt: skip
"""The signal handlers of any Python program."""

_handler_of, _set_handler, _set_mask = _signal.getsignal, _signal.signal, _signal.pthread_sigmask
_set_timer, _wakeup_fd = _signal.setitimer, _signal.set_wakeup_fd
_dup2, _umask = os.dup2, os.umask
"""The original functions, without conversions to enums, taken before `touch_watch` wraps them."""


class LeftoversRemain(Exception):
    """Processes that a task has started could not all be killed."""


class ChildEnvironment:
    """The environment of one child."""

    def __init__(self, *, output: int, world: World, folder: Path) -> None:
        self._world = world
        self._output = output
        self._devnull = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._working_folder = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folder = TemporaryFolder(folder, world)
        self._umask = _umask(0o077)
        _umask(self._umask)
        self._interpreter = InterpreterState()
        self._environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
        self._raw_environment: object = None
        self._handlers: dict[int, Handler] = {}
        self._streams: list[TextIO] = []
        self._own_threads = 0

    def set_up(self, *, parent: int, title: str) -> None:
        """Called first in the child: request the parent-death signal, leave the template's session, reset signals, redirect
        output to the worker."""
        die_with_parent(parent)
        os.setsid()
        adopt_orphans()
        forbid_new_privileges()
        _wakeup_fd(-1)
        for number, handler in HANDLERS.items():
            _set_handler(number, handler)
        _set_mask(signal.SIG_SETMASK, ())
        self._connect_standard_streams()
        set_title(title)
        with contextlib.suppress(OSError):
            score = max(OUT_OF_MEMORY_SCORE, out_of_memory_score(os.getpid()) + 1)
            Path("/proc/self/oom_score_adj").write_bytes(b"%d" % min(score, HIGHEST_SCORE))
        self._folder.create()
        self._environment["TMPDIR"] = self._folder.visible_path
        self._restore_environment()
        gc.freeze()  # memory inherited from the fork stays shared as long as the collector does not traverse it

    def install_handler(self, number: signal.Signals, handler: Callable[..., None]) -> None:
        """Handle this signal from now on; `restore` reinstalls the handler after every job. The last step of setting up."""
        _set_handler(number, handler)
        self._handlers = {number: _handler_of(number) for number in HANDLERS}

    def finish_setup(self) -> None:
        """Attribute the threads and changes up to now to the child, not to a job."""
        self._own_threads = _thread._count()
        self._interpreter = InterpreterState()
        self._environment = dict(os.environ)
        self._raw_environment = dict(vars(os.environ).get("_data", {}))
        self._umask = _umask(0o077)
        _umask(self._umask)
        os.close(self._working_folder)
        self._working_folder = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        WATCH.is_touched, WATCH.is_spent = True, False

    def mark_output(self, mark: bytes) -> None:
        """Write a mark that separates earlier output from later output; the write is atomic."""
        os.write(self._output, mark)

    @property
    def is_spent(self) -> bool:
        """Whether the last job made an irreversible change."""
        return WATCH.is_spent

    def end_leftovers(self) -> None:
        """Flush what the task has printed, and kill every process that it has started, with all descendants."""
        for stream in {id(stream): stream for stream in (*self._streams[1:], sys.stdout, sys.stderr)}.values():
            try:
                stream.flush()
            except BaseException:  # noqa: BLE001, S110  closed, or replaced by an object of the task, which may raise anything
                pass
        if self._is_replaced():
            WATCH.is_touched = WATCH.is_spent = True  # the replacement may close our descriptor when it is garbage-collected
        if self._is_touched():
            self._kill_descendants()

    def restore(self) -> None:
        """Undo whatever the task may have changed."""
        if not self._is_touched():
            return
        if [*map(_handler_of, self._handlers)] != [*self._handlers.values()]:
            for number, handler in self._handlers.items():
                _set_handler(number, handler)
        _wakeup_fd(-1)
        _set_mask(signal.SIG_SETMASK, ())
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            _set_timer(timer, 0)
        _umask(self._umask)
        os.fchdir(self._working_folder)
        self._interpreter.restore()
        self._connect_standard_streams()
        self._folder.empty()
        self._restore_environment()
        WATCH.is_touched = False

    def close(self) -> None:
        """Remove the temporary folder."""
        self._folder.remove()

    def _is_touched(self) -> bool:
        return WATCH.is_touched or _thread._count() > self._own_threads

    def _is_replaced(self) -> bool:
        """Whether a standard stream was replaced or closed."""
        original = self._streams
        return (sys.stdin, sys.stdout, sys.stderr) != tuple(original) or True in [stream.closed for stream in original]

    def _kill_descendants(self) -> None:
        """Kill and reap until none is left. A thread of the task may be waiting for the same processes and reap them first.

        A pool of processes that a module keeps in a global is broken then, so the child is replaced.
        """
        for _ in range(MAX_KILL_ROUNDS):
            if not self._world.has_children():
                return
            children = self._world.children()
            WATCH.is_spent = WATCH.is_spent or any(self._world.state_of(child) not in ("", "Z") for child in children)
            for child in children:
                self._world.kill(child, signal.SIGKILL)
            for child in children:
                with contextlib.suppress(ChildProcessError):
                    self._world.wait(child)
        raise LeftoversRemain("they fork faster than they are killed; template and supervisor kill the rest when this child exits")

    def _connect_standard_streams(self) -> None:
        """Connect stdin to /dev/null, and stdout and stderr to the worker, for this process and every program it starts."""
        for fd, to in ((self._devnull, 0), (self._output, 1), (self._output, 2)):
            _dup2(fd, to)
        if not self._streams or True in [stream.closed for stream in self._streams]:
            writers = (open(fd, "w", buffering=1, errors="backslashreplace", closefd=False) for fd in (1, 2))
            self._streams = [open(0, closefd=False), *writers]
        sys.stdin, sys.stdout, sys.stderr = self._streams

    def _restore_environment(self) -> None:
        """Compares the raw form that `os` keeps, because decoding all variables for every job would cost more than a short job."""
        if self._raw_environment is None or vars(os.environ).get("_data") != self._raw_environment:
            os.environ.clear()
            os.environ.update(self._environment)
            self._raw_environment = dict(vars(os.environ).get("_data", {}))
