"""Settings of the interpreter that a job may change for the whole process, and that are restored after it."""

from __future__ import annotations

import _socket
import gc
import sys
from collections.abc import Callable

_SETTINGS: tuple[tuple[Callable[[], object], Callable[..., object]], ...] = (
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (sys.getswitchinterval, sys.setswitchinterval),
    (sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    (sys.gettrace, sys.settrace),
    (sys.getprofile, sys.setprofile),
    (_socket.getdefaulttimeout, _socket.setdefaulttimeout),
)
"""The original functions, taken before `touch_watch` wraps them."""

_enable_gc, _disable_gc, _set_gc_threshold = gc.enable, gc.disable, gc.set_threshold


class InterpreterState:
    """The settings at the time of its creation."""

    def __init__(self) -> None:
        self._values = [read() for read, _ in _SETTINGS]
        self._gc = (gc.isenabled(), gc.get_threshold())

    def restore(self) -> None:
        """Restore the settings that have changed."""
        for (read, write), value in zip(_SETTINGS, self._values, strict=True):
            if read() != value:
                write(value)
        is_enabled, threshold = self._gc
        if gc.isenabled() != is_enabled:
            (_enable_gc if is_enabled else _disable_gc)()
        if gc.get_threshold() != threshold:
            _set_gc_threshold(*threshold)
