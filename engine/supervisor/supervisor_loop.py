"""Runs the supervisor's state machine: signals, the hub that wakes it, and forks that inherit only what they need.

    guard ──fork──▶ supervisor ──fork──▶ everything else

If one of the three dies, so do the others: children get SIGKILL from the kernel when the supervisor dies (`role_loop.run_role`);
the supervisor receives `END` when the guard dies, and kills all; the guard kills whatever a dead supervisor leaves behind.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from jobyard.engine.process_control import adopt_orphans, die_with_parent, set_title
from jobyard.engine.supervisor.commands import Commands
from jobyard.engine.supervisor.control_link import ControlLink
from jobyard.engine.supervisor.guard import END, RELOAD, STOP, STOP_AT_ONCE, StopCounter
from jobyard.engine.supervisor.process_table import ProcessIdentity, ProcessSpec
from jobyard.engine.supervisor.readiness import SupervisorHeartbeat
from jobyard.engine.supervisor.role_loop import Signals, reset_after_fork
from jobyard.engine.supervisor.supervisor import Supervisor
from jobyard.engine.wire.hub import Hub
from jobyard.engine.wire.messages import Ready
from jobyard.engine.world import World

BLOCKED_DURING_FORK = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, STOP, STOP_AT_ONCE, RELOAD, END, signal.SIGCHLD)


def become_supervisor(guard: int) -> None:
    """Called first in the guard's fork. The new session makes Ctrl-C and a closed terminal reach the guard only."""
    os.setsid()
    die_with_parent(guard, END)
    adopt_orphans()
    set_title("jobyard: supervisor")


def run_supervisor(
    supervisor: Supervisor, *, hub: Hub, name: str, guard: int, heartbeat: SupervisorHeartbeat, link: ControlLink,
    commands: Commands, world: World,
) -> int:  # fmt: skip
    """Run until everything has ended, reporting each iteration to the guard and to control; returns the exit status."""
    signals = Signals(signal.SIGTERM, signal.SIGINT, STOP, STOP_AT_ONCE, RELOAD, END, signal.SIGCHLD)
    hub.watch(signals.install())
    hub.listen(name)
    for fd in link.wakeup_fds:
        hub.watch(fd)
    stops = Stops(signals, world)
    sleep_s, reloads = 0.0, 0
    while not supervisor.has_ended:
        envelopes = hub.poll(min(sleep_s, link.sleep_s()))
        signals.clear()
        requested = stops.count()
        if signals.seen[END] or os.getppid() != guard:
            supervisor.kill_all()
        elif requested > 1 or signals.seen[STOP_AT_ONCE]:
            supervisor.stop_at_once()
        elif requested:
            supervisor.stop()
        elif signals.seen[RELOAD] > reloads:
            reloads = signals.seen[RELOAD]
            supervisor.reload()
        is_readable = any(isinstance(one.message, Ready) and one.message.fd in link.wakeup_fds for one in envelopes)
        for command in link.tick(is_readable=is_readable):
            commands.execute(command)
        sleep_s = supervisor.tick(envelopes)
        link.report(supervisor.roster(), commands.settled())
        heartbeat.tick.beat()
    link.close()
    hub.close()
    return supervisor.exit_status


class Stops:
    """How often this process was asked to stop, whoever asked: the signals of a service manager and of the guard are one stop."""

    def __init__(self, signals: Signals, world: World) -> None:
        self._signals = signals
        self._counters = {number: StopCounter(world) for number in (signal.SIGTERM, signal.SIGINT, STOP)}
        self._seen = dict.fromkeys(self._counters, 0)

    def count(self) -> int:
        """The largest number of stops by one of the signals."""
        for number, counter in self._counters.items():
            if self._signals.seen[number] > self._seen[number]:
                self._seen[number] = self._signals.seen[number]
                counter.note()
        return max(counter.count for counter in self._counters.values())


def fork_process(world: World, spec: ProcessSpec, identity: ProcessIdentity, *, keep: frozenset[int]) -> int:
    """Fork the process of this spec; returns its pid."""
    return fork_and_reset(world, lambda: spec.main(identity), keep=spec.keeps | keep)


def fork_and_reset(world: World, main: Callable[[], int], *, keep: frozenset[int]) -> int:
    """Fork a child that keeps only these descriptors; returns its pid. Signals are blocked until the child has reset this process's
    handlers, so that none is lost to them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_DURING_FORK)
    try:
        return world.fork(lambda: _run(main, keep))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED_DURING_FORK)


def _run(main: Callable[[], int], keep: frozenset[int]) -> int:
    reset_after_fork(keep)
    return main()


