"""The guarantees of every store about schedules; see `store.port` for those about jobs.

A fire and the advance of its schedule are one commit (SQLite); or the job is stored first, unique by schedule and fire time, and
then what it replaces is cancelled, then the schedule advances, guarded by its version (MongoDB). So whatever dies in between, a
fire time has at most one job, and the next look counts it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from jobyard.engine.jobs.job import Job
from jobyard.engine.schedules.look import Fires, Look, Made
from jobyard.engine.schedules.schedule import Schedule

Decide = Callable[[Schedule, Sequence[Job], Made], Look | None]
"""Decides a look from the schedule, the jobs of its fires and backfills that have not ended (without payloads, and only where its
overlap asks for them), and the jobs that its due fire times have already."""


@dataclass(slots=True)
class Fired:
    """One look that was committed: the ids of its jobs (None: its unique key was held), and those that were cancelled, before and
    after."""

    look: Look
    job_ids: list[str | None]
    cancelled: list[tuple[Job, Job]] = field(default_factory=list)


@dataclass(slots=True)
class DueLooks:
    """What came of the schedules that were due; `waiting` of them wait for room."""

    fired: list[Fired]
    waiting: int = 0


class ScheduleStore(Protocol):
    """The source of truth for schedules. Any method may raise `StoreUnavailable`."""

    def all(self) -> list[Schedule]:
        """Every schedule, by name."""

    def find(self, name: str) -> Schedule | None:
        """The schedule of this name."""

    def save(self, schedule: Schedule, *, was: int | None) -> bool:
        """Store it if the stored one still has the version `was` (None: if there is none); the new one's version must be higher."""

    def delete(self, name: str) -> bool:
        """Remove it; its jobs stay. False: there is none."""

    def next_fire_at(self) -> datetime | None:
        """The earliest `next_fire_at` of all; cheap."""

    def fire_due(self, decide: Decide, *, now: datetime, limit: int) -> DueLooks:
        """Look at up to `limit` schedules that are due, the earliest first, and commit what `decide` says."""

    def add(self, fires: Fires) -> list[str]:
        """Store the jobs of a backfill and apply its cancels; the ids of the new ones. Fire times that have a job are left out."""

    def made(self, name: str, *, since: datetime, until: datetime) -> dict[datetime, str]:
        """The ids of the stored jobs of its fire times in [since, until], by fire time."""

    def living(self, name: str) -> list[Job]:
        """The jobs of its fires and backfills that have not ended, without payloads."""
