"""How an attempt is ended before it ends by itself: asked, told, killed; and what its end is then called."""

from __future__ import annotations

import signal

from engine.job import ExecutionStatus, Outcome
from engine.slot import Attempt, Slot
from engine.world import World

GRACE_S = 1.0
NEVER = float("inf")


class Deadlines:
    """Time-outs, cancellations, the end of a drain: an exception, a second later SIGTERM, a second later SIGKILL."""

    def __init__(self, world: World, *, drain_s: float) -> None:
        self._world = world
        self._drain_s = drain_s

    def begin_end(self, attempt: Attempt, ending: ExecutionStatus) -> None:
        """It must end, for this reason; the first reason stays."""
        if attempt.ending is None:
            attempt.ending = ending
            attempt.next_step_at = self._world.monotonic()

    def step(self, slot: Slot, attempt: Attempt, *, draining_since: float | None) -> None:
        """Do what is due to the attempt that a slot runs."""
        now = self._world.monotonic()
        if draining_since is not None and now >= draining_since + self._drain_s and attempt.ending is None:
            attempt.ending, attempt.step, attempt.next_step_at = ExecutionStatus.RELEASED, len(STEPS) - 1, now
        if attempt.ending is None and now >= self._ends_at(attempt):
            self.begin_end(attempt, ExecutionStatus.TIMEOUT)
        if attempt.ending is None or now < attempt.next_step_at:
            return
        STEPS[min(attempt.step, len(STEPS) - 1)](slot, attempt)
        attempt.step += 1
        attempt.next_step_at = now + GRACE_S

    def next_step_at(self, attempt: Attempt, draining_since: float | None) -> float:
        """When `step` has something to do, in monotonic seconds."""
        if attempt.ending is not None:
            return attempt.next_step_at
        return min(self._ends_at(attempt), NEVER if draining_since is None else draining_since + self._drain_s)

    def outcome_of(self, attempt: Attempt, told: Outcome) -> Outcome:
        """What its end is called, given what the child said or died of."""
        if attempt.ending is ExecutionStatus.TIMEOUT:
            words = f"timed out after {attempt.job.timeout_s:g} s"
            return Outcome(status=ExecutionStatus.TIMEOUT, error=words, traceback=told.traceback)
        if attempt.ending is None or told.status is ExecutionStatus.SUCCESS:
            return told
        given_back = attempt.crash or "handed back by a stop"
        words = "cancelled while it ran" if attempt.ending is ExecutionStatus.CANCELLED else given_back
        return Outcome(status=attempt.ending, error=words, traceback=told.traceback)

    def _ends_at(self, attempt: Attempt) -> float:
        return NEVER if attempt.started_at is None else attempt.started_at + attempt.job.timeout_s


STEPS = (
    lambda slot, attempt: slot.interrupt(attempt),
    lambda slot, attempt: slot.line.terminate(),
    lambda slot, attempt: slot.line.kill(),
)


def death_words(status: int) -> str:
    """What a child died of, in words."""
    if status >= 0:
        return f"its process exited with status {status} before it reported a result"
    try:
        return f"its process was killed by {signal.Signals(-status).name} ({-status})"
    except ValueError:
        return f"its process was killed by signal {-status}"
