"""Detects whether a job has changed anything in its process that must be undone: by audit events and a few wrapped functions.

    untouched ──▶ nothing to undo      touched ──▶ `ChildEnvironment.restore`      spent ──▶ the child is replaced

It is installed before the user's modules are imported, so that `from os import umask` is seen, too. Changes by native code are not
seen; they are undone after the next job that is seen to change something.
"""

from __future__ import annotations

import _locale
import functools
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

QUIET = frozenset(
    {
        "builtins.id", "code.__new__", "compile", "exec", "marshal.loads", "object.__delattr__", "object.__getattr__",
        "object.__setattr__", "os.listdir", "os.scandir", "os.walk", "os.fwalk", "pickle.find_class", "socket.__new__",
        "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname",
        "socket.gethostname", "socket.getnameinfo", "socket.getservbyname", "socket.sendmsg", "socket.sendto",
        "sys._current_frames", "sys._getframe", "sys._getframemodulename", "sys.set_asyncgen_hooks_finalizer",
        "sys.set_asyncgen_hooks_firstiter", "sys.unraisablehook", "urllib.Request",
    }
)  # fmt: skip
"""Audit events that leave nothing behind; any other event may."""

IRREVERSIBLE = frozenset({"resource.prlimit", "resource.setrlimit"})
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

TOUCHING_CALLS: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (os, ("close", "closerange", "dup2", "umask")),
    (signal, ("alarm", "pthread_sigmask", "set_wakeup_fd", "setitimer", "siginterrupt", "signal")),
    (socket, ("setdefaulttimeout",)),
    (sys, ("setrecursionlimit",)),
)
SPENDING_CALLS: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (
        os,
        (
            "chroot", "nice", "sched_setaffinity", "sched_setparam", "sched_setscheduler", "setegid", "seteuid", "setgid",
            "setgroups", "setpgid", "setpgrp", "setpriority", "setregid", "setresgid", "setresuid", "setreuid", "setsid", "setuid",
            "unshare",
        ),
    ),
    (time, ("tzset",)),
)  # fmt: skip


class TouchWatch:
    """The watch of one process; it keeps working after a fork."""

    def __init__(self) -> None:
        self.is_touched = True
        self.is_spent = False

    def install(self) -> None:
        """Start watching; it cannot be stopped."""
        for module, names in TOUCHING_CALLS:
            self._wrap(module, names, self._note_touch)
        for module, names in SPENDING_CALLS:
            self._wrap(module, names, self._note_spent)
        self._wrap_setlocale()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event in QUIET:
            return
        if event == "open" and isinstance(args[2], int) and not args[2] & WRITING:
            return
        self.is_touched = True
        if event in IRREVERSIBLE:
            self.is_spent = True

    def _note_touch(self) -> None:
        self.is_touched = True

    def _note_spent(self) -> None:
        self.is_touched = self.is_spent = True

    def _wrap(self, module: ModuleType, names: tuple[str, ...], note: Callable[[], None]) -> None:
        for name in names:
            if hasattr(module, name):
                setattr(module, name, _noting(getattr(module, name), note))

    def _wrap_setlocale(self) -> None:
        """`locale` takes the function from `_locale` when it is imported; without a second argument a call only reads."""
        original = _locale.setlocale

        @functools.wraps(original)
        def setlocale(category: int, locale: Any = None) -> str:
            if locale is not None:
                self._note_spent()
            return original(category, locale)

        _locale.setlocale = setlocale
        if "locale" in sys.modules:
            vars(sys.modules["locale"])["_setlocale"] = setlocale


def _noting(function: Callable[..., Any], note: Callable[[], None]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        note()
        return function(*args, **named)

    return call


WATCH = TouchWatch()
"""The watch of this process."""
