"""The load balancer: sends each request to the next (`front.round_robin`) of the healthy schedulers (`front.health`).

A request is passed on to another scheduler only when nothing can be done twice by that: when the first one did not receive it, or
when the request is idempotent (reads; submissions, which carry their ids and are sent by `front.delivery`). It is passed on when
the connection is lost, or when the scheduler has been silent for so long that it no longer counts as healthy while another one
does. A scheduler that is merely busy is waited for, but not for a client that has disconnected: then a costly read is abandoned,
and the scheduler, whose connection is closed, drops it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from jobyard.api.front.delivery import RECHECK_S, Delivery, PendingCall
from jobyard.api.front.health import Health
from jobyard.api.front.round_robin import RoundRobin
from jobyard.engine.errors import Unavailable
from jobyard.engine.wire.caller import Call, Caller, NoAnswer
from jobyard.engine.wire.lease_messages import LeaseJobs
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import CancelJob, ChangeMany, CountMatching, Explain, List, RetryJob, Submit
from jobyard.engine.world import World

REQUEST_S = 10.0
SUBMIT_S = 8.0
ONCE = (CancelJob, RetryJob, ChangeMany, LeaseJobs)
"""What must not be done twice. What an HTTP worker tells is not among it: its token is good for one change."""

ABANDONED = (CountMatching, Explain, List)
"""Costly reads, abandoned when the client disconnects. Others are not: it may also have closed only its sending side."""


class LoadBalancer:
    """Shared by all threads of a front process: one for the gateway, and one with a single scheduler for each scheduler's port."""

    def __init__(
        self, caller: Caller, *, schedulers: Callable[[], list[str]], health: Health, world: World,
        pause: Callable[[float], object] | None = None, is_client_gone: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        """`is_client_gone`: whether the client whose request this thread serves has disconnected."""
        self._caller = caller
        self._round_robin = RoundRobin(schedulers, health)
        self._health = health
        self._world = world
        self._pause = pause or threading.Event().wait
        self._is_client_gone = is_client_gone

    def submit_deadline(self) -> float:
        """The time until which a submission that is sent now may be stored."""
        return self._world.monotonic() + SUBMIT_S

    def send(self, request: Message) -> Message:
        """A scheduler's reply. Raises `Unavailable` when none replies in time, `OutcomeUnknown` when the job may be stored."""
        if not isinstance(request, Submit):
            return self._ask(request)
        return self._delivery(request).run()

    def next_scheduler(self) -> str | None:
        """The scheduler that gets the next request; None when there is none."""
        return next(iter(self._round_robin.next()), None)

    def should_avoid(self, name: str) -> bool:
        """Whether this scheduler is unhealthy while another one is healthy."""
        return self._round_robin.should_avoid(name)

    def resume(self, request: Submit, name: str, call: PendingCall) -> Message:
        """Like `send`, for a submission that was already sent to the scheduler of this name."""
        return self._delivery(request).run(name, call)

    def _delivery(self, request: Submit) -> Delivery:
        return Delivery(
            request, caller=self._caller, health=self._health, world=self._world, round_robin=self._round_robin, pause=self._pause
        )  # fmt: skip

    def _ask(self, request: Message) -> Message:
        give_up_at = self._world.monotonic() + REQUEST_S
        for name in self._round_robin.next():
            answer = self._answer_from(name, request, give_up_at)
            if answer is not None:
                return answer
        raise Unavailable("no_scheduler", "no scheduler is healthy; nothing was done", retry_after_s=1)

    def _answer_from(self, name: str, request: Message, give_up_at: float) -> Message | None:
        """The reply; None when the request may be sent to the next scheduler."""
        is_once = isinstance(request, ONCE)
        was_sent = False
        try:
            call = self._caller.begin(name, request)
            while not self._should_skip(name, call, is_once, give_up_at):
                answer = call.wait(RECHECK_S)
                if answer is not None:
                    self._health.note_answer(name)
                    return answer
                if isinstance(request, ABANDONED) and self._is_client_gone():
                    call.drop()
                    raise Unavailable("unavailable", "the client has disconnected")
            call.drop()
            was_sent = call.was_sent
        except NoAnswer as error:
            self._health.note_disconnect(name)
            was_sent = error.was_sent
        if is_once and was_sent:
            raise Unavailable("unavailable", f"the connection to {name} was lost; read the job to see whether it was changed")
        return None

    def _should_skip(self, name: str, call: Call, is_once: bool, give_up_at: float) -> bool:
        may_pass = not (is_once and call.was_sent)
        return self._world.monotonic() >= give_up_at or (may_pass and self._round_robin.should_avoid(name))
