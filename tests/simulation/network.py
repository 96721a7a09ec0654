"""Connections and hints between simulated processes and clients, as the kernel's sockets and `wire.hub` behave together.

What was sent before a connection ends arrives before its end does, and in order; letters of different connections overtake each
other. Who sends to somebody that is gone loses the connection at once, with what was on the way to him. Hints may be late, or
never come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.messages import Closed, Message
from tests.simulation.agenda import Agenda
from tests.simulation.process import Process


class Holder(Protocol):
    """Who has an end of a connection."""

    def arrive(self, envelope: Envelope) -> None:
        """Something came."""


class Weather:
    """How good the network is now."""

    def __init__(self) -> None:
        self.latency_s = 0.0002
        self.slow_latency_s = 0.0
        self.slow_rate = 0.0
        self.hint_loss = 0.0


class End:
    """One end of a connection: a `Peer` to who holds it."""

    def __init__(self, agenda: Agenda, holder: Holder, delay: Callable[[], float]) -> None:
        self.holder = holder
        self.is_open = True
        self.is_private = False
        self.other: End = self
        self._agenda = agenda
        self._delay = delay
        self._last_arrival = 0.0

    def send(self, message: Message) -> bool:
        """See `Peer`."""
        if isinstance(self.holder, Process):
            self.holder.effect("a letter")
            self.holder.told(message)
            self._agenda.note(self.holder.who, "→", _shown(self.other.holder), type(message).__name__, *_facts(message))
        if self.is_open and not self.other.is_open:
            self.is_open = False
            self.holder.arrive(Envelope(self, Closed()))
        if self.is_open:
            self.other.expect(message)
        return self.is_open

    def close(self) -> None:
        """See `Peer`."""
        self.end()

    def end(self) -> None:
        """Nothing more is sent or heard here; the other end hears of it after all that was sent."""
        if self.is_open:
            self.is_open = False
            self.other.expect(Closed())

    def cut(self) -> None:
        """Both hear that it is over; what was on the way is lost."""
        for end in (self, self.other):
            if end.is_open:
                end.is_open = False
                end.holder.arrive(Envelope(end, Closed()))

    def expect(self, message: Message) -> None:
        """This will arrive, after what was sent before it."""
        self._last_arrival = max(self._last_arrival, self._agenda.now + self._delay())
        if self._last_arrival <= self._agenda.now:
            self._hear(message)
        else:
            self._agenda.at(self._last_arrival, lambda: self._hear(message))

    def _hear(self, message: Message) -> None:
        if not self.is_open:
            return
        if isinstance(message, Closed):
            self.is_open = False
        self.holder.arrive(Envelope(self, message))


def join(agenda: Agenda, near: Holder, far: Holder, delay: Callable[[], float]) -> End:
    """A connection; the first one's end."""
    ends = End(agenda, near, delay), End(agenda, far, delay)
    ends[0].other, ends[1].other = ends[1], ends[0]
    for end in ends:
        if isinstance(end.holder, Process):
            end.holder.ends.append(end)
    return ends[0]


class HostNetwork:
    """The sockets of one host's run folder."""

    def __init__(self, agenda: Agenda, weather: Weather) -> None:
        self._agenda = agenda
        self.weather = weather
        self.processes: dict[str, Process] = {}

    def connect(self, caller: Holder, address: str) -> End | None:
        """A stream to who listens under this name."""
        process = self.processes.get(address)
        return join(self._agenda, caller, process, self._latency) if process is not None and process.listens else None

    def hint(self, sender: str, address: str, message: Message) -> None:
        """A datagram."""
        if self._agenda.happens(self.weather.hint_loss):
            self._agenda.note(sender, "→ lost hint to", address, type(message).__name__)
            return
        self._agenda.note(sender, "→ hint to", address, type(message).__name__)
        self._agenda.after(self._latency(), lambda: self._hear_hint(address, message))

    def components(self, role: str) -> list[str]:
        """See `RunDir`."""
        return sorted(name for name in self.processes if name.startswith(f"{role}-"))

    def _hear_hint(self, address: str, message: Message) -> None:
        process = self.processes.get(address)
        if process is not None and process.listens:
            process.arrive(Envelope(None, message))

    def _latency(self) -> float:
        if self._agenda.happens(self.weather.slow_rate):
            return self._agenda.between(0, self.weather.slow_latency_s)
        return self._agenda.between(0, self.weather.latency_s)


class ProcessNetwork:
    """A process's `Network`."""

    def __init__(self, process: Process, network: HostNetwork) -> None:
        self._process = process
        self._network = network

    def connect(self, address: str) -> End | None:
        """See `Network`."""
        self._process.effect("a connection")
        return self._network.connect(self._process, address)

    def watch(self, fd: int) -> None:
        """See `Network`."""
        self._process.readable[fd] = self._process.sources[fd]

    def forget(self, fd: int) -> None:
        """See `Network`."""
        self._process.readable.pop(fd, None)

    def hint(self, address: str, message: Message) -> None:
        """See `Network`."""
        self._process.effect("a hint")
        self._network.hint(self._process.who, address, message)


class KnownComponents:
    """What roles ask of a `RunDir`, besides its sockets."""

    def __init__(self, network: HostNetwork, folder: object) -> None:
        self.path = folder
        self._network = network

    def components(self, role: str = "") -> list[str]:
        """See `RunDir`."""
        return self._network.components(role)


def _shown(holder: Holder) -> str:
    return holder.who if isinstance(holder, Process) else getattr(holder, "name", "")


def _facts(message: Message) -> list[str]:
    """Enough of it to follow a trace."""
    tickets = getattr(message, "tickets", None)
    if tickets is not None:
        return [f"{ticket.job_id[-6:]}@{ticket.epoch}" for ticket in tickets]
    leases = getattr(message, "leases", None)
    if leases is not None:
        return [f"{job_id[-6:]}@{epoch}" for job_id, epoch in leases]
    granted = getattr(message, "granted", None)
    if granted is not None:
        return [str(granted)]
    job_id = getattr(message, "job_id", None)
    return [job_id[-6:]] if job_id else []
