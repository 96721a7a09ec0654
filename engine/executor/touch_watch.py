"""Detects, by audit events and wrapped calls, whether a job has changed process state that the next job must not see.

    untouched ──▶ nothing to undo      touched ──▶ `ChildEnvironment.restore`      spent ──▶ the child is replaced

Installed before the user's modules are imported, so that `from os import umask` is covered too. Changes made by native code are
not detected; they are undone after the next job that is detected.
"""

from __future__ import annotations

import _locale
import functools
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

HARMLESS_EVENTS = frozenset(
    {
        "builtins.id", "code.__new__", "compile", "exec", "marshal.loads", "object.__delattr__", "object.__getattr__",
        "object.__setattr__", "os.listdir", "os.scandir", "os.walk", "os.fwalk", "pickle.find_class", "socket.__new__",
        "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname",
        "socket.gethostname", "socket.getnameinfo", "socket.getservbyname", "socket.sendmsg", "socket.sendto",
        "sys._current_frames", "sys._getframe", "sys._getframemodulename", "sys.set_asyncgen_hooks_finalizer",
        "sys.set_asyncgen_hooks_firstiter", "sys.unraisablehook", "urllib.Request",
    }
)  # fmt: skip
"""Audit events that change no process state; any other event may."""

IRREVERSIBLE_EVENTS = frozenset({"resource.prlimit", "resource.setrlimit"})
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

TOUCHING_CALLS: tuple[tuple[ModuleType, tuple[str, ...]], ...] = (
    (os, ("close", "closerange", "dup2", "umask")),
    (signal, ("alarm", "pthread_sigmask", "set_wakeup_fd", "setitimer", "siginterrupt", "signal")),
    (socket, ("setdefaulttimeout",)),
    (sys, ("set_int_max_str_digits", "setrecursionlimit", "setswitchinterval")),
    (gc, ("disable", "enable", "set_threshold")),
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
    """The detector of one process."""

    def __init__(self) -> None:
        self.is_touched = True
        self.is_spent = False

    def install(self) -> None:
        """Start detecting; audit hooks cannot be removed."""
        for module, names in TOUCHING_CALLS:
            self._wrap(module, names, self._note_touch)
        for module, names in SPENDING_CALLS:
            self._wrap(module, names, self._note_spent)
        self._wrap_setlocale()
        sys.addaudithook(self._note_event)

    def _note_event(self, event: str, args: tuple[Any, ...]) -> None:
        if event in HARMLESS_EVENTS:
            return
        if event == "open" and isinstance(args[2], int) and not args[2] & WRITING:
            return
        self.is_touched = True
        if event in IRREVERSIBLE_EVENTS:
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
        """`locale` copies `setlocale` from `_locale` at import; without a second argument it only queries."""
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
"""The detector of this process."""
