"""The express: submissions go from the loop of an HTTP worker to a scheduler and back, and no thread waits for them.

    take ─▶ fresh ──one frame a turn of the loop, to the next scheduler──▶ under way ──a last word──▶ replied
              │                                                               │
              └──nobody is there──▶ a thread ◀──cut off · another word · none for LOOK_S──┘

So a submission alone waits for nothing, and those that came together share a frame, a commit and a sync of the disk. What is not
plain is `front.delivery`'s: a thread goes on where the express left off. Nothing here blocks, and only the loop calls it, but for
what is said to be for a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from jobyard.api.front.delivery import LOOK_S, is_last_word
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
from jobyard.engine.wire.messages import Accepted, Begun, Closed, Message, Replied, Submit, Submits
from jobyard.engine.world import World

MOST = 256
"""Under way in one process; small ones all of them. Whatever comes beyond waits for a thread."""

Then = Callable[[Reply], None]
InThread = Callable[[Callable[[], Reply], Then], None]
"""Run the first in a thread, then the second, with what it gave, in the loop."""


@dataclass(slots=True, kw_only=True)
class FastRoute:
    """One port's way to its schedulers; `fresh` came since the last turn. `route`: its row of `http.routes`."""

    route: str
    jobs: Jobs
    scheduler: LoadBalancer
    fresh: list[PendingSubmission] = field(default_factory=list)


class PendingSubmission:
    """A submission and whom its reply is for. To a thread that goes on with it, it is the call that it waits for (`Awaited`)."""

    def __init__(self, fast_route: FastRoute, submit: Submit, environ: Environ, then: Then) -> None:
        self.fast_route = fast_route
        self.submit = submit
        self.environ = environ
        self.then = then
        self.name = ""
        self.peer: Peer | None = None
        self.sent_at = 0.0
        self.was_sent = False
        self.has_begun = False
        self._thread_hears: threading.Event | None = None
        self._answer: Message | None = None
        self._is_cut_off = False

    @property
    def is_in_thread(self) -> bool:
        """Whether a thread has gone on with it."""
        return self._thread_hears is not None

    def go_into_thread(self) -> None:
        """From now on somebody may wait for it."""
        self._thread_hears = threading.Event()
        if self._answer is not None or self._is_cut_off:
            self._thread_hears.set()

    def tell(self, answer: Message | None) -> None:
        """What became of it; None: its connection broke off."""
        self._answer, self._is_cut_off = answer, answer is None
        if self._thread_hears is not None:
            self._thread_hears.set()

    def wait(self, timeout_s: float) -> Message | None:
        """See `Awaited`; only for its thread."""
        assert self._thread_hears is not None
        self._thread_hears.wait(max(0.0, timeout_s))
        if self._is_cut_off:
            raise NoAnswer(f"{self.name} does not answer: the connection broke off", was_sent=True)
        return self._answer

    def drop(self) -> None:
        """See `Awaited`: a late answer is then nobody's."""


class FastPath:
    """Of one HTTP worker."""

    def __init__(
        self, fast_routes: Mapping[tuple[str, bytes], FastRoute], *, network: Mailbox, guards: Guards,
        error_handlers: ErrorHandlers, health: Health,
        world: World, in_thread: InThread, request_metrics: RequestMetrics,
    ) -> None:  # fmt: skip
        """`lanes` by port and request line."""
        self._fast_routes = fast_routes
        self._network = network
        self._guards = guards
        self._error_handlers = error_handlers
        self._health = health
        self._world = world
        self._in_thread = in_thread
        self._request_metrics = request_metrics
        self._peers: dict[str, Peer] = {}
        self._under_way: dict[int, PendingSubmission] = {}
        self._next_number = 0
        self._count = 0

    @property
    def is_waiting(self) -> bool:
        """Whether `turn` should be called within `LOOK_S`."""
        return bool(self._under_way)

    def fileno(self) -> int:
        """Readable when there is something to hear."""
        return self._network.fileno()

    def fast_route(self, port: str, request_line: bytes) -> FastRoute | None:
        """Where such a request goes, if it may be taken."""
        return self._fast_routes.get((port, request_line)) if self._count < MOST else None

    def take(self, fast_route: FastRoute, environ: Environ, then: Then) -> None:
        """A request that is here as a whole; its reply may come at once."""
        self._request_metrics.begin(environ)
        try:
            self._guards.check(environ)
            passage = PendingSubmission(fast_route, fast_route.jobs.submission(environ), environ, then)
        except Exception as wrong:
            self._reply(fast_route, environ, self._error_handlers.tell(wrong, environ), then)
            return
        self._count += 1
        fast_route.fresh.append(passage)

    def turn(self) -> None:
        """Once a turn of the loop: send what came, and see who waits for too long."""
        for fast_route in self._fast_routes.values():
            if fast_route.fresh:
                passages, fast_route.fresh = fast_route.fresh, []
                self._send(fast_route.scheduler.whose_turn(), passages)
        too_old = self._world.monotonic() - LOOK_S
        for passage in list(self._under_way.values()):
            if passage.sent_at > too_old:
                break
            if not passage.is_in_thread:
                self._go_into_thread(passage)

    def hear(self) -> None:
        """What schedulers say."""
        for envelope in self._network.poll(0):
            if isinstance(envelope.message, Replied):
                for number, reply in envelope.message.replies:
                    self._hear_reply(number, reply)
            elif isinstance(envelope.message, Closed):
                self._cut_off(envelope.peer)

    def _send(self, name: str | None, passages: list[PendingSubmission]) -> None:
        peer = self._peer(name) if name else None
        first = self._next_number
        submits = Submits(first_number=first, submits=[passage.submit for passage in passages])
        if name is None or peer is None or not peer.send(submits):
            for passage in passages:
                self._go_into_thread(passage)
            self.hear()  # that connection may have broken, which makes nothing readable
            return
        self._next_number += len(passages)
        now = self._world.monotonic()
        for number, passage in enumerate(passages, first):
            passage.name, passage.peer, passage.sent_at, passage.was_sent = name, peer, now, True
            self._under_way[number] = passage

    def _peer(self, name: str) -> Peer | None:
        peer = self._peers.get(name) or self._network.connect(name)
        if peer is not None:
            self._peers[name] = peer
        return peer

    def _hear_reply(self, number: int, reply: Message) -> None:
        passage = self._under_way.get(number)
        if passage is None:
            return
        if isinstance(reply, Begun):
            passage.has_begun = True
            return
        del self._under_way[number]
        passage.tell(reply)
        self._health.note_answer(passage.name)
        if passage.is_in_thread:
            return
        if is_last_word(reply) and not (isinstance(reply, Accepted) and reply.repeated):
            self._finish(passage, passage.fast_route.jobs.told(reply))
        else:
            self._go_into_thread(passage)

    def _cut_off(self, peer: Peer | None) -> None:
        self._peers = {name: known for name, known in self._peers.items() if known is not peer}
        for number, passage in list(self._under_way.items()):
            if passage.peer is peer:
                del self._under_way[number]
                passage.tell(None)
                if not passage.is_in_thread:
                    self._go_into_thread(passage)

    def _go_into_thread(self, passage: PendingSubmission) -> None:
        passage.go_into_thread()
        self._in_thread(partial(self._deliver, passage), partial(self._finish, passage))

    def _deliver(self, passage: PendingSubmission) -> Reply:
        """In a thread."""
        scheduler = passage.fast_route.scheduler
        try:
            answer = scheduler.go_on(passage.submit, passage.name, passage) if passage.was_sent else scheduler.send(passage.submit)
            return passage.fast_route.jobs.told(answer)
        except Exception as wrong:
            return self._error_handlers.tell(wrong, passage.environ)

    def _finish(self, passage: PendingSubmission, reply: Reply) -> None:
        self._count -= 1
        self._reply(passage.fast_route, passage.environ, reply, passage.then)

    def _reply(self, fast_route: FastRoute, environ: Environ, reply: Reply, then: Then) -> None:
        self._request_metrics.end(environ, fast_route.route, reply.status)
        then(with_id(reply, request_id_of(environ)))
