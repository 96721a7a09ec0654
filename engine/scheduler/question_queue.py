"""Requests about stored jobs, from their arrival to their reply. Submissions are not among them.

A tick answers for a bounded time, so that heartbeats, pings and commits are never delayed for long. Light requests go first. Heavy
ones may examine thousands of jobs: only a few of them wait, any beyond that are refused, and each tick answers at least one. A
request whose sender has disconnected is dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from jobyard.engine.jobs.job import JobFilter
from jobyard.engine.wire.hub import Envelope, Peer
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import (
    ChangeMany,
    CountMatching,
    DeleteMany,
    Explain,
    GetGraph,
    List,
    ListFailures,
    ListGroups,
    ReportDue,
)
from jobyard.engine.world import World

ANSWER_S = 0.05
MAX_HEAVY = 8


class QuestionQueue:
    """The requests that one scheduler has not answered yet."""

    def __init__(self, world: World, *, answer: Callable[[Envelope], object], refuse: Callable[[Envelope], object]) -> None:
        """`refuse` is called for a heavy request that finds `MAX_HEAVY` waiting."""
        self._world = world
        self._answer = answer
        self._refuse = refuse
        self._light: deque[Envelope] = deque()
        self._heavy: deque[Envelope] = deque()

    @property
    def is_empty(self) -> bool:
        """Whether every request has a reply."""
        return not (self._light or self._heavy)

    def take(self, envelope: Envelope) -> None:
        """Queue a request, or refuse it."""
        if not is_heavy(envelope.message):
            self._light.append(envelope)
        elif len(self._heavy) < MAX_HEAVY:
            self._heavy.append(envelope)
        else:
            self._refuse(envelope)

    def drop(self, peer: Peer) -> None:
        """Forget the requests of a sender that has disconnected."""
        for requests in (self._light, self._heavy):
            if any(envelope.peer is peer for envelope in requests):
                kept = [envelope for envelope in requests if envelope.peer is not peer]
                requests.clear()
                requests.extend(kept)

    def answer(self) -> None:
        """Answer for `ANSWER_S`, and at least one heavy request."""
        until = self._world.monotonic() + ANSWER_S
        while self._light and self._world.monotonic() < until:
            self._answer(self._light.popleft())
        if self._heavy:
            self._answer(self._heavy.popleft())
        while self._heavy and self._world.monotonic() < until:
            self._answer(self._heavy.popleft())


def is_heavy(message: Message) -> bool:
    """Whether many jobs may have to be examined because no index alone finds those that are wanted."""
    match message:
        case List(wanted=wanted):
            named = (wanted.status, wanted.task, wanted.queue, wanted.error_kind, *(wanted.tag or ()))
            return wanted.text is not None or sum(value is not None for value in named) > 1
        case CountMatching(wanted=wanted):
            return wanted != JobFilter(status=wanted.status)
        case _:
            return isinstance(message, ChangeMany | DeleteMany | Explain | GetGraph | ListFailures | ListGroups | ReportDue)
