"""The first process of a start, parent of the supervisor and of whatever the supervisor's death leaves behind.

It does nothing but wait: passes SIGTERM, Ctrl-C and a closed terminal on; when the supervisor has ended, however it did, it kills
and reaps every descendant that is left. If the guard itself is killed, the kernel tells the supervisor, which ends everything.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from engine.process_control import adopt_orphans, set_title
from engine.processes.burial import Orphans
from engine.world import World

STOP = signal.SIGUSR1
"""Guard → supervisor: drain. Not SIGTERM, which a service manager may send to the supervisor as well: that is no second one."""

END = signal.SIGQUIT
"""Guard (or the kernel, at its death) → supervisor: kill everything now."""

EXIT_BY_SIGNAL = 128
LAST_SWEEP_S = 5.0
SWEEP_EVERY_S = 0.01


def guard(world: World, supervise: Callable[[], int], *, title: str) -> int:
    """Fork `supervise` and see it through; its exit status, 128 + n when signal n ended it. Nothing of it is left then."""
    set_title(title)
    adopt_orphans()
    passed_on = {signal.SIGTERM, signal.SIGINT}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        passed_on.add(signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, passed_on | {signal.SIGCHLD, STOP})
    status = _await_end(world, world.fork(supervise), passed_on)
    _sweep_all(world)
    return status if status >= 0 else EXIT_BY_SIGNAL - status


def _await_end(world: World, supervisor: int, passed_on: set[signal.Signals]) -> int:
    word = STOP
    while True:
        if signal.sigwait(passed_on | {signal.SIGCHLD}) in passed_on:
            world.kill(supervisor, word)
            word = END
        for pid, status in world.reap():
            if pid == supervisor:
                return status


def _sweep_all(world: World) -> None:
    orphans = Orphans(world)
    give_up_at = world.monotonic() + LAST_SWEEP_S
    while orphans.sweep(set()) and world.monotonic() < give_up_at:
        signal.sigtimedwait({signal.SIGCHLD}, SWEEP_EVERY_S)
        world.reap()
