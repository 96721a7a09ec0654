"""The shared schedules, which check the invariants of fires: at every look, which fire times it made and that the counts add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from jobyard.engine.jobs.job import Job
from jobyard.engine.schedules.fire_times import MILLISECOND, count_fires
from jobyard.engine.schedules.schedule import ONE_AT_A_TIME, QUEUE, REPLACE, SKIP, Schedule
from jobyard.engine.store.schedule_port import Decide, DueLooks
from jobyard.engine.testing.in_memory_schedules import InMemorySchedules
from tests.simulation.event_queue import Violation

if TYPE_CHECKING:
    from tests.simulation.store import SharedStore

MOST_COUNTED = 10_000_000


@dataclass
class Counted:
    """A schedule's counts when it was made, or got other fire times, and the fire times that have had jobs since then."""

    next_fire_at: datetime | None
    total: int
    times: set[datetime] = field(default_factory=set)


class WatchedSchedules(InMemorySchedules):
    """Checks every look and every change."""

    def __init__(self, store: SharedStore) -> None:
        super().__init__(
            jobs=store.all_jobs, insert=lambda job: store._insert_request([job], lambda: False), apply=store._apply_one
        )  # fmt: skip
        self._counted: dict[str, Counted] = {}

    def save(self, schedule: Schedule, *, was: int | None) -> bool:
        before = self.find(schedule.name)
        done = super().save(schedule, was=was)
        if done and (before is None or before.asked.timing != schedule.asked.timing):
            self._counted[schedule.name] = Counted(schedule.next_fire_at, _total(schedule))
        elif done:
            self._check(schedule)
        return done

    def fire_due(self, decide: Decide, *, now: datetime, limit: int) -> DueLooks:
        done = super().fire_due(decide, now=now, limit=limit)
        for fired in done.fired:
            after = self.find(fired.look.schedule.name)
            assert after is not None
            self._check(after)
            _require(after.next_fire_at is None or after.next_fire_at > now, f"is due again at {after.next_fire_at}", after)
            if after.asked.overlap == REPLACE:
                left = [job for job in self.living(after.name) if job.cancel_requested_at is None]
                _require(len(left) <= 1, f"left {len(left)} jobs alive", after)
        return done

    def note_fire(self, job: Job, living: Sequence[Job]) -> None:
        """A job of a fire is about to be stored."""
        schedule = self.find(job.schedule or "")
        if schedule is None or job.fire_at is None or schedule.next_fire_at is None:
            raise Violation(f"a fire of {job.schedule}, which does not exist or has none")
        counted = self._counted[schedule.name]
        _require(job.fire_at not in counted.times, f"fires twice for {job.fire_at}", schedule)
        _require(job.fire_at <= job.created_at, f"fires early: {job.fire_at} at {job.created_at}", schedule)
        _require(job.fire_at >= schedule.next_fire_at, f"fires for {job.fire_at}, before its next fire", schedule)
        _require(schedule.paused is None, "fires while it is paused", schedule)
        counted.times.add(job.fire_at)
        overlap = schedule.asked.overlap
        _require(overlap != SKIP or not living, "fires although a job lives", schedule)
        _require(overlap != QUEUE or all(one.attempt for one in living), "fires although a job waits", schedule)
        _require((job.lane is not None) == (overlap in ONE_AT_A_TIME), "has the wrong lane", schedule)

    def _check(self, schedule: Schedule) -> None:
        """S3: what was made and missed is what arithmetic says."""
        counted = self._counted[schedule.name]
        if counted.next_fire_at is None or schedule.next_fire_at is None:
            return
        until = schedule.next_fire_at - MILLISECOND
        passed, _ = count_fires(schedule.asked.timing, since=counted.next_fire_at, until=until, at_most=MOST_COUNTED)
        total = _total(schedule) - counted.total
        _require(total == passed, f"counts {total} of {passed} fire times", schedule)
        _require(schedule.missed_is_exact, "misses are not exact", schedule)


def _total(schedule: Schedule) -> int:
    return schedule.fires + sum(schedule.missed.values())


def _require(holds: bool, otherwise: str, schedule: Schedule) -> None:
    if not holds:
        asked = schedule.asked
        raise Violation(f"schedule {schedule.name} ({asked.overlap}, {asked.catch_up}, every {asked.timing.every_s} s) {otherwise}")
