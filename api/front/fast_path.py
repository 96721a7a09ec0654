"""The fast path: submissions go from the event loop of an HTTP worker to a scheduler and back without occupying a thread.

    take ─▶ queued ──one frame per tick, to the next scheduler──▶ in flight ──conclusive answer──▶ replied
              │                                                       │
              └──unreachable──▶ thread ◀──disconnected · other answer · none for RECHECK_S──┘

A single submission therefore waits for nothing, and those that arrive together share a frame, a commit and a disk sync.
Everything out of the ordinary is left to `front.delivery`: a thread continues where the fast path stopped. Nothing here blocks,
and everything is called from the event loop except what is marked as running in a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from jobyard.api.front.affinity import Affinity
from jobyard.api.front.delivery import RECHECK_S, is_conclusive
from jobyard.api.front.health import Health
from jobyard.api.front.load_balancer import LoadBalancer
from jobyard.api.http.body import Environ
from jobyard.api.http.error_handlers import ErrorHandlers
from jobyard.api.http.guards import Guards
from jobyard.api.http.reply import Reply
from jobyard.api.http.request_metrics import RequestMetrics, request_id_of, with_id
from jobyard.api.views.jobs import Jobs
from jobyard.engine.wire.caller import NoAnswer
from jobyard.engine.wire.hub import Mailbox, Peer
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Accepted, Begun, Closed, Replied, Submit, Submits
from jobyard.engine.world import World

MAX_IN_FLIGHT = 256
"""The most submissions in flight in one process, all of them small. Any beyond that are served by threads."""

OnReply = Callable[[Reply], None]
InThread = Callable[[Callable[[], Reply], OnReply], None]
"""Run the first function in a thread, then the second, with its result, in the event loop."""


@dataclass(slots=True, kw_only=True)
class FastRoute:
    """One port's route to its schedulers. `queued`: arrived since the last tick. `route`: its row of `http.routes`."""

    route: str
    jobs: Jobs
    scheduler: LoadBalancer
    affinity: Affinity
    queued: list[PendingSubmission] = field(default_factory=list)


class PendingSubmission:
    """A submission and the callback for its reply. A thread that takes it over waits for it as for a `PendingCall`."""

    def __init__(self, fast_route: FastRoute, submit: Submit, environ: Environ, on_reply: OnReply) -> None:
        self.fast_route = fast_route
        self.submit = submit
        self.environ = environ
        self.on_reply = on_reply
        self.name = ""
        self.peer: Peer | None = None
        self.sent_at = 0.0
        self.was_sent = False
        self.has_begun = False
        self._resolved: threading.Event | None = None
        self._answer: Message | None = None
        self._is_disconnected = False

    @property
    def is_in_thread(self) -> bool:
        """Whether a thread has taken it over."""
        return self._resolved is not None

    def hand_to_thread(self) -> None:
        """From now on a thread may wait for it."""
        self._resolved = threading.Event()
        if self._answer is not None or self._is_disconnected:
            self._resolved.set()

    def resolve(self, answer: Message | None) -> None:
        """Record the answer, or None when the connection was lost, and wake up the thread that waits for it."""
        self._answer, self._is_disconnected = answer, answer is None
        if self._resolved is not None:
            self._resolved.set()

    def wait(self, timeout_s: float) -> Message | None:
        """See `PendingCall`; called by its thread only."""
        assert self._resolved is not None
        self._resolved.wait(max(0.0, timeout_s))
        if self._is_disconnected:
            raise NoAnswer(f"{self.name} does not answer: the connection was lost", was_sent=True)
        return self._answer

    def drop(self) -> None:
        """See `PendingCall`: a late answer is ignored."""


class FastPath:
    """The fast path of one HTTP worker."""

    def __init__(
        self, fast_routes: Mapping[tuple[str, bytes], FastRoute], *, network: Mailbox, guards: Guards,
        error_handlers: ErrorHandlers, health: Health,
        world: World, in_thread: InThread, request_metrics: RequestMetrics,
    ) -> None:  # fmt: skip
        """`fast_routes`: by port and request line."""
        self._fast_routes = fast_routes
        self._network = network
        self._guards = guards
        self._error_handlers = error_handlers
        self._health = health
        self._world = world
        self._in_thread = in_thread
        self._request_metrics = request_metrics
        self._peers: dict[str, Peer] = {}
        self._in_flight: dict[int, PendingSubmission] = {}
        self._next_number = 0
        self._count = 0

    @property
    def has_in_flight(self) -> bool:
        """Whether `tick` must be called within `RECHECK_S`."""
        return bool(self._in_flight)

    def fileno(self) -> int:
        """Readable when a message has arrived."""
        return self._network.fileno()

    def fast_route(self, port: str, request_line: bytes) -> FastRoute | None:
        """The route of such a request; None when the fast path cannot take it."""
        return self._fast_routes.get((port, request_line)) if self._count < MAX_IN_FLIGHT else None

    def take(self, fast_route: FastRoute, environ: Environ, on_reply: OnReply) -> None:
        """Take a request that has been received completely; `on_reply` may be called at once."""
        self._request_metrics.begin(environ)
        try:
            self._guards.check(environ)
            pending = PendingSubmission(fast_route, fast_route.jobs.submission(environ), environ, on_reply)
        except Exception as error:
            self._reply(fast_route, environ, self._error_handlers.reply_to(error, environ), on_reply)
            return
        self._count += 1
        fast_route.queued.append(pending)

    def tick(self) -> None:
        """Called once per iteration of the loop: send what arrived, and hand what has waited too long to threads."""
        for fast_route in self._fast_routes.values():
            if fast_route.queued:
                batch, fast_route.queued = fast_route.queued, []
                self._send(fast_route.affinity.choose(len(batch)), batch)
        too_old = self._world.monotonic() - RECHECK_S
        for pending in list(self._in_flight.values()):
            if pending.sent_at > too_old:
                break
            if not pending.is_in_thread:
                self._hand_to_thread(pending)

    def receive(self) -> None:
        """Read the messages of the schedulers."""
        for envelope in self._network.poll(0):
            if isinstance(envelope.message, Replied):
                for number, reply in envelope.message.replies:
                    self._receive_reply(number, reply)
            elif isinstance(envelope.message, Closed):
                self._disconnect(envelope.peer)

    def _send(self, name: str | None, batch: list[PendingSubmission]) -> None:
        peer = self._peer(name) if name else None
        first = self._next_number
        submits = Submits(first_number=first, submits=[pending.submit for pending in batch])
        if name is None or peer is None or not peer.send(submits):
            for pending in batch:
                self._hand_to_thread(pending)
            self.receive()  # the connection may have been lost, which does not make the descriptor readable
            return
        self._next_number += len(batch)
        now = self._world.monotonic()
        for number, pending in enumerate(batch, first):
            pending.name, pending.peer, pending.sent_at, pending.was_sent = name, peer, now, True
            self._in_flight[number] = pending

    def _peer(self, name: str) -> Peer | None:
        peer = self._peers.get(name) or self._network.connect(name)
        if peer is not None:
            self._peers[name] = peer
        return peer

    def _receive_reply(self, number: int, reply: Message) -> None:
        pending = self._in_flight.get(number)
        if pending is None:
            return
        if isinstance(reply, Begun):
            pending.has_begun = True
            return
        del self._in_flight[number]
        pending.resolve(reply)
        self._health.note_answer(pending.name)
        if pending.is_in_thread:
            return
        if is_conclusive(reply) and not (isinstance(reply, Accepted) and reply.repeated):
            pending.fast_route.affinity.note_left()
            self._finish(pending, pending.fast_route.jobs.submission_reply(reply))
        else:
            self._hand_to_thread(pending)

    def _disconnect(self, peer: Peer | None) -> None:
        self._peers = {name: known for name, known in self._peers.items() if known is not peer}
        for number, pending in list(self._in_flight.items()):
            if pending.peer is peer:
                del self._in_flight[number]
                pending.resolve(None)
                if not pending.is_in_thread:
                    self._hand_to_thread(pending)

    def _hand_to_thread(self, pending: PendingSubmission) -> None:
        pending.hand_to_thread()
        pending.fast_route.affinity.note_left()
        self._in_thread(partial(self._deliver, pending), partial(self._finish, pending))

    def _deliver(self, pending: PendingSubmission) -> Reply:
        """Runs in a thread."""
        scheduler = pending.fast_route.scheduler
        try:
            answer = scheduler.resume(pending.submit, pending.name, pending) if pending.was_sent else scheduler.send(pending.submit)
            return pending.fast_route.jobs.submission_reply(answer)
        except Exception as error:
            return self._error_handlers.reply_to(error, pending.environ)

    def _finish(self, pending: PendingSubmission, reply: Reply) -> None:
        self._count -= 1
        self._reply(pending.fast_route, pending.environ, reply, pending.on_reply)

    def _reply(self, fast_route: FastRoute, environ: Environ, reply: Reply, on_reply: OnReply) -> None:
        self._request_metrics.end(environ, fast_route.route, reply.status)
        on_reply(with_id(reply, request_id_of(environ)))
