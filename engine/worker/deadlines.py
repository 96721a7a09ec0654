"""Ends attempts that must not continue: an exception in the task, then SIGTERM, then SIGKILL; and decides their outcome.

Only the exception names its attempt; a signal ends whatever the executor runs. As far as is known that is the slot's current
attempt, but its report may be on its way while the executor runs a later one. So before an executor is ended, what it has not read
is taken back, and what it may have begun after the current attempt is released: none of these uses up a retry.
"""

from __future__ import annotations

import signal

from jobyard.engine.jobs.job import ExecutionStatus, Outcome
from jobyard.engine.worker.slot import Attempt, Slot
from jobyard.engine.world import World

GRACE_S = 1.0
NEVER = float("inf")


class Deadlines:
    """Time-outs, cancellations, the end of a drain: an exception, a second later SIGTERM, a second later SIGKILL."""

    def __init__(self, world: World, *, drain_s: float) -> None:
        self._world = world
        self._drain_s = drain_s

    def begin_end(self, attempt: Attempt, ending: ExecutionStatus) -> None:
        """The attempt must end, for this reason; the first reason counts."""
        if attempt.ending is None:
            attempt.ending = ending
            attempt.next_step_at = self._world.monotonic()

    def end_drain(self) -> None:
        """From now on, no attempt may continue while its worker drains."""
        self._drain_s = 0.0

    def look(self, attempt: Attempt, *, draining_since: float | None) -> None:
        """Check whether the attempt that a slot runs must end now."""
        now = self._world.monotonic()
        is_over = draining_since is not None and now >= draining_since + self._drain_s
        if is_over and attempt.ending is None and attempt.crash is None:
            attempt.crash = "handed back by a stop"
            self.begin_end(attempt, ExecutionStatus.RELEASED)
        if now >= self._ends_at(attempt):
            self.begin_end(attempt, ExecutionStatus.TIMEOUT)

    def step(self, slot: Slot, attempt: Attempt) -> None:
        """Take the next step of ending the attempt that a slot runs; what the executor has not read was taken back before."""
        now = self._world.monotonic()
        if attempt.ending is None or now < attempt.next_step_at:
            return
        if attempt.step > 0:
            self.spare_others(slot)
        STEPS[min(attempt.step, len(STEPS) - 1)](slot, attempt)
        attempt.step += 1
        attempt.next_step_at = now + GRACE_S

    def spare_others(self, slot: Slot) -> None:
        """The executor is ended because of its current attempt: release the others, without using up a retry."""
        for attempt in slot.attempts:
            if attempt is not slot.current:
                self._release(attempt, "handed back: its process was ended for another job")

    def next_step_at(self, attempt: Attempt, draining_since: float | None) -> float:
        """When `step` has something to do, in monotonic seconds."""
        if attempt.ending is not None:
            return attempt.next_step_at
        return min(self._ends_at(attempt), NEVER if draining_since is None else draining_since + self._drain_s)

    def outcome_of(self, attempt: Attempt, told: Outcome) -> Outcome:
        """The outcome of an attempt, given what the executor reported or how it died."""
        if attempt.ending is ExecutionStatus.TIMEOUT:
            late = f"timed out after {attempt.job.timeout_s:g} s"
            return Outcome(status=ExecutionStatus.TIMEOUT, error=late, traceback=told.traceback)
        if attempt.ending is None or told.status is ExecutionStatus.SUCCESS:
            return told
        words = "cancelled while it ran" if attempt.ending is ExecutionStatus.CANCELLED else attempt.crash
        return Outcome(status=attempt.ending, error=words, traceback=told.traceback)

    def _release(self, attempt: Attempt, why: str) -> None:
        """End it at once, without using up a retry, unless it already ends for another reason."""
        if attempt.ending is None and attempt.crash is None:
            attempt.ending, attempt.crash = ExecutionStatus.RELEASED, why
            attempt.step, attempt.next_step_at = len(STEPS) - 1, self._world.monotonic()

    def _ends_at(self, attempt: Attempt) -> float:
        return NEVER if attempt.started_at is None else attempt.started_at + attempt.job.timeout_s


STEPS = (
    lambda slot, attempt: slot.interrupt(attempt),
    lambda slot, attempt: slot.handle.terminate(),
    lambda slot, attempt: slot.handle.kill(),
)


def death_words(status: int | None) -> str:
    """How an executor died, in words."""
    if status is None:
        return "its process ended before it reported a result"
    if status >= 0:
        return f"its process exited with status {status} before it reported a result"
    try:
        return f"its process was killed by {signal.Signals(-status).name} ({-status})"
    except ValueError:
        return f"its process was killed by signal {-status}"
