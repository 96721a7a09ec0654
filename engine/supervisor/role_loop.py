"""The loop that every role runs in: poll, tick, sleep; with signals, heartbeat and drain in one place.

A role is an object with a `tick`: it receives what has arrived since its last tick and returns how long it may sleep. It never
blocks on another process. SIGTERM makes it drain (it continues to tick until `drained`), and repeated ones make no difference: the
supervisor sends SIGKILL to processes that it does not wait for. When the supervisor dies, the kernel sends SIGKILL.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Protocol

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

PUBLISHED_WITHIN_S, LOOK_AGAIN_S = 1.0, 0.1


class Role(Protocol):
    """What a process does; the loop calls it."""

    @property
    def drained(self) -> bool:
        """Whether nothing is left to do after `drain`."""

    def tick(self, inbox: list[Envelope]) -> float:
        """Handle everything that arrived; returns the longest time to sleep before the next tick, in seconds."""

    def drain(self) -> None:
        """Take nothing new from now on."""

    def close(self) -> None:
        """Release everything; the last call."""

    def counters(self) -> ComponentCounters:
        """Its counters; called at most ten times a second, before it sleeps."""


class Signals:
    """Notes signals and wakes the loop; handlers do nothing else."""

    def __init__(self, *noted: signal.Signals) -> None:
        self.seen = dict.fromkeys(noted, 0)
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def install(self) -> int:
        """Install the handlers and unblock the signals, pending ones too; returns a descriptor that is readable after a signal."""
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


def start_afresh(keep: frozenset[int]) -> None:
    """The first step in a fork: drop the parent's signal handlers, then its descriptors except for these and the standard three."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    close_descriptors(keep=set(keep))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def live(
    build: Callable[[Hub], Role], *, name: str, parent: int, hub: Hub, channel: Channel, heartbeat: Heartbeat, log: Log,
    world: World, longest_sleep_s: float,
) -> int:  # fmt: skip
    """The main function of a role's process; returns the exit status. `build` opens what the role needs, in this process."""
    die_with_parent(parent)
    set_title(f"jobyard: {name}")
    signals = Signals(signal.SIGTERM)
    hub.watch(signals.install())
    role = build(hub)
    hub.listen(name)
    hub.watch(channel.bell)
    publisher = Publisher(channel, world, name=name, read=role.counters)
    first_sign = FirstSign(publisher, world)
    sleep_s = 0.0
    draining = False
    while not (draining and role.drained):
        envelopes, rang = _without_bell(hub.poll(min(sleep_s, longest_sleep_s)), channel.bell)
        if signals.seen[signal.SIGTERM] and not draining:
            draining = True
            log.info("drain_begun", process=name)
            role.drain()
        signals.clear()
        is_idle = sleep_s >= longest_sleep_s and all(isinstance(envelope.message, Ping) for envelope in envelopes)
        sleep_s = min(role.tick(envelopes), publisher.turn(rang=rang, has_changed=not is_idle), first_sign.sleep_s())
        if first_sign.was_shown:
            heartbeat.beat()
    publisher.close()
    role.close()
    hub.close()
    log.info("process_left", process=name)
    return EXIT_OK


class FirstSign:
    """A component counts as ready when its counters can be read; a control that is away is not waited for."""

    def __init__(self, publisher: Publisher, world: World) -> None:
        self._publisher = publisher
        self._world = world
        self._at_last = world.monotonic() + PUBLISHED_WITHIN_S
        self.was_shown = False

    def sleep_s(self) -> float:
        """Check whether it is ready; returns the longest time until the next check."""
        self.was_shown = self.was_shown or self._publisher.has_published or self._world.monotonic() >= self._at_last
        return float("inf") if self.was_shown else LOOK_AGAIN_S


def _without_bell(envelopes: list[Envelope], bell: int) -> tuple[list[Envelope], bool]:
    """Separate the role's messages from those for the publisher."""
    if not any(isinstance(envelope.message, Ready) and envelope.message.fd == bell for envelope in envelopes):
        return envelopes, False
    rest = [envelope for envelope in envelopes if not (isinstance(envelope.message, Ready) and envelope.message.fd == bell)]
    return rest, True


def words_for(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
