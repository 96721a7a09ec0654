"""Schedules kept in memory: the whole of `ScheduleStore` in its simplest correct form, beside jobs that are kept in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.schedules.look import Fires, Look
from jobyard.engine.schedules.schedule import Schedule
from jobyard.engine.store.port import Inserted, Insertion
from jobyard.engine.store.schedule_port import Decide, DueLooks, Fired


class InMemorySchedules:
    """See `ScheduleStore`. `jobs` lists all jobs, `insert` stores one, `apply` changes one, `note` gets each look that counts."""

    def __init__(
        self, *, jobs: Callable[[], list[Job]], insert: Callable[[Job], Insertion], apply: Callable[[Change], bool],
        note: Callable[[Look, datetime], None] = lambda look, now: None,
    ) -> None:  # fmt: skip
        self._note = note
        self._jobs = jobs
        self._insert = insert
        self._apply = apply
        self._schedules: dict[str, Schedule] = {}

    def all(self) -> list[Schedule]:
        """See `ScheduleStore`."""
        return [self._schedules[name] for name in sorted(self._schedules)]

    def find(self, name: str) -> Schedule | None:
        """See `ScheduleStore`."""
        return self._schedules.get(name)

    def save(self, schedule: Schedule, *, was: int | None) -> bool:
        """See `ScheduleStore`."""
        stored = self._schedules.get(schedule.name)
        if (None if stored is None else stored.version) != was:
            return False
        self._schedules[schedule.name] = schedule
        return True

    def delete(self, name: str) -> bool:
        """See `ScheduleStore`."""
        return self._schedules.pop(name, None) is not None

    def next_fire_at(self) -> datetime | None:
        """See `ScheduleStore`."""
        return min((one.next_fire_at for one in self._schedules.values() if one.next_fire_at is not None), default=None)

    def living(self, name: str) -> list[Job]:
        """See `ScheduleStore`."""
        return [job for job in self._jobs() if job.schedule == name and job.fire_at is not None and job.finished_at is None]

    def made(self, name: str, *, since: datetime, until: datetime) -> dict[datetime, str]:
        """See `ScheduleStore`."""
        own = [(job.fire_at, job.job_id) for job in self._jobs() if job.schedule == name and job.fire_at is not None]
        return {at: job_id for at, job_id in own if since <= at <= until}

    def fire_due(self, decide: Decide, *, now: datetime, limit: int) -> DueLooks:
        """See `ScheduleStore`."""
        due = [(one.next_fire_at, one.name) for one in self._schedules.values() if one.next_fire_at and one.next_fire_at <= now]
        done = DueLooks([])
        for first, name in sorted(due)[:limit]:
            look = decide(self._schedules[name], self.living(name), self.made(name, since=first, until=now))
            if look is None:
                done.waiting += 1
                continue
            job_ids = [self._fire(job) for job in look.fires.jobs]
            cancelled = [(job, change.after(job)) for job, change in look.fires.cancels if self._apply(change)]
            self._schedules[name] = look.after(job_ids)
            self._note(look, now)
            done.fired.append(Fired(look, job_ids, cancelled))
        return done

    def add(self, fires: Fires) -> list[str]:
        """See `ScheduleStore`."""
        job_ids = [self._fire(job) for job in fires.jobs if self._known(job) is None]
        for _, change in fires.cancels:
            self._apply(change)
        return [job_id for job_id in job_ids if job_id is not None]

    def _known(self, job: Job) -> str | None:
        return next((one.job_id for one in self._jobs() if (one.schedule, one.fire_at) == (job.schedule, job.fire_at)), None)

    def _fire(self, job: Job) -> str | None:
        known = self._known(job)
        if known is not None:
            return known
        answer = self._insert(job)
        is_stored = isinstance(answer, Inserted) and (not answer.existing or bool(answer.replaced))
        return answer.job_ids[0] if isinstance(answer, Inserted) and is_stored else None
