"""The first process of a start, parent of the supervisor and of whatever the supervisor's death leaves behind.

It only waits: it passes on the first SIGTERM, Ctrl-C or closing of the terminal, and kills the supervisor at the second. It passes
on SIGHUP as a reload as long as the terminal, if there is one, is still open. When the supervisor has exited for any reason, it
kills and reaps every remaining descendant. If the guard is killed, the kernel signals the supervisor, which kills everything.
Meanwhile it notifies the service manager, if there is one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from jobyard.engine.process_control import adopt_orphans, set_title
from jobyard.engine.supervisor.orphans import Orphans
from jobyard.engine.supervisor.readiness import ReadinessNotifier
from jobyard.engine.supervisor.role_loop import EXIT_STOPPED_AT_ONCE
from jobyard.engine.world import World

STOP = signal.SIGUSR1
"""Guard → supervisor: drain. Not SIGTERM, which a service manager may send to the supervisor, too, and which is no second stop."""

RELOAD = signal.SIGUSR2
"""Guard → supervisor: import the task modules again."""

END = signal.SIGQUIT
"""The kernel, when the guard dies → supervisor: kill everything now."""

STOP_BY = {signal.SIGTERM, signal.SIGINT}
EXIT_BY_SIGNAL = 128
LAST_SWEEP_S = 5.0
SWEEP_EVERY_S = 0.01


def guard(world: World, supervise: Callable[[], int], *, title: str, notifier: ReadinessNotifier) -> int:
    """Fork `supervise` and wait for its end; returns its exit status, 128 + n if signal n ended it. No descendant is left then."""
    set_title(title)
    adopt_orphans()
    terminal = Terminal(stays_when_closed=signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)  # nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # an ignored signal would never be pending
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_BY | {signal.SIGHUP, signal.SIGCHLD, STOP, RELOAD})
    status, stops = _await_end(world, world.fork(supervise), terminal, notifier)
    notifier.stop()
    _sweep_all(world)
    if stops > 1:
        return EXIT_STOPPED_AT_ONCE
    return status if status >= 0 else EXIT_BY_SIGNAL - status


class Terminal:
    """The terminal of the start, if any. Closing it may send SIGHUP several times, which counts as one stop."""

    def __init__(self, *, stays_when_closed: bool) -> None:
        self._stays_when_closed = stays_when_closed
        self._was_there = _has_terminal()
        self._is_closed = False

    def stops(self) -> bool:
        """Whether a SIGHUP means that the terminal was closed, the first time that this is noticed."""
        if not self.is_gone() or self._is_closed:
            return False
        self._is_closed = True
        return not self._stays_when_closed

    def is_gone(self) -> bool:
        """Whether there was a terminal and it is closed now."""
        return self._was_there and not _has_terminal()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _await_end(world: World, supervisor: int, terminal: Terminal, notifier: ReadinessNotifier) -> tuple[int, int]:
    """Wait for the supervisor; returns its exit status, and how many stops were requested."""
    stops = 0
    while True:
        came = _await_signal(STOP_BY | {signal.SIGHUP, signal.SIGCHLD}, longest_s=notifier.look())
        if came == signal.SIGHUP and not terminal.is_gone():
            world.kill(supervisor, RELOAD)
        elif came in STOP_BY or (came == signal.SIGHUP and terminal.stops()):
            stops += 1
            notifier.stop()
            world.kill(supervisor, STOP if stops == 1 else signal.SIGKILL)
        for pid, status in world.reap():
            if pid == supervisor:
                return status, stops


def _await_signal(numbers: set[signal.Signals], *, longest_s: float | None) -> int | None:
    """The next signal; None if the time is over first."""
    if longest_s is None:
        return signal.sigwait(numbers)
    info = signal.sigtimedwait(numbers, longest_s)
    return info.si_signo if info else None


def _sweep_all(world: World) -> None:
    orphans = Orphans(world)
    give_up_at = world.monotonic() + LAST_SWEEP_S
    while orphans.sweep(set()) and world.monotonic() < give_up_at:
        signal.sigtimedwait({signal.SIGCHLD}, SWEEP_EVERY_S)
        world.reap()
