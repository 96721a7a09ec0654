"""Connections and hints between simulated processes and clients, as the kernel's sockets and `wire.hub` behave together.

Messages sent before a connection ends arrive before its end, in order; messages of different connections may overtake each other.
A process that sends to a closed end loses the connection at once, with the messages on the way to it. Hints may arrive late, or
never.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from jobyard.engine.wire.hub import Envelope
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Closed
from tests.simulation.event_queue import EventQueue
from tests.simulation.process import Process


class Endpoint(Protocol):
    """The holder of one end of a connection."""

    def deliver(self, envelope: Envelope) -> None:
        """A message arrives."""


class NetworkConditions:
    """The current latency and losses of the network."""

    def __init__(self) -> None:
        self.latency_s = 0.0002
        self.slow_latency_s = 0.0
        self.slow_rate = 0.0
        self.hint_loss = 0.0


class End:
    """One end of a connection: a `Peer` for its holder."""

    def __init__(self, event_queue: EventQueue, holder: Endpoint, delay: Callable[[], float]) -> None:
        self.holder = holder
        self.is_open = True
        self.is_private = False
        self.other: End = self
        self._queue = event_queue
        self._delay = delay
        self._last_arrival = 0.0

    def send(self, message: Message) -> bool:
        """See `Peer`."""
        if isinstance(self.holder, Process):
            self.holder.side_effect("a message")
            self._queue.note(self.holder.who, "→", _describe(self.other.holder), type(message).__name__, *_facts(message))
        if self.is_open and not self.other.is_open:
            self.is_open = False
            self.holder.deliver(Envelope(self, Closed()))
        if self.is_open:
            self.other.enqueue(message)
        return self.is_open

    def close(self) -> None:
        """See `Peer`."""
        self.end()

    def end(self) -> None:
        """Close this end; the other end learns of it after everything that was sent."""
        if self.is_open:
            self.is_open = False
            self.other.enqueue(Closed())

    def cut(self) -> None:
        """Break the connection at both ends; messages on the way are lost."""
        for end in (self, self.other):
            if end.is_open:
                end.is_open = False
                end.holder.deliver(Envelope(end, Closed()))

    def enqueue(self, message: Message) -> None:
        """Schedule the arrival of a message, after those that were sent before it."""
        self._last_arrival = max(self._last_arrival, self._queue.now + self._delay())
        if self._last_arrival <= self._queue.now:
            self._deliver(message)
        else:
            self._queue.at(self._last_arrival, lambda: self._deliver(message))

    def _deliver(self, message: Message) -> None:
        if not self.is_open:
            return
        if isinstance(message, Closed):
            self.is_open = False
        self.holder.deliver(Envelope(self, message))


def join(event_queue: EventQueue, near: Endpoint, far: Endpoint, delay: Callable[[], float]) -> End:
    """Connect two endpoints; returns the first one's end."""
    ends = End(event_queue, near, delay), End(event_queue, far, delay)
    ends[0].other, ends[1].other = ends[1], ends[0]
    for end in ends:
        if isinstance(end.holder, Process):
            end.holder.ends.append(end)
    return ends[0]


class HostNetwork:
    """The sockets of one host's run folder."""

    def __init__(self, event_queue: EventQueue, conditions: NetworkConditions) -> None:
        self._queue = event_queue
        self.conditions = conditions
        self.processes: dict[str, Process] = {}

    def connect(self, caller: Endpoint, address: str) -> End | None:
        """A stream to the process that listens at this address."""
        process = self.processes.get(address)
        return join(self._queue, caller, process, self._latency) if process is not None and process.listens else None

    def hint(self, sender: str, address: str, message: Message) -> None:
        """Send a datagram."""
        if self._queue.happens(self.conditions.hint_loss):
            self._queue.note(sender, "→ lost hint to", address, type(message).__name__)
            return
        self._queue.note(sender, "→ hint to", address, type(message).__name__)
        self._queue.after(self._latency(), lambda: self._deliver_hint(address, message))

    def components(self, role: str) -> list[str]:
        """See `RunDir`."""
        return sorted(name for name in self.processes if name.startswith(f"{role}-"))

    def _deliver_hint(self, address: str, message: Message) -> None:
        process = self.processes.get(address)
        if process is not None and process.listens:
            process.deliver(Envelope(None, message))

    def _latency(self) -> float:
        if self._queue.happens(self.conditions.slow_rate):
            return self._queue.between(0, self.conditions.slow_latency_s)
        return self._queue.between(0, self.conditions.latency_s)


class ProcessNetwork:
    """A process's `Network`."""

    def __init__(self, process: Process, network: HostNetwork) -> None:
        self._process = process
        self._network = network

    def connect(self, address: str) -> End | None:
        """See `Network`."""
        self._process.side_effect("a connection")
        return self._network.connect(self._process, address)

    def watch(self, fd: int) -> None:
        """See `Network`."""
        self._process.readable[fd] = self._process.sources[fd]

    def forget(self, fd: int) -> None:
        """See `Network`."""
        self._process.readable.pop(fd, None)

    def hint(self, address: str, message: Message) -> None:
        """See `Network`."""
        self._process.side_effect("a hint")
        self._network.hint(self._process.who, address, message)


class KnownComponents:
    """The part of `RunDir` that roles use, without its sockets."""

    def __init__(self, network: HostNetwork, folder: object) -> None:
        self.path = folder
        self._network = network

    def components(self, role: str = "") -> list[str]:
        """See `RunDir`."""
        return self._network.components(role)


def _describe(holder: Endpoint) -> str:
    return holder.who if isinstance(holder, Process) else getattr(holder, "name", "")


def _facts(message: Message) -> list[str]:
    """The facts of a message that a reader of the trace needs."""
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
