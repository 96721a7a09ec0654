"""One submission's way to a scheduler, until there is a word on it.

The first scheduler to get it may store it and die, hang or lose its database before it says so. Nobody else's refusal says
anything of that. So from then on it is sent again (`is_again`: it is looked up first) until somebody accepts it, or says,
after its deadline, that nothing is stored and nothing will be (`Expired`). Without such a word nobody knows.

    Accepted, or wrong in itself (400, 409 …)         ──▶ the answer
    another refusal; nobody may have stored it        ──▶ the answer
    another refusal, or no answer; somebody may have  ──▶ again, until the time is up, then `OutcomeUnknown`
    Expired; but somebody had begun where commits have no order (on MongoDB)  ──▶ again, as above
    Expired                                           ──▶ 503
    nobody is there; nobody may have stored it        ──▶ 503

A scheduler is waited for as long as it lives: as long as it is well, or nobody else is, or it has said `Begun`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

import msgspec

from jobyard.api.front.health import Health
from jobyard.api.front.round_robin import RoundRobin
from jobyard.engine.errors import OutcomeUnknown, Unavailable
from jobyard.engine.wire.caller import Caller, NoAnswer
from jobyard.engine.wire.messages import Accepted, Expired, Message, Refused, Submit
from jobyard.engine.world import World

WORD_S = 14.0
"""Past the deadline, and past the replacement of a scheduler that hangs and holds up the others (`HANG_S`)."""
LOOK_S = 0.25
AGAIN_S = 0.05
LONGEST_PAUSE_S = 1.0
UNKNOWN = OutcomeUnknown().code


class Awaited(Protocol):
    """A submission that is with a scheduler; see `Call`."""

    @property
    def was_sent(self) -> bool:
        """Whether the scheduler may have got the whole."""

    @property
    def has_begun(self) -> bool:
        """Whether it said that it is about to store it."""

    def wait(self, timeout_s: float) -> Message | None:
        """The reply; None when it has not come within this time; raises `NoAnswer`."""

    def drop(self) -> None:
        """Wait no more."""


class Delivery:
    """See the module."""

    def __init__(
        self, request: Submit, *, caller: Caller, health: Health, world: World, round_robin: RoundRobin,
        pause: Callable[[float], object],
    ) -> None:  # fmt: skip
        self._request = request
        self._caller = caller
        self._health = health
        self._world = world
        self._round_robin = round_robin
        self._pause = pause
        self._give_up_at = world.monotonic() + WORD_S
        self._passed_over: list[Awaited] = []
        self._is_unknown = False

    def run(self, name: str = "", call: Awaited | None = None) -> Message:
        """The answer; raises `Unavailable` when nothing is stored, `OutcomeUnknown` when nobody can tell.

        With a call: it is with the scheduler of this name already.
        """
        pause_s = AGAIN_S
        try:
            answer = None if call is None else self._answer_to(name, call)
            while True:
                answer = answer or self._answer()
                if answer is not None and self._is_word(answer):
                    return _told(answer)
                if not self._request.is_again:
                    raise Unavailable("no_scheduler", "no scheduler is healthy; nothing was done", retry_after_s=1)
                if self._is_over():
                    raise OutcomeUnknown
                self._pause(pause_s)
                answer = None
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            for call in self._passed_over:
                call.drop()

    def _answer(self) -> Message | None:
        """Of the first in turn that gives one."""
        for name in self._round_robin.next():
            answer = self._answer_of(name)
            if answer is not None:
                return self._answer_of_passed_over() or answer
        return None

    def _answer_of(self, name: str) -> Message | None:
        try:
            call = self._caller.begin(name, self._request)
        except NoAnswer:
            self._health.note_gone(name)
            return None
        return self._answer_to(name, call)

    def _answer_to(self, name: str, call: Awaited) -> Message | None:
        try:
            while not self._passes_over(name, call):
                answer = call.wait(LOOK_S)
                if answer is not None:
                    self._health.note_answer(name)
                    return answer
        except NoAnswer as fault:
            self._health.note_gone(name)
            self._doubt(fault.was_sent, has_begun=call.has_begun)
            return None
        if call.was_sent:
            self._doubt(True, has_begun=call.has_begun)
            self._passed_over.append(call)
        else:
            call.drop()
        return None

    def _passes_over(self, name: str, call: Awaited) -> bool:
        return self._is_over() or (not call.has_begun and self._round_robin.is_better_without(name))

    def _answer_of_passed_over(self) -> Message | None:
        """Who was passed over may have answered since, or begun."""
        waited_for, self._passed_over = self._passed_over, []
        for call in waited_for:
            with contextlib.suppress(NoAnswer):
                answer = call.wait(0)
                if isinstance(answer, Accepted):
                    return answer
                if answer is None:
                    self._passed_over.append(call)
            self._doubt(call.was_sent, has_begun=call.has_begun)
        return None

    def _doubt(self, was_sent: bool, *, has_begun: bool) -> None:
        """Somebody may have stored it; had it begun, then even after the deadline."""
        if was_sent and not self._request.is_again:
            self._request = msgspec.structs.replace(self._request, is_again=True)
        self._is_unknown = self._is_unknown or has_begun

    def _is_word(self, answer: Message) -> bool:
        if isinstance(answer, Expired):
            return not self._is_unknown
        if not isinstance(answer, Refused) or is_last_word(answer):
            return True
        if answer.code == UNKNOWN:
            self._doubt(True, has_begun=True)
            return False
        return not self._request.is_again

    def _is_over(self) -> bool:
        return self._world.monotonic() >= self._give_up_at


def is_last_word(answer: Message) -> bool:
    """Whether it is the answer whatever was before."""
    is_lasting = isinstance(answer, Refused) and answer.retry_after_s is None and answer.code != UNKNOWN
    return is_lasting or isinstance(answer, Accepted)


def _told(answer: Message) -> Message:
    if isinstance(answer, Expired):
        raise Unavailable("unavailable", "the request waited too long; nothing was stored", retry_after_s=1)
    return answer
