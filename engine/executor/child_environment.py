"""What a task finds around it: signals, descriptors, environment, folders. The same for every job that a child executes.

`settle_in` makes it so in the fresh child; `set_back` undoes what a task has changed, at little cost when it changed nothing.
What a task started ends with it: the child is the subreaper of all its descendants, so none can get away.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TextIO

from jobyard.engine.process_control import adopt_orphans, close_descriptors, die_with_parent, forbid_new_privileges, set_title
from jobyard.engine.world import World

SECRETS = ("API_TOKEN", "MONGO_URI")
OUT_OF_MEMORY_SCORE = b"500"
ROUNDS = 100
FILE_CLOCK_S = 0.05
EXIT_OUTRUN = 70

Handler = Callable[[int, FrameType | None], object] | int | None

FIXED = (signal.SIGKILL, signal.SIGSTOP)
HANDLERS: dict[int, Handler] = {
    **{number: signal.SIG_DFL for number in signal.Signals if number < signal.SIGRTMIN and number not in FIXED},
    signal.SIGPIPE: signal.SIG_IGN, signal.SIGXFSZ: signal.SIG_IGN, signal.SIGINT: signal.default_int_handler,
}  # fmt: skip
"""As in any Python program."""

_handler_of = _signal.getsignal
_set_mask = _signal.pthread_sigmask
"""As in `signal`, without the conversions to enums, which would cost more than all the rest."""


class ChildEnvironment:
    """One child's."""

    def __init__(self, *, output: int, world: World, folder: Path) -> None:
        self._world = world
        self._output = output
        self._nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._at = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._own_folder = folder / str(os.getpid())
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._recursion_limit = sys.getrecursionlimit()
        self._environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
        self._environment["TMPDIR"] = str(self._own_folder)
        self._raw_environment: object = None
        self._handlers: dict[int, Handler] = {}
        self._streams: list[TextIO] = []
        self._changed_ns = self._empty_since_ns = 0
        self._changed_seen_at = 0.0

    def set_up(self, *, parent: int, title: str, keep: set[int]) -> None:
        """First thing in the child: leave the worker's session, signals and descriptors, but for those to keep."""
        os.setsid()
        die_with_parent(parent)
        adopt_orphans()
        forbid_new_privileges()
        signal.set_wakeup_fd(-1)
        for number, handler in HANDLERS.items():
            signal.signal(number, handler)
        _set_mask(signal.SIG_SETMASK, ())
        self._connect_standard_streams()
        close_descriptors(keep=keep | {self._output, self._nothing, self._at})
        set_title(title)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_bytes(OUT_OF_MEMORY_SCORE)
        self._take_folder()
        self._restore_environment()
        gc.freeze()  # what came with the fork is shared as long as nobody looks through it

    def catch(self, number: signal.Signals, handler: Callable[..., None]) -> None:
        """Ours from here on, and after every job again; the last step of settling in."""
        signal.signal(number, handler)
        self._handlers = {number: _handler_of(number) for number in HANDLERS}

    def mark_output(self, mark: bytes) -> None:
        """Put a mark between what was printed before and what comes now; it is written whole."""
        os.write(self._output, mark)

    def end_what_is_left(self) -> None:
        """What the task has printed goes out; what it has started is killed, with all that this has started."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # noqa: BLE001, S110  closed, or replaced by something of the task's
                pass
        for _ in range(ROUNDS):
            if not self._world.has_children():
                return
            children = self._world.children()
            for child in children:
                self._world.kill(child, signal.SIGKILL)
            for child in children:
                self._world.wait(child)
        os._exit(EXIT_OUTRUN)  # they multiply faster than they are killed; the kernel kills the rest with us

    def restore(self) -> None:
        """What the task may have changed and the next one must not find."""
        if [*map(_handler_of, self._handlers)] != [*self._handlers.values()]:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
        _set_mask(signal.SIG_SETMASK, ())
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)
        os.umask(self._umask)
        os.fchdir(self._at)
        sys.setrecursionlimit(self._recursion_limit)
        self._connect_standard_streams()
        self._empty_folder()
        self._restore_environment()

    def leave(self) -> None:
        """Nothing stays behind."""
        shutil.rmtree(self._own_folder, ignore_errors=True)

    def _connect_standard_streams(self) -> None:
        """Nothing to read; what is printed, by whatever program, goes to the worker."""
        for fd, to in ((self._nothing, 0), (self._output, 1), (self._output, 2)):
            os.dup2(fd, to)
        if not self._streams or True in [stream.closed for stream in self._streams]:
            writers = (open(fd, "w", buffering=1, errors="backslashreplace", closefd=False) for fd in (1, 2))
            self._streams = [open(0, closefd=False), *writers]
        sys.stdin, sys.stdout, sys.stderr = self._streams

    def _restore_environment(self) -> None:
        """Compared as `os` keeps it, because to decode it all for every job would cost more than the job."""
        if self._raw_environment is None or vars(os.environ).get("_data") != self._raw_environment:
            os.environ.clear()
            os.environ.update(self._environment)
            self._raw_environment = dict(vars(os.environ).get("_data", {}))

    def _take_folder(self) -> None:
        """A temporary folder of its own; those of children that are gone are removed by whoever comes next."""
        with contextlib.suppress(OSError):  # a full disk: tasks that need no folder can still run
            for folder in self._own_folder.parent.glob("[0-9]*"):
                if folder == self._own_folder or not Path("/proc", folder.name).exists():
                    shutil.rmtree(folder, ignore_errors=True)
            self._own_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.tempdir = str(self._own_folder)

    def _empty_folder(self) -> None:
        tempfile.tempdir = str(self._own_folder)
        with contextlib.suppress(OSError):
            if self._is_untouched() or not os.listdir(self._own_folder):
                return
        shutil.rmtree(self._own_folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._own_folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _is_untouched(self) -> bool:
        """Nothing has come or gone since it was found empty: told by its time of change, which no task can set.

        The system's clock for files ticks every few milliseconds, so a time counts only once it has been the same for longer.
        """
        changed_ns = os.stat(self._own_folder).st_ctime_ns
        if changed_ns == self._empty_since_ns:
            return True
        now = self._world.monotonic()
        if changed_ns != self._changed_ns:
            self._changed_ns, self._changed_seen_at = changed_ns, now
        elif now - self._changed_seen_at > FILE_CLOCK_S and not os.listdir(self._own_folder):
            self._empty_since_ns = changed_ns
            return True
        return False
