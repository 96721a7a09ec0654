"""Stop requests while a start is being checked, before the guard waits for signals.

The handlers only record a signal and raise nothing: an exception raised inside one of Python's own fork hooks is printed and lost,
and the system would come up although it was told to stop. Instead, every wait of the start also waits for a signal.

    jobyard.__main__: stop signals are blocked ──▶ install: handlers, unblocked ──▶ close: blocked again, for the guard
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


Wait = Callable[[int, float | None], bool]
"""Waits until a descriptor is readable; False after the timeout in seconds."""


def wait_readable(fd: int, timeout_s: float | None) -> bool:
    """A `Wait` that stop requests do not interrupt."""
    return bool(select.select([fd], [], [], timeout_s)[0])


class Stopped(Exception):
    """A stop was requested during the start."""


class StopRequests:
    """The stop requests of this process."""

    def __init__(self) -> None:
        self.is_requested = False
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self) -> StopRequests:
        """Record the stop signals from now on, and those that were blocked until now. An ignored signal stays ignored."""
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        return self

    def check(self) -> None:
        """Raise `Stopped` if a stop was requested."""
        if self.is_requested:
            raise Stopped

    def wait_readable(self, fd: int, timeout_s: float | None = None) -> bool:
        """Whether the descriptor became readable in time; raises `Stopped` as soon as a stop is requested."""
        self.check()
        readable, _, _ = select.select([fd, self._read_fd], [], [], timeout_s)
        self.check()
        return fd in readable

    def close(self) -> None:
        """Block the stop signals for whoever waits for them next, then raise `Stopped` if one has arrived before."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        signal.set_wakeup_fd(-1)
        os.close(self._read_fd)
        os.close(self._write_fd)
        self.check()

    def _note(self, number: int, frame: object) -> None:
        self.is_requested = True
