"""Delivers one submission to a scheduler and retries until the outcome is certain.

The first scheduler that receives it may store it and then die, hang or lose its database before it answers, and a refusal from
another scheduler does not rule that out. From then on the submission is sent again (`is_again`: the scheduler looks it up first)
until one accepts it, or reports after the deadline that nothing is stored and nothing will be (`Expired`). Otherwise the outcome
is unknown.

    Accepted, or invalid in itself (400, 409 …)                   ──▶ the answer
    any other refusal; no scheduler can have stored it            ──▶ the answer
    any other refusal, or no answer; a scheduler may have         ──▶ retry until the time is up, then `OutcomeUnknown`
    Expired, but one had begun where commits have no order (MongoDB)  ──▶ retry, as above
    Expired                                                       ──▶ 503
    no scheduler is reachable; none can have stored it            ──▶ 503

A scheduler is waited for as long as it is healthy, or no other one is, or it has answered `Begun`.
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
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import Accepted, Expired, Refused, Submit
from jobyard.engine.world import World

GIVE_UP_S = 14.0
"""Later than the deadline, and than the replacement of a hung scheduler that blocks the others (`HANG_S`)."""
RECHECK_S = 0.25
FIRST_PAUSE_S = 0.05
MAX_PAUSE_S = 1.0
UNKNOWN = OutcomeUnknown().code


class PendingCall(Protocol):
    """A submission that was sent to a scheduler; see `Call`."""

    @property
    def was_sent(self) -> bool:
        """Whether the scheduler may have received all of it."""

    @property
    def has_begun(self) -> bool:
        """Whether the scheduler reported that it is about to store it."""

    def wait(self, timeout_s: float) -> Message | None:
        """The reply; None when none arrives within this time. Raises `NoAnswer`."""

    def drop(self) -> None:
        """Stop waiting."""


class Delivery:
    """The delivery of one submission; see the module."""

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
        self._give_up_at = world.monotonic() + GIVE_UP_S
        self._skipped: list[PendingCall] = []
        self._may_be_committed = False

    def run(self, name: str = "", call: PendingCall | None = None) -> Message:
        """The answer; raises `Unavailable` when nothing is stored, `OutcomeUnknown` when that is uncertain.

        `call`: the submission was already sent to the scheduler `name`.
        """
        pause_s = FIRST_PAUSE_S
        try:
            answer = None if call is None else self._wait_for_answer(name, call)
            while True:
                answer = answer or self._answer()
                if answer is not None and self._is_final(answer):
                    return _raise_if_expired(answer)
                if not self._request.is_again:
                    raise Unavailable("no_scheduler", "no scheduler is healthy; nothing was done", retry_after_s=1)
                if self._is_over():
                    raise OutcomeUnknown
                self._pause(pause_s)
                answer = None
                pause_s = min(2 * pause_s, MAX_PAUSE_S)
        finally:
            for call in self._skipped:
                call.drop()

    def _answer(self) -> Message | None:
        """The answer of the first scheduler that gives one, in round-robin order."""
        for name in self._round_robin.next():
            answer = self._answer_from(name)
            if answer is not None:
                return self._answer_from_skipped() or answer
        return None

    def _answer_from(self, name: str) -> Message | None:
        try:
            call = self._caller.begin(name, self._request)
        except NoAnswer:
            self._health.note_disconnect(name)
            return None
        return self._wait_for_answer(name, call)

    def _wait_for_answer(self, name: str, call: PendingCall) -> Message | None:
        try:
            while not self._should_skip(name, call):
                answer = call.wait(RECHECK_S)
                if answer is not None:
                    self._health.note_answer(name)
                    return answer
        except NoAnswer as error:
            self._health.note_disconnect(name)
            self._note_uncertainty(error.was_sent, has_begun=call.has_begun)
            return None
        if call.was_sent:
            self._note_uncertainty(True, has_begun=call.has_begun)
            self._skipped.append(call)
        else:
            call.drop()
        return None

    def _should_skip(self, name: str, call: PendingCall) -> bool:
        return self._is_over() or (not call.has_begun and self._round_robin.should_avoid(name))

    def _answer_from_skipped(self) -> Message | None:
        """A scheduler that was skipped may have answered since, or begun."""
        skipped, self._skipped = self._skipped, []
        for call in skipped:
            with contextlib.suppress(NoAnswer):
                answer = call.wait(0)
                if isinstance(answer, Accepted):
                    return answer
                if answer is None:
                    self._skipped.append(call)
            self._note_uncertainty(call.was_sent, has_begun=call.has_begun)
        return None

    def _note_uncertainty(self, was_sent: bool, *, has_begun: bool) -> None:
        """The scheduler may have stored it; if it had begun, even after the deadline."""
        if was_sent and not self._request.is_again:
            self._request = msgspec.structs.replace(self._request, is_again=True)
        self._may_be_committed = self._may_be_committed or has_begun

    def _is_final(self, answer: Message) -> bool:
        if isinstance(answer, Expired):
            return not self._may_be_committed
        if not isinstance(answer, Refused) or is_conclusive(answer):
            return True
        if answer.code == UNKNOWN:
            self._note_uncertainty(True, has_begun=True)
            return False
        return not self._request.is_again

    def _is_over(self) -> bool:
        return self._world.monotonic() >= self._give_up_at


def is_conclusive(answer: Message) -> bool:
    """Whether this settles the submission, whatever happened before."""
    is_lasting = isinstance(answer, Refused) and answer.retry_after_s is None and answer.code != UNKNOWN
    return is_lasting or isinstance(answer, Accepted)


def _raise_if_expired(answer: Message) -> Message:
    if isinstance(answer, Expired):
        raise Unavailable("unavailable", "the request waited too long; nothing was stored", retry_after_s=1)
    return answer
