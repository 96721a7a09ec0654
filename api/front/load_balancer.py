"""Requests go to a scheduler, each to the next in turn (`front.round_robin`) of those that are well (`front.health`).

A request goes to the next scheduler when that cannot do anything twice: when the first did not get it, or when repeating it is
harmless (questions; submissions, which carry their ids, and whose way is `front.delivery`'s). It is passed on when a connection
breaks, or when nothing has been heard of a scheduler for so long that it is no longer well, and another is. One that is only
busy is waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from jobyard.api.front.delivery import LOOK_S, Awaited, Delivery
from jobyard.api.front.health import Health
from jobyard.api.front.round_robin import RoundRobin
from jobyard.engine.errors import Unavailable
from jobyard.engine.wire.caller import Call, Caller, NoAnswer
from jobyard.engine.wire.messages import CancelJob, ChangeMany, Message, RetryJob, Submit
from jobyard.engine.world import World

REQUEST_S = 10.0
SUBMIT_S = 8.0


class LoadBalancer:
    """Shared by all threads of a front process; one for the gateway, and one with a single scheduler for each scheduler's port."""

    def __init__(
        self, caller: Caller, *, schedulers: Callable[[], list[str]], health: Health, world: World,
        pause: Callable[[float], object] | None = None,
    ) -> None:  # fmt: skip
        self._caller = caller
        self._round_robin = RoundRobin(schedulers, health)
        self._health = health
        self._world = world
        self._pause = pause or threading.Event().wait

    def submit_deadline(self) -> float:
        """Until when a submission that is sent now may be stored."""
        return self._world.monotonic() + SUBMIT_S

    def send(self, request: Message) -> Message:
        """The reply of a scheduler; raises `Unavailable` when none has one in time, `OutcomeUnknown` when it may be stored."""
        if not isinstance(request, Submit):
            return self._ask(request)
        return self._delivery(request).run()

    def whose_turn(self) -> str | None:
        """Who gets the next request, if anybody is there."""
        return next(iter(self._round_robin.next()), None)

    def go_on(self, request: Submit, name: str, call: Awaited) -> Message:
        """As `send`, with a submission that is with the scheduler of this name already."""
        return self._delivery(request).run(name, call)

    def _delivery(self, request: Submit) -> Delivery:
        return Delivery(
            request, caller=self._caller, health=self._health, world=self._world, round_robin=self._round_robin, pause=self._pause
        )  # fmt: skip

    def _ask(self, request: Message) -> Message:
        give_up_at = self._world.monotonic() + REQUEST_S
        for name in self._round_robin.next():
            answer = self._answer_of(name, request, give_up_at)
            if answer is not None:
                return answer
        raise Unavailable("no_scheduler", "no scheduler is healthy; nothing was done", retry_after_s=1)

    def _answer_of(self, name: str, request: Message, give_up_at: float) -> Message | None:
        """None: the next one may be asked."""
        is_once = isinstance(request, CancelJob | RetryJob | ChangeMany)
        was_sent = False
        try:
            call = self._caller.begin(name, request)
            while not self._passes_over(name, call, is_once, give_up_at):
                answer = call.wait(LOOK_S)
                if answer is not None:
                    self._health.note_answer(name)
                    return answer
            call.drop()
            was_sent = call.was_sent
        except NoAnswer as fault:
            self._health.note_gone(name)
            was_sent = fault.was_sent
        if is_once and was_sent:
            raise Unavailable("unavailable", f"{name} broke off; look at the job to see whether it was done")
        return None

    def _passes_over(self, name: str, call: Call, is_once: bool, give_up_at: float) -> bool:
        may_pass = not (is_once and call.was_sent)
        return self._world.monotonic() >= give_up_at or (may_pass and self._round_robin.is_better_without(name))
