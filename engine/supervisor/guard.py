"""The first process of a start, parent of the supervisor and of whatever the supervisor's death leaves behind.

It does nothing but wait: passes the first SIGTERM, Ctrl-C or closing of the terminal on, kills the supervisor at the second; when
the supervisor has ended, however it did, it kills and reaps every descendant that is left. If the guard itself is killed, the
kernel tells the supervisor, which ends everything. Where a service manager wants to know, the guard's herald tells it meanwhile.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from jobyard.engine.process_control import adopt_orphans, set_title
from jobyard.engine.supervisor.orphans import Orphans
from jobyard.engine.supervisor.readiness import ReadinessNotifier
from jobyard.engine.supervisor.role_loop import EXIT_STOPPED_AT_ONCE
from jobyard.engine.world import World

STOP = signal.SIGUSR1
"""Guard → supervisor: drain. Not SIGTERM, which a service manager may send to the supervisor as well: that is no second one."""

END = signal.SIGQUIT
"""The kernel, at the guard's death → supervisor: kill everything now."""

EXIT_BY_SIGNAL = 128
LAST_SWEEP_S = 5.0
SWEEP_EVERY_S = 0.01


def guard(world: World, supervise: Callable[[], int], *, title: str, notifier: ReadinessNotifier) -> int:
    """Fork `supervise` and see it through; its exit status, 128 + n when signal n ended it. Nothing of it is left then."""
    set_title(title)
    adopt_orphans()
    stop_by = {signal.SIGTERM, signal.SIGINT}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        stop_by.add(signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_by | {signal.SIGCHLD, STOP})
    status, stops = _await_end(world, world.fork(supervise), stop_by, notifier)
    notifier.stop()
    _sweep_all(world)
    if stops > 1:
        return EXIT_STOPPED_AT_ONCE
    return status if status >= 0 else EXIT_BY_SIGNAL - status


def _await_end(world: World, supervisor: int, stop_by: set[signal.Signals], notifier: ReadinessNotifier) -> tuple[int, int]:
    """Its exit status, and how often it was to stop."""
    stops = 0
    while True:
        if _await_signal(stop_by | {signal.SIGCHLD}, longest_s=notifier.look()) in stop_by:
            stops += 1
            notifier.stop()
            world.kill(supervisor, STOP if stops == 1 else signal.SIGKILL)
        for pid, status in world.reap():
            if pid == supervisor:
                return status, stops


def _await_signal(numbers: set[signal.Signals], *, longest_s: float | None) -> int | None:
    """The signal that came; None when the time was over first."""
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
