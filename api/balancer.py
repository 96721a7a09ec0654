"""Which scheduler gets a request: round robin over the healthy ones.

One that fails a request is left out until it answers a health check, made by one thread: every second, and four times as often
while one is left out. A request goes to the next scheduler when that cannot do anything twice: when the first did not get it,
or when repeating it is harmless (questions; submissions, which carry their ids). A submission that may have been stored by a
scheduler that died is repeated until one says so, or until its deadline, after which none stores it: so a 503 means that
nothing was stored. The same holds where a scheduler cannot tell, because the database's reply was lost; if nobody can tell in
the end, nobody knows (`OutcomeUnknown`), and the client is told neither.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable

from engine.errors import OutcomeUnknown, Unavailable
from engine.wire.caller import Caller, NoAnswer
from engine.wire.messages import CancelJob, Message, Ping, Refused, RetryJob, Submit
from engine.world import World

REQUEST_S = 10.0
SUBMIT_S = 8.0
ATTEMPT_S = 3.0
CHECK_EVERY_S = 1.0
CHECK_SOON_S = 0.25
CHECK_S = 0.5
AGAIN_S = 0.05


class LoadBalancer:
    """Shared by all threads of a front process."""

    def __init__(self, caller: Caller, *, schedulers: Callable[[], list[str]], world: World) -> None:
        self._caller = caller
        self._schedulers = schedulers
        self._world = world
        self._turns = itertools.count()
        self._out: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._someone_failed = threading.Event()
        self._never = threading.Event()

    def submit_deadline(self) -> float:
        """Until when a submission that is sent now may be stored."""
        return self._world.monotonic() + SUBMIT_S

    def send(self, request: Message) -> Message:
        """The reply of a healthy scheduler; raises `Unavailable` when none has one in time."""
        give_up_at = self._world.monotonic() + REQUEST_S
        may_be_stored = is_unknown = False
        while True:
            for name in self._in_turn():
                left_s = give_up_at - self._world.monotonic()
                if left_s <= 0:
                    break
                try:
                    answer = self._caller.call(name, request, timeout_s=min(ATTEMPT_S, left_s), patience_s=left_s)
                    is_unknown = is_unknown or _is_unknown(answer)
                    if not is_unknown or not _may_pass(answer):
                        return answer
                    may_be_stored = True
                    break
                except NoAnswer as fault:
                    self._leave_out(name)
                    if fault.was_sent and isinstance(request, CancelJob | RetryJob):
                        raise Unavailable("unavailable", f"{name} broke off; look at the job to see whether it was done") from None
                    may_be_stored = may_be_stored or (fault.was_sent and isinstance(request, Submit))
                    is_unknown = is_unknown or fault.was_begun
            if is_unknown and self._world.monotonic() >= give_up_at:
                raise OutcomeUnknown
            if not may_be_stored or self._world.monotonic() >= give_up_at:
                raise Unavailable("no_scheduler", "no scheduler is healthy; nothing was done", retry_after_s=1)
            self._never.wait(AGAIN_S)
            self._check()

    def check_for_ever(self) -> None:
        """The health checks; the life of one thread."""
        while True:
            self._someone_failed.wait(CHECK_SOON_S if self._out else CHECK_EVERY_S)
            self._someone_failed.clear()
            with contextlib.suppress(OSError):  # no descriptor to look with: the next look may have one, and nobody else would look
                self._check()

    def _check(self) -> None:
        answers = self._caller.call_all(self._schedulers(), Ping(), timeout_s=CHECK_S)
        well = {name for name, answer in answers.items() if answer is not None and not _is_down(answer)}
        with self._lock:
            self._out = frozenset(answers) - well

    def _in_turn(self) -> list[str]:
        healthy = [name for name in self._schedulers() if name not in self._out]
        first = next(self._turns) % len(healthy) if healthy else 0
        return healthy[first:] + healthy[:first]

    def _leave_out(self, name: str) -> None:
        with self._lock:
            self._out |= {name}
        self._someone_failed.set()


class OneScheduler:
    """The same for a scheduler's own port: this one or none."""

    def __init__(self, caller: Caller, name: str, world: World) -> None:
        self._caller = caller
        self._name = name
        self._world = world

    def submit_deadline(self) -> float:
        """See `LoadBalancer`."""
        return self._world.monotonic() + SUBMIT_S

    def send(self, request: Message) -> Message:
        """See `LoadBalancer`."""
        try:
            answer = self._caller.call(self._name, request, timeout_s=REQUEST_S)
            if _is_unknown(answer):
                raise OutcomeUnknown
            return answer
        except NoAnswer as fault:
            if fault.was_begun:
                raise OutcomeUnknown from None
            raise Unavailable("unavailable", f"{self._name} does not answer") from None


def _is_unknown(answer: Message) -> bool:
    return isinstance(answer, Refused) and answer.code == OutcomeUnknown().code


def _may_pass(answer: Message) -> bool:
    """Says nothing of whether an earlier try was stored; a later one may tell."""
    return isinstance(answer, Refused) and (answer.retry_after_s is not None or _is_unknown(answer))


def _is_down(answer: Message) -> bool:
    """A scheduler whose database is away still answers, and says so to clients better than a balancer without schedulers."""
    return isinstance(answer, Refused) and answer.code != "database_unavailable"
