"""The event loop that runs every role: poll, tick, sleep, with signals, heartbeat and drain handled in one place.

`Role.tick` receives the messages that arrived since the last tick and returns how long the loop may sleep. It never blocks on
another process. On SIGTERM the role drains: it keeps ticking until `drained`. Further SIGTERMs have no effect; at a second stop of
the system the supervisor sends `HASTEN`, and SIGKILL to a process that takes too long. If the parent dies, the kernel kills the
process by its parent-death signal.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from jobyard.engine.control.channel import Channel
from jobyard.engine.control.publisher import Publisher
from jobyard.engine.logs import Log
from jobyard.engine.metrics import ComponentCounters
from jobyard.engine.process_control import close_descriptors, die_with_parent, set_title
from jobyard.engine.supervisor.heartbeat import Heartbeat
from jobyard.engine.wire.hub import Envelope, Hub
from jobyard.engine.wire.messages import Ping, Ready
from jobyard.engine.world import World

EXIT_OK = 0
EXIT_CANNOT_START = 2
EXIT_SOFTWARE = 70
EXIT_STOPPED_AT_ONCE = 130

PUBLISH_TIMEOUT_S, RECHECK_S = 1.0, 0.1
HASTEN = signal.SIGUSR2
"""Supervisor → a process: end the drain now. Not a second SIGTERM, because a service manager may send one to every process."""


class Role(Protocol):
    """The work of a process."""

    @property
    def drained(self) -> bool:
        """Whether no work is left after `drain`."""

    def tick(self, inbox: list[Envelope]) -> float:
        """Handle everything that arrived; returns the longest time to sleep before the next tick, in seconds."""

    def drain(self) -> None:
        """Accept no new work from now on."""

    def close(self) -> None:
        """Release all resources; the last call."""

    def counters(self) -> ComponentCounters:
        """The current counters; read before the loop sleeps, at most ten times a second."""


@runtime_checkable
class Hastened(Protocol):
    """A role whose drain may take long, and can be cut short."""

    def hasten(self) -> None:
        """End what the drain would wait for; it has begun."""


class Signals:
    """Counts signals and wakes the loop; the handlers do nothing else."""

    def __init__(self, *noted: signal.Signals) -> None:
        self.seen = dict.fromkeys(noted, 0)
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self) -> int:
        """Install the handlers, and unblock signals, which delivers those that arrived since the fork. Returns a descriptor that
        becomes readable on a signal."""
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)  # Ctrl-C may reach the whole process group; the parent decides
        for number in self.seen:
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return self._read_fd

    def clear(self) -> None:
        """Empty the wake-up pipe."""
        try:
            while os.read(self._read_fd, 4096):
                pass
        except BlockingIOError:
            return

    def _note(self, number: int, frame: object) -> None:
        self.seen[signal.Signals(number)] += 1


def reset_after_fork(keep: frozenset[int]) -> None:
    """Called first in a fork: reset the parent's signal handlers, and close its descriptors except these and 0 to 2."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    close_descriptors(keep=set(keep))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def run_role(
    build: Callable[[Hub], Role], *, name: str, parent: int, hub: Hub, channel: Channel, heartbeat: Heartbeat, log: Log,
    world: World, longest_sleep_s: float,
) -> int:  # fmt: skip
    """The main function of a child process; returns the exit status. `build` opens the role's resources in this process."""
    die_with_parent(parent)
    set_title(f"jobyard: {name}")
    signals = Signals(signal.SIGTERM, HASTEN)
    hub.watch(signals.install())
    role = build(hub)
    hub.listen(name)
    hub.watch(channel.wakeup_fd)
    publisher = Publisher(channel, world, name=name, read=role.counters)
    readiness = Readiness(publisher, world)
    sleep_s = 0.0
    draining = hastened = False
    while not (draining and role.drained):
        envelopes, is_readable = _split(hub.poll(min(sleep_s, longest_sleep_s)), channel.wakeup_fd)
        if (signals.seen[signal.SIGTERM] or signals.seen[HASTEN]) and not draining:
            draining = True
            log.info("drain_begun", process=name)
            role.drain()
        if signals.seen[HASTEN] and not hastened and isinstance(role, Hastened):
            hastened = True
            role.hasten()
        signals.clear()
        is_idle = sleep_s >= longest_sleep_s and all(isinstance(envelope.message, Ping) for envelope in envelopes)
        sleep_s = min(role.tick(envelopes), publisher.tick(is_readable=is_readable, has_changed=not is_idle), readiness.update())
        if readiness.is_ready:
            heartbeat.beat()
    publisher.close()
    role.close()
    hub.close()
    log.info("process_left", process=name)
    return EXIT_OK


class Readiness:
    """A component is ready when its counters can be read from control, or after a second if control is away."""

    def __init__(self, publisher: Publisher, world: World) -> None:
        self._publisher = publisher
        self._world = world
        self._give_up_at = world.monotonic() + PUBLISH_TIMEOUT_S
        self.is_ready = False

    def update(self) -> float:
        """Check whether it is ready now; returns the longest time until the next call in seconds."""
        self.is_ready = self.is_ready or self._publisher.has_published or self._world.monotonic() >= self._give_up_at
        return float("inf") if self.is_ready else RECHECK_S


def _split(envelopes: list[Envelope], publisher_fd: int) -> tuple[list[Envelope], bool]:
    """The messages for the role, and whether the publisher's descriptor is readable."""
    if not any(isinstance(envelope.message, Ready) and envelope.message.fd == publisher_fd for envelope in envelopes):
        return envelopes, False
    rest = [one for one in envelopes if not (isinstance(one.message, Ready) and one.message.fd == publisher_fd)]
    return rest, True


def describe_exit(status: int) -> str:
    """An exit status (negative: the number of a signal) in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
