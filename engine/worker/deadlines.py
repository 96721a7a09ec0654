"""How an attempt is ended before it ends by itself: asked, told, killed; and what its end is then called.

Only an exception names its attempt; whoever ends a child ends what the child is at. As far as we know that is the slot's current
attempt; but its report may be on its way and the child at a later one already. So, before a child is ended, what it has not read
is taken back, and what is left behind the current attempt is released: whichever of them the child's end hits, it costs no retry.
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
        """It must end, for this reason; the first reason stays."""
        if attempt.ending is None:
            attempt.ending = ending
            attempt.next_step_at = self._world.monotonic()

    def look(self, attempt: Attempt, *, draining_since: float | None) -> None:
        """See whether the attempt that a slot runs must end now."""
        now = self._world.monotonic()
        is_over = draining_since is not None and now >= draining_since + self._drain_s
        if is_over and attempt.ending is None and attempt.crash is None:
            attempt.crash = "handed back by a stop"
            self.begin_end(attempt, ExecutionStatus.RELEASED)
        if now >= self._ends_at(attempt):
            self.begin_end(attempt, ExecutionStatus.TIMEOUT)

    def step(self, slot: Slot, attempt: Attempt) -> None:
        """Do what is due to the attempt that a slot runs; what the child has not read was taken back."""
        now = self._world.monotonic()
        if attempt.ending is None or now < attempt.next_step_at:
            return
        if attempt.step > 0:
            self.spare_others(slot)
        STEPS[min(attempt.step, len(STEPS) - 1)](slot, attempt)
        attempt.step += 1
        attempt.next_step_at = now + GRACE_S

    def spare_others(self, slot: Slot) -> None:
        """The child is ended for what its current attempt does."""
        for attempt in slot.attempts:
            if attempt is not slot.current:
                self._release(attempt, "handed back: its process was ended for another job")

    def next_step_at(self, attempt: Attempt, draining_since: float | None) -> float:
        """When `step` has something to do, in monotonic seconds."""
        if attempt.ending is not None:
            return attempt.next_step_at
        return min(self._ends_at(attempt), NEVER if draining_since is None else draining_since + self._drain_s)

    def outcome_of(self, attempt: Attempt, told: Outcome) -> Outcome:
        """What its end is called, given what the child said or died of."""
        if attempt.ending is ExecutionStatus.TIMEOUT:
            late = f"timed out after {attempt.job.timeout_s:g} s"
            return Outcome(status=ExecutionStatus.TIMEOUT, error=late, traceback=told.traceback)
        if attempt.ending is None or told.status is ExecutionStatus.SUCCESS:
            return told
        words = "cancelled while it ran" if attempt.ending is ExecutionStatus.CANCELLED else attempt.crash
        return Outcome(status=attempt.ending, error=words, traceback=told.traceback)

    def _release(self, attempt: Attempt, why: str) -> None:
        """Ended at once, and free of charge, unless it ends for another reason anyhow."""
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
    """What a child died of, in words."""
    if status is None:
        return "its process ended before it reported a result"
    if status >= 0:
        return f"its process exited with status {status} before it reported a result"
    try:
        return f"its process was killed by {signal.Signals(-status).name} ({-status})"
    except ValueError:
        return f"its process was killed by signal {-status}"
