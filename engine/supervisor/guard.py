"""The first process of a start: parent of the supervisor, and subreaper of whatever a dead supervisor leaves behind.

It only waits for signals and for the supervisor's end:
- the first SIGTERM, SIGINT or closing of the terminal is forwarded as a drain; the second as an order to end at once, and a
  supervisor that does not is killed;
- SIGHUP is forwarded as a reload, as long as the terminal, if there was one, still exists;
- after the supervisor has ended, in whatever way, it kills and reaps every remaining descendant.
If the guard itself is killed, the supervisor receives `END` as its parent-death signal and ends everything. The guard also runs the
notifier that reports to a service manager, if there is one.
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
"""Guard → supervisor: drain. Not SIGTERM, because a service manager may send it to the supervisor too, which is no second stop."""

STOP_AT_ONCE = signal.SIGRTMIN
"""Guard → supervisor: the second stop. A signal of its own, so that it is not taken for a part of the first."""

RELOAD = signal.SIGUSR2
"""Guard → supervisor: reload the task modules."""

END = signal.SIGQUIT
"""Parent-death signal of the supervisor: kill everything now."""

SAME_STOP_S = 1.0
"""Stop requests within this time count as one: a terminal, a shell and a service manager may all send one."""

AT_ONCE_S = 6.0
"""How long the supervisor may take for `STOP_AT_ONCE`; longer than its own limit, so that only one that hangs is killed."""

EXIT_BY_SIGNAL = 128
LAST_SWEEP_S = 5.0
SWEEP_EVERY_S = 0.01


def guard(world: World, supervise: Callable[[], int], *, title: str, notifier: ReadinessNotifier) -> int:
    """Fork `supervise` and wait until it and all its descendants have ended; its exit status, or 128 + n if signal n ended it."""
    set_title(title)
    children = world.children()  # of a shell that started them before it executed this program
    adopt_orphans()
    stop_by = {signal.SIGTERM} | ({signal.SIGINT} if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN else set())
    terminal = Terminal(stays_when_closed=signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)  # nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # sigwait does not return an ignored signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {*stop_by, signal.SIGHUP, signal.SIGCHLD, STOP, STOP_AT_ONCE, RELOAD})
    stops = StopCounter(world)
    status = _await_end(world, world.fork(supervise), terminal=terminal, notifier=notifier, stop_by=stop_by, stops=stops)
    notifier.stop()
    _sweep_all(world, spared=set(children))
    if stops.count > 1:
        return EXIT_STOPPED_AT_ONCE
    return status if status >= 0 else EXIT_BY_SIGNAL - status


class StopCounter:
    """Counts stop requests; those within `SAME_STOP_S` of one that was counted are the same one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._counted_at = float("-inf")
        self.count = 0

    def note(self) -> bool:
        """A stop was requested; whether it is a new one."""
        now = self._world.monotonic()
        if now - self._counted_at < SAME_STOP_S:
            return False
        self._counted_at = now
        self.count += 1
        return True


class Terminal:
    """The controlling terminal, if any. Closing it may send SIGHUP several times, which counts as one stop."""

    def __init__(self, *, stays_when_closed: bool) -> None:
        self._stays_when_closed = stays_when_closed
        self._existed = _has_terminal()
        self._was_counted = False

    def requests_stop(self) -> bool:
        """Whether this SIGHUP is the first since the terminal was closed, and a closed terminal stops the system."""
        if not self.is_closed() or self._was_counted:
            return False
        self._was_counted = True
        return not self._stays_when_closed

    def is_closed(self) -> bool:
        """Whether there was a terminal, and it has been closed."""
        return self._existed and not _has_terminal()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _await_end(
    world: World, supervisor: int, *, terminal: Terminal, notifier: ReadinessNotifier, stop_by: set[signal.Signals],
    stops: StopCounter,
) -> int:  # fmt: skip
    """Forward signals until the supervisor has ended; returns its exit status."""
    kill_at = float("inf")
    while True:
        received = _await_signal(stop_by | {signal.SIGHUP, signal.SIGCHLD}, timeout_s=_sooner(notifier.update(), kill_at, world))
        if received == signal.SIGHUP and not terminal.is_closed():
            world.kill(supervisor, RELOAD)
        elif (received in stop_by or (received == signal.SIGHUP and terminal.requests_stop())) and stops.note():
            notifier.stop()
            world.kill(supervisor, STOP if stops.count == 1 else STOP_AT_ONCE)
            kill_at = kill_at if stops.count != 2 else world.monotonic() + AT_ONCE_S
        if world.monotonic() >= kill_at:
            world.kill(supervisor, signal.SIGKILL)
        for pid, status in world.reap():
            if pid == supervisor:
                return status


def _sooner(timeout_s: float | None, at: float, world: World) -> float | None:
    """The timeout, or the seconds until this monotonic time, whichever is less; None: neither is limited."""
    if at == float("inf"):
        return timeout_s
    until_s = max(0.0, at - world.monotonic())
    return until_s if timeout_s is None else min(until_s, timeout_s)


def _await_signal(numbers: set[signal.Signals], *, timeout_s: float | None) -> int | None:
    """The signal received; None after the timeout."""
    if timeout_s is None:
        return signal.sigwait(numbers)
    info = signal.sigtimedwait(numbers, timeout_s)
    return info.si_signo if info else None


def _sweep_all(world: World, *, spared: set[int]) -> None:
    """Kill what the supervisor has left. Its descendants are in other sessions than the guard, whose session is that of the program
    that started it: what that program started there is not ours to kill."""
    orphans = Orphans(world)
    give_up_at = world.monotonic() + LAST_SWEEP_S
    while orphans.sweep(spared | _of_own_session(world)) and world.monotonic() < give_up_at:
        signal.sigtimedwait({signal.SIGCHLD}, SWEEP_EVERY_S)
        world.reap()


def _of_own_session(world: World) -> set[int]:
    session = os.getsid(0)
    return {pid for pid in world.children() if world.session_of(pid) == session}
