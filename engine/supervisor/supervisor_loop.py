"""The supervisor's process around its state machine: signals, the hub that wakes it, forks that inherit only what they need.

    guard ──fork──▶ supervisor ──fork──▶ everything else

If one of the three dies, the others end: the kernel sends SIGKILL to the children when the supervisor dies (`role_loop.live`); the
supervisor receives `END` when the guard dies, and kills all; the guard kills what the supervisor leaves behind.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from jobyard.engine.process_control import adopt_orphans, die_with_parent, set_title
from jobyard.engine.supervisor.commands import Commands
from jobyard.engine.supervisor.control_link import ControlLink
from jobyard.engine.supervisor.guard import END, RELOAD, STOP
from jobyard.engine.supervisor.process_table import ProcessIdentity, ProcessSpec
from jobyard.engine.supervisor.readiness import SupervisorSigns
from jobyard.engine.supervisor.role_loop import Signals, start_afresh
from jobyard.engine.supervisor.supervisor import Supervisor
from jobyard.engine.wire.hub import Hub
from jobyard.engine.wire.messages import Ready
from jobyard.engine.world import World

HELD_BACK = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, STOP, RELOAD, END, signal.SIGCHLD)


def become_supervisor(guard: int) -> None:
    """The first step in the guard's fork: a session of its own, so that Ctrl-C and a closed terminal reach the guard only."""
    os.setsid()
    die_with_parent(guard, END)
    adopt_orphans()
    set_title("jobyard: supervisor")


def run_supervisor(
    supervisor: Supervisor, *, hub: Hub, name: str, guard: int, signs: SupervisorSigns, link: ControlLink, commands: Commands
) -> int:  # fmt: skip
    """Tick until everything has exited, reporting each tick to the guard and to control; returns the exit status."""
    signals = Signals(signal.SIGTERM, signal.SIGINT, STOP, RELOAD, END, signal.SIGCHLD)
    hub.watch(signals.install())
    hub.listen(name)
    for bell in link.bells:
        hub.watch(bell)
    sleep_s, reloads = 0.0, 0
    while not supervisor.has_left:
        envelopes = hub.poll(min(sleep_s, link.sleep_s()))
        signals.clear()
        asked = max(signals.seen[number] for number in (signal.SIGTERM, signal.SIGINT, STOP))
        if asked > 1 or signals.seen[END] or os.getppid() != guard:
            supervisor.kill_all()
        elif asked:
            supervisor.stop()
        elif signals.seen[RELOAD] > reloads:
            reloads = signals.seen[RELOAD]
            supervisor.reload()
        rang = any(isinstance(envelope.message, Ready) and envelope.message.fd in link.bells for envelope in envelopes)
        for command in link.turn(rang=rang):
            commands.obey(command)
        sleep_s = supervisor.tick(envelopes)
        link.tell(supervisor.roster(), commands.settled())
        signs.turn.beat()
    link.close()
    hub.close()
    return supervisor.exit_status


def fork_process(world: World, spec: ProcessSpec, identity: ProcessIdentity, *, keep: frozenset[int]) -> int:
    """Start the process of a row; returns its pid."""
    return fork_afresh(world, lambda: spec.main(identity), keep=spec.keeps | keep)


def fork_afresh(world: World, main: Callable[[], int], *, keep: frozenset[int]) -> int:
    """Fork a child that keeps only these descriptors; returns its pid.

    Signals are blocked until it has dropped the parent's handlers, so that none of them is lost there.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        return world.fork(lambda: _live(main, keep))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)


def _live(main: Callable[[], int], keep: frozenset[int]) -> int:
    start_afresh(keep)
    return main()


