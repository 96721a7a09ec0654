"""A process's access to the shared schedules, by calls that fail as all calls of its store do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from jobyard.engine.jobs.job import Job
from jobyard.engine.schedules.look import Fires
from jobyard.engine.schedules.schedule import Schedule
from jobyard.engine.store.schedule_port import Decide, DueLooks, ScheduleStore


class ProcessSchedules:
    """See `ScheduleStore`. `call` performs one call: its name, what it does, and whether it writes."""

    def __init__(self, call: Callable[..., Any], shared: ScheduleStore) -> None:
        self._call = call
        self._shared = shared

    def all(self) -> list[Schedule]:
        return self._read("schedules", self._shared.all)

    def find(self, name: str) -> Schedule | None:
        return self._read("find schedule", lambda: self._shared.find(name))

    def save(self, schedule: Schedule, *, was: int | None) -> bool:
        return self._write("save schedule", lambda: self._shared.save(schedule, was=was))

    def delete(self, name: str) -> bool:
        return self._write("delete schedule", lambda: self._shared.delete(name))

    def next_fire_at(self) -> datetime | None:
        return self._read("next_fire_at", self._shared.next_fire_at)

    def fire_due(self, decide: Decide, *, now: datetime, limit: int) -> DueLooks:
        return self._write("fire_due", lambda: self._shared.fire_due(decide, now=now, limit=limit))

    def add(self, fires: Fires) -> list[str]:
        return self._write("backfill", lambda: self._shared.add(fires))

    def made(self, name: str, *, since: datetime, until: datetime) -> dict[datetime, str]:
        return self._read("made", lambda: self._shared.made(name, since=since, until=until))

    def living(self, name: str) -> list[Job]:
        return self._read("living", lambda: self._shared.living(name))

    def _read(self, what: str, act: Callable[[], Any]) -> Any:
        return self._call(what, act)

    def _write(self, what: str, act: Callable[[], Any]) -> Any:
        return self._call(what, act, writes=True)
