"""Makes the jobs of schedules whose fire time has come. Every watcher does so; the store lets each fire happen once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from jobyard.engine.config import Settings
from jobyard.engine.errors import Rejected, Unavailable
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.submission import Defaults
from jobyard.engine.logs import Log
from jobyard.engine.metrics import Histogram
from jobyard.engine.schedules.definition import parse
from jobyard.engine.schedules.look import Look, Made, look_at
from jobyard.engine.schedules.new_job import scheduled_job
from jobyard.engine.schedules.schedule import CODE, REASONS, Definition, Schedule
from jobyard.engine.store.declare_schedule import declare_schedule
from jobyard.engine.store.port import Store
from jobyard.engine.store.schedule_port import Decide
from jobyard.engine.tasks.schedule_catalog import ScheduleCatalog
from jobyard.engine.world import World

A_COMMIT = 100
"""Schedules per commit; so many delay other processes' commits by some milliseconds."""
SLACK_S = 0.0005
SPREAD_S = 0.002
"""Otherwise all watchers would wake at once, and one suffices."""

Told = Callable[[list[tuple[Job, Job]]], None]


class Fires:
    """The fires of one watcher."""

    def __init__(
        self, *, settings: Settings, world: World, store: Store, log: Log, defaults: Callable[[], Defaults], tell_cancelled: Told,
        declared: ScheduleCatalog | None = None,
    ) -> None:  # fmt: skip
        """`tell_cancelled` gets the jobs that a fire replaced, before and after; `declared`: what task modules declare."""
        self._declared = declared
        self._settings = settings
        self._world = world
        self._store = store
        self._log = log
        self._defaults = defaults
        self._tell_cancelled = tell_cancelled
        self._next_at: datetime | None = None
        self._is_known = False
        self._waits_for_room = False
        self.fired = 0
        self.missed: dict[str, int] = {}
        self.lag = Histogram()

    def counts(self) -> dict[str, int]:
        """What was made and missed, by the names of the metrics."""
        return {"fires": self.fired, **{f"missed_{reason}": self.missed.get(reason, 0) for reason in REASONS}}

    def forget(self) -> None:
        """Somebody may have changed a schedule: read again when the next fire is."""
        self._is_known = False

    def declare(self) -> None:
        """Store the schedules that the task modules declare, if these have been imported since the last time."""
        bodies = None if self._declared is None else self._declared.news()
        if self._declared is None or not bodies:
            return
        now, defaults, zone = self._world.now(), self._defaults(), self._settings.time_zone
        try:
            for name, body in bodies.items():
                try:
                    asked = parse(body, now=now, defaults=defaults, time_zone=zone)
                except Rejected as wrong:  # it was right when the modules were imported: a task has gone, or its end has passed
                    self._log.warning("schedule_not_declared", schedule=name, reason=wrong.message)
                else:
                    self._declare(name, asked, now)
        except Unavailable:
            self._declared.again()
            raise
        self._is_known = False

    def _declare(self, name: str, asked: Definition, now: datetime) -> None:
        after, before = declare_schedule(self._store.schedules, name, asked, origin=CODE, now=now)
        if after is not before:
            self._log.info("schedule_declared", schedule=name)

    def next_s(self) -> float | None:
        """The time until the next fire; None if there is none, or it waits for room."""
        self._read()
        if self._next_at is None or self._waits_for_room:
            return None
        left_s = (self._next_at - self._world.now()).total_seconds() + SLACK_S
        return max(0.0, left_s + self._world.jitter(SPREAD_S)) if left_s > 0 else 0.0

    def fire(self) -> bool:
        """Look at everything that is due; whether jobs were made."""
        self._read()
        has_fired = False
        while self._next_at is not None and self._next_at <= self._world.now():
            now = self._world.now()
            done = self._store.schedules.fire_due(self._decider(now), now=now, limit=A_COMMIT)
            for fired in done.fired:
                self._note(fired.look, fired.job_ids, self._world.now())
                self._tell_cancelled(fired.cancelled)
                has_fired = has_fired or any(fired.job_ids)
            self._waits_for_room = bool(done.waiting)
            self._is_known = False
            self._read()
            if not done.fired:
                break
        return has_fired

    def _read(self) -> None:
        if not self._is_known:
            self._next_at = self._store.schedules.next_fire_at()
            self._is_known = True

    def _decider(self, now: datetime) -> Decide:
        counts = self._store.counts()
        room = self._settings.max_pending - counts[Status.PENDING] - counts[Status.BLOCKED]
        defaults = self._defaults()

        def make(schedule: Schedule, at: datetime) -> Job:
            return scheduled_job(schedule, job_id=self._world.object_id(), now=now, defaults=defaults)

        def decide(schedule: Schedule, living: Sequence[Job], made: Made) -> Look | None:
            nonlocal room
            look = look_at(schedule, now=now, living=living, room=room, make=make, made=made)
            if look is not None:
                room -= len(look.fires.jobs)
                if look.missed or look.fires.jobs:
                    look.sample = look.fires.jobs[0] if look.fires.jobs else make(schedule, now)
            return look

        return decide

    def _note(self, look: Look, job_ids: Sequence[str | None], now: datetime) -> None:
        for job, job_id in zip(look.fires.jobs, job_ids, strict=True):
            if job_id is not None and job.fire_at is not None:
                self.fired += 1
                self.lag.note((now - job.fire_at).total_seconds())
                self._log.debug("schedule_fired", schedule=look.schedule.name, job_id=job_id)
        for at, _ in look.fires.known:
            self.fired += 1
            self.lag.note((now - at).total_seconds())
        for reason, count in look.missed.items():
            self.missed[reason] = self.missed.get(reason, 0) + count
            self._log.info("schedule_missed", schedule=look.schedule.name, reason=reason, count=count)
