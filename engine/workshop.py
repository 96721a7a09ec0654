"""All executor children of a worker: starts and replaces them, hands attempts to them, and brings every attempt to an end.

    hand ──▶ slot ──▶ Done ──────────────▶ Ended
              │  └──▶ death of the child ─▶ Ended (crashed)
              └── taken back unread (stuck behind a long one, or its child ends) ──▶ homeless ──▶ another slot, or Ended (released)

What has ended is collected by the worker, which settles it in the store. Nothing here knows the store or the queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from engine.attempts import Deadlines, crash_words
from engine.config import Settings
from engine.job import ExecutionStatus, Outcome
from engine.logs import Log
from engine.output import OutputLog
from engine.pace import Pace
from engine.slot import Attempt, Child, Slot
from engine.wire.hub import Network, Peer
from engine.wire.messages import Done
from engine.world import World

STUCK_S = 0.02
HOMELESS_S = 0.1
BROKEN_OFF_S = 0.2
MEMORY_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt and what came of it, waiting to be settled."""

    attempt: Attempt
    outcome: Outcome


class Workshop:
    """The children and what they have."""

    def __init__(self, *, settings: Settings, world: World, network: Network, log: Log, child: Child) -> None:
        self._settings = settings
        self._world = world
        self._network = network
        self._log = log
        self._child = child
        self._output = OutputLog(log)
        self._deadlines = Deadlines(world, drain_s=settings.drain_s)
        self._homeless: deque[tuple[Attempt, float]] = deque()
        self._ended: list[Ended] = []
        self._memory_look_at = world.monotonic()
        self._draining_since: float | None = None
        self.pace = Pace()
        self.slots = [self._new_slot() for _ in range(settings.concurrency)]

    @property
    def takers(self) -> list[Slot]:
        """The slots that may be handed an attempt."""
        return [slot for slot in self.slots if slot.takes_work]

    @property
    def has_homeless(self) -> bool:
        """Whether attempts wait here for a slot; they come before any new ones."""
        return bool(self._homeless)

    @property
    def is_empty(self) -> bool:
        """Whether every child has left after `drain`, and nothing waits."""
        return not self.slots and not self._homeless and not self._ended

    def hand(self, attempt: Attempt) -> None:
        """To the slot with the least to do."""
        slot = min(self.takers, key=lambda slot: len(slot.attempts), default=None)
        if slot is None or not slot.hand(attempt):
            self._shelter([attempt])

    def depth(self, slot: Slot, ahead: int) -> int:
        """How many attempts a slot may have at all, given how many of the next kind: one, behind a job that is or may be long."""
        return min([ahead, *(self.pace.ahead(attempt.job.task) for attempt in slot.attempts)])

    def appetite(self) -> int:
        """How many more attempts are of use now: for free slots, and ahead for those that are busy with short jobs."""
        now = self._world.monotonic()
        expected = self.pace.expected()
        wanted = 0
        for slot in self.takers:
            if slot.current is None or not self._is_long(slot.current, now):
                depth = self.depth(slot, expected)
                wanted += max(0, depth - len(slot.attempts)) + (depth if depth > 1 else 0)
        return wanted

    def collect(self) -> list[Ended]:
        """What has ended since the last time."""
        ended, self._ended = self._ended, []
        return ended

    def attempts(self) -> Iterator[Attempt]:
        """All that are here."""
        for slot in self.slots:
            yield from slot.attempts
        yield from (attempt for attempt, _ in self._homeless)

    def cancel(self, job_id: str) -> None:
        """Somebody asked to cancel this job."""
        for attempt in self.attempts():
            if attempt.job.job_id == job_id:
                self._deadlines.begin_end(attempt, ExecutionStatus.CANCELLED)

    def drain(self) -> None:
        """No new children; what runs may go on for DRAIN_S."""
        self._draining_since = self._world.monotonic()

    # ---- what the children say

    def note_done(self, peer: Peer | None, done: Done) -> None:
        """A child reports the end of an attempt."""
        slot = next((slot for slot in self.slots if slot.peer is peer), None)
        if slot is None:
            return
        self._read_output(slot)
        attempt = slot.done(done.job_id, done.attempt)
        if attempt is None:
            self._log.warning("report_ignored", pid=slot.pid, job_id=done.job_id)
            return
        self.pace.note(attempt.job.task, done.elapsed_s)
        self._end(attempt, self._deadlines.outcome_of(attempt, done.outcome))
        if self._settings.max_jobs_per_child and slot.runs >= self._settings.max_jobs_per_child:
            self._shelter(slot.take_back())
            slot.retire()

    def note_closed(self, peer: Peer | None) -> None:
        """A child's reports have ended: because it did, which is seen in a moment, or because its task broke them off."""
        for slot in self.slots:
            if slot.peer is peer and slot.broke_off_at is None:
                slot.broke_off_at = self._world.monotonic()

    def note_ready(self, fd: int) -> None:
        """A child died, or one of its tasks printed something."""
        for slot in self.slots:
            if fd == slot.pid_fd:
                slot.dying = True
            elif fd == slot.output_fd:
                self._read_output(slot)

    def bury_dead(self) -> None:
        """Those whose death was seen a turn ago: all that they reported has been read since."""
        for slot in [slot for slot in self.slots if slot.dying]:
            self._read_output(slot)
            self._shelter([] if slot.retiring else slot.take_back())
            words = crash_words(slot.bury())
            self.slots.remove(slot)
            for attempt in slot.attempts:
                outcome = Outcome(status=ExecutionStatus.CRASHED, error=attempt.crash or words)
                self._end(attempt, self._deadlines.outcome_of(attempt, outcome))
            if self._draining_since is None:
                self.slots.append(self._new_slot())

    # ---- what time brings

    def look_after(self) -> None:
        """Time-outs, cancellations, memory, short jobs stuck behind a long one, homes for the homeless, the end of the drain."""
        now = self._world.monotonic()
        for slot in self.slots:
            current = slot.current
            if current is None or slot.dying:
                continue
            if self._deadlines.step(slot, current, draining_since=self._draining_since) or self._is_stuck(slot, now):
                self._shelter([] if slot.retiring else slot.take_back())
        self._end_broken_off(now)
        self._look_at_memory(now)
        self._house(now)
        for slot in self.takers if self._draining_since is not None else []:
            if not slot.attempts:
                slot.retire()

    def next_look_at(self) -> float:
        """When `look_after` has something to do, in monotonic seconds."""
        now = self._world.monotonic()
        if any(slot.dying for slot in self.slots):
            return now
        dues = [float("inf")]
        for slot in self.slots:
            if slot.broke_off_at is not None:
                dues.append(now + BROKEN_OFF_S)
            if slot.attempts:
                dues.append(self._deadlines.next_step_at(slot.attempts[0], self._draining_since))
            if len(slot.attempts) > 1 or (slot.attempts and not self._is_long(slot.attempts[0], now)):
                dues.append(now + STUCK_S)
        if self._homeless:
            dues.append(now + STUCK_S)
        if self._settings.child_memory_mb:
            dues.append(self._memory_look_at)
        return min(dues)

    def _is_stuck(self, slot: Slot, now: float) -> bool:
        return len(slot.attempts) > 1 and self._is_long(slot.attempts[0], now)

    def _is_long(self, attempt: Attempt, now: float) -> bool:
        return attempt.started_at is not None and now - attempt.started_at > STUCK_S

    def _end_broken_off(self, now: float) -> None:
        """No result can come any more from a child that lives on without its line."""
        for slot in self.slots:
            if slot.broke_off_at is not None and not slot.dying and now - slot.broke_off_at > BROKEN_OFF_S:
                if slot.current is not None:
                    slot.current.crash = "the task closed the line on which its result was to come"
                slot.kill()

    def _look_at_memory(self, now: float) -> None:
        limit_mb = self._settings.child_memory_mb
        if not limit_mb or now < self._memory_look_at:
            return
        self._memory_look_at = now + MEMORY_LOOK_S
        for slot in self.slots:
            used_mb = self._world.memory_of(slot.pid) >> 20
            if used_mb <= limit_mb:
                continue
            if slot.current is not None:
                slot.current.crash = f"out of memory: {used_mb} MiB used, CHILD_MEMORY_MB allows {limit_mb}"
            slot.kill()

    def _house(self, now: float) -> None:
        """Attempts that were taken back go to whoever is free, or are given back free of charge."""
        while self._homeless:
            attempt, since = self._homeless[0]
            slot = self._home_for(attempt, now)
            may_run = self._draining_since is None and attempt.ending is None
            if may_run and slot is not None and slot.hand(attempt):
                self._homeless.popleft()
            elif not may_run or now - since > HOMELESS_S:
                self._homeless.popleft()
                ending = attempt.ending or ExecutionStatus.RELEASED
                self._end(attempt, Outcome(status=ending, error="given back before it began to run"))
            else:
                return

    def _home_for(self, attempt: Attempt, now: float) -> Slot | None:
        """A slot that does not run a long job and has room for one more of this kind."""
        ahead = self.pace.ahead(attempt.job.task)
        quick = [slot for slot in self.takers if slot.current is None or not self._is_long(slot.current, now)]
        slot = min(quick, key=lambda slot: len(slot.attempts), default=None)
        return slot if slot is not None and len(slot.attempts) < self.depth(slot, ahead) else None

    def _shelter(self, attempts: list[Attempt]) -> None:
        now = self._world.monotonic()
        self._homeless.extend((attempt, now) for attempt in attempts)

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        self._output.end(attempt)
        self._ended.append(Ended(attempt, outcome))

    def _read_output(self, slot: Slot) -> None:
        data = slot.read_output()
        if data and slot.current is not None:
            self._output.tell(slot.current, data)

    def _new_slot(self) -> Slot:
        return Slot(child=self._child, world=self._world, network=self._network)
