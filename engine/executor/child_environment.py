"""The environment of a task: signals, standard streams, environment variables, folders. The same for every job of an executor.

`set_up` creates it in the fresh executor; `clean_up` undoes what a job has changed, which costs almost nothing if the job touched
nothing. Processes that a task started are killed when it ends: the executor is the subreaper of all its descendants.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
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

from jobyard.engine.executor.temporary_folder import TemporaryFolder
from jobyard.engine.executor.title import set_title
from jobyard.engine.executor.touch_watch import WATCH
from jobyard.engine.process_control import adopt_orphans, die_with_parent, forbid_new_privileges
from jobyard.engine.world import World

SECRETS = ("API_TOKEN", "MONGO_URI")
OUT_OF_MEMORY_SCORE = b"500"
ROUNDS = 100
EXIT_OUTRUN = 70

Handler = Callable[[int, FrameType | None], object] | int | None

FIXED = (signal.SIGKILL, signal.SIGSTOP)
HANDLERS: dict[int, Handler] = {
    **{int(number): int(signal.SIG_DFL) for number in signal.Signals if number < signal.SIGRTMIN and number not in FIXED},
    int(signal.SIGPIPE): int(signal.SIG_IGN), int(signal.SIGXFSZ): int(signal.SIG_IGN),
    int(signal.SIGINT): signal.default_int_handler,
}  # fmt: skip
"""Signal dispositions as in any Python program."""

_handler_of, _set_handler, _set_mask = _signal.getsignal, _signal.signal, _signal.pthread_sigmask
_set_timer, _wakeup_fd = _signal.setitimer, _signal.set_wakeup_fd
_dup2, _umask, _set_recursion_limit = os.dup2, os.umask, sys.setrecursionlimit
"""The original functions, without conversions to enums, and before `touch_watch` wraps them."""


class ChildEnvironment:
    """The environment of one executor."""

    def __init__(self, *, output: int, world: World, folder: Path) -> None:
        self._world = world
        self._output = output
        self._nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._at = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folder = TemporaryFolder(folder, world)
        self._umask = _umask(0o077)
        _umask(self._umask)
        self._recursion_limit = sys.getrecursionlimit()
        self._socket_timeout = _socket.getdefaulttimeout()
        self._environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
        self._environment["TMPDIR"] = str(self._folder.path)
        self._raw_environment: object = None
        self._handlers: dict[int, Handler] = {}
        self._streams: list[TextIO] = []
        self._own_threads = 0

    def set_up(self, *, parent: int, title: str) -> None:
        """The first step in the executor: die with the template, leave its session, reset signals, print to the worker."""
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
            Path("/proc/self/oom_score_adj").write_bytes(OUT_OF_MEMORY_SCORE)
        self._folder.take()
        self._restore_environment()
        gc.freeze()  # memory inherited by the fork stays shared as long as the collector does not traverse it

    def catch(self, number: signal.Signals, handler: Callable[..., None]) -> None:
        """Record the state that is restored after every job; the last step of setting up."""
        _set_handler(number, handler)
        self._handlers = {number: _handler_of(number) for number in HANDLERS}

    def is_made(self) -> None:
        """Threads that run now, and changes made until now, belong to the executor and not to a job."""
        self._own_threads = _thread._count()
        WATCH.is_touched, WATCH.is_spent = True, False

    def mark_output(self, mark: bytes) -> None:
        """Print the mark that separates the output of two attempts, in one write."""
        os.write(self._output, mark)

    @property
    def is_spent(self) -> bool:
        """Whether the last job changed something that cannot be undone."""
        return WATCH.is_spent

    def end_what_is_left(self) -> None:
        """Flush what the task has printed; kill every process that it started."""
        for stream in {id(stream): stream for stream in (*self._streams[1:], sys.stdout, sys.stderr)}.values():
            try:
                stream.flush()
            except Exception:  # noqa: BLE001, S110  closed, or replaced by something of the task's
                pass
        if self._is_replaced():
            WATCH.is_touched = WATCH.is_spent = True  # the object that replaced it may close ours when it is collected
        if self._is_touched():
            self._kill_descendants()

    def restore(self) -> None:
        """Undo what the task may have changed."""
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
        os.fchdir(self._at)
        _set_recursion_limit(self._recursion_limit)
        _socket.setdefaulttimeout(self._socket_timeout)
        self._connect_standard_streams()
        self._folder.empty()
        self._restore_environment()
        WATCH.is_touched = False

    def leave(self) -> None:
        """Remove the temporary folder."""
        self._folder.remove()

    def _is_touched(self) -> bool:
        return WATCH.is_touched or _thread._count() > self._own_threads

    def _is_replaced(self) -> bool:
        """Whether a standard stream was replaced or closed."""
        ours = self._streams
        return (sys.stdin, sys.stdout, sys.stderr) != tuple(ours) or True in [stream.closed for stream in ours]

    def _kill_descendants(self) -> None:
        """Reap killed processes; a thread of the task may wait for the same ones and reap them first."""
        for _ in range(ROUNDS):
            if not self._world.has_children():
                return
            children = self._world.children()
            for child in children:
                self._world.kill(child, signal.SIGKILL)
            for child in children:
                with contextlib.suppress(ChildProcessError):
                    self._world.wait(child)
        os._exit(EXIT_OUTRUN)  # they multiply faster than they are killed; the kernel kills the rest when this process exits

    def _connect_standard_streams(self) -> None:
        """Standard input is empty; what is printed, by any program, goes to the worker."""
        for fd, to in ((self._nothing, 0), (self._output, 1), (self._output, 2)):
            _dup2(fd, to)
        if not self._streams or True in [stream.closed for stream in self._streams]:
            writers = (open(fd, "w", buffering=1, errors="backslashreplace", closefd=False) for fd in (1, 2))
            self._streams = [open(0, closefd=False), *writers]
        sys.stdin, sys.stdout, sys.stderr = self._streams

    def _restore_environment(self) -> None:
        """Compared in the form in which `os` keeps it, because decoding all of it for every job would cost more than the job."""
        if self._raw_environment is None or vars(os.environ).get("_data") != self._raw_environment:
            os.environ.clear()
            os.environ.update(self._environment)
            self._raw_environment = dict(vars(os.environ).get("_data", {}))
