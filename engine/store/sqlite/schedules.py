"""Schedules on SQLite: a fire, its job and the advance of its schedule are one transaction."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

import msgspec

from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.schedules.look import Fires
from jobyard.engine.schedules.schedule import ALLOW, Schedule
from jobyard.engine.store.port import Inserted
from jobyard.engine.store.schedule_port import Decide, DueLooks, Fired
from jobyard.engine.store.sqlite import rows, statements
from jobyard.engine.store.sqlite.hooks import SqliteHooks
from jobyard.engine.store.sqlite.insert import insert_jobs
from jobyard.engine.store.sqlite.lanes import SqliteLanes
from jobyard.engine.store.sqlite.workflows import SqliteWorkflows

Context = Callable[[], AbstractContextManager[None]]

ALL = "SELECT body FROM schedules ORDER BY name"
FIND = "SELECT body FROM schedules WHERE name = ?"
INSERT = "INSERT INTO schedules (next_fire_at, version, body, name) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
UPDATE = "UPDATE schedules SET next_fire_at = ?, version = ?, body = ? WHERE name = ? AND version = ?"
DELETE = "DELETE FROM schedules WHERE name = ?"
NEXT = "SELECT MIN(next_fire_at) FROM schedules WHERE next_fire_at IS NOT NULL"
DUE = "SELECT body FROM schedules WHERE next_fire_at <= ? ORDER BY next_fire_at, name LIMIT ?"
MADE = "SELECT fire_at, job_id FROM jobs WHERE schedule = ? AND fire_at BETWEEN ? AND ?"
HAS_FIRED = "SELECT 1 FROM jobs WHERE schedule = ? AND fire_at = ?"


class SqliteSchedules:
    """See `ScheduleStore`. `commit` opens a transaction, `reading` translates errors; `deltas` are the counts that it changes."""

    def __init__(
        self, connection: sqlite3.Connection, *, commit: Context, reading: Context, deltas: Counter[str], lanes: SqliteLanes,
        hooks: SqliteHooks,
    ) -> None:  # fmt: skip
        self._hooks = hooks
        self._connection = connection
        self._run = connection.execute
        self._commit = commit
        self._reading = reading
        self._deltas = deltas
        self._lanes = lanes

    def all(self) -> list[Schedule]:
        """See `ScheduleStore`."""
        with self._reading():
            return [_decode(body) for (body,) in self._run(ALL)]

    def find(self, name: str) -> Schedule | None:
        """See `ScheduleStore`."""
        with self._reading():
            row = self._run(FIND, (name,)).fetchone()
        return None if row is None else _decode(row[0])

    def save(self, schedule: Schedule, *, was: int | None) -> bool:
        """See `ScheduleStore`."""
        with self._commit():
            return self._save(schedule, was)

    def delete(self, name: str) -> bool:
        """See `ScheduleStore`."""
        with self._commit():
            return bool(self._run(DELETE, (name,)).rowcount)

    def next_fire_at(self) -> datetime | None:
        """See `ScheduleStore`."""
        with self._reading():
            return rows.from_ms(self._run(NEXT).fetchone()[0])

    def living(self, name: str) -> list[Job]:
        """See `ScheduleStore`."""
        with self._reading():
            return [rows.row_to_job(row) for row in self._run(statements.LIVING_FIRES, (name,))]

    def made(self, name: str, *, since: datetime, until: datetime) -> dict[datetime, str]:
        """See `ScheduleStore`."""
        with self._reading():
            found = self._run(MADE, (name, rows.to_ms(since), rows.to_ms(until)))
            return {at: job_id.hex() for ms, job_id in found if (at := rows.from_ms(ms)) is not None}

    def fire_due(self, decide: Decide, *, now: datetime, limit: int) -> DueLooks:
        """Takes no lock if nothing is due; decides behind the lock, so that watchers do not decide the same fire twice."""
        first = self.next_fire_at()
        done = DueLooks([])
        if first is None or first > now:
            return done
        with self._commit():
            for (body,) in self._run(DUE, (rows.to_ms(now), limit)).fetchall():
                schedule = _decode(body)
                living = [] if schedule.asked.overlap == ALLOW else self.living(schedule.name)
                look = decide(schedule, living, self.made(schedule.name, since=schedule.next_fire_at or now, until=now))
                if look is None:
                    done.waiting += 1
                    continue
                job_ids = [self._fire(job) for job in look.fires.jobs]
                cancelled = self._cancel(look.fires.cancels)
                self._save(look.after(job_ids), schedule.version)
                self._hooks.tell_missed(look, now)
                done.fired.append(Fired(look, job_ids, cancelled))
        return done

    def add(self, fires: Fires) -> list[str]:
        """See `ScheduleStore`."""
        added: list[str] = []
        with self._commit():
            for job in fires.jobs:
                if not self._has_fired(job) and (job_id := self._fire(job)) is not None:
                    added.append(job_id)
            self._cancel(fires.cancels)
        return added

    def _fire(self, job: Job) -> str | None:
        """The id of the job of this fire, which has none yet; None when another job holds its unique key."""
        workflows = SqliteWorkflows(self._connection, commit=self._commit, reading=self._reading)
        answer = insert_jobs(self._connection, workflows, [job], lambda: False, deltas=self._deltas, lanes=self._lanes)
        if not isinstance(answer, Inserted) or (answer.existing and not answer.replaced):
            return None
        return answer.job_ids[0]

    def _has_fired(self, job: Job) -> bool:
        return self._run(HAS_FIRED, (job.schedule, rows.to_ms(job.fire_at))).fetchone() is not None

    def _cancel(self, cancels: Sequence[tuple[Job, Change]]) -> list[tuple[Job, Job]]:
        done = []
        for job, change in cancels:
            statement = statements.change_job(tuple(change.fields), change.unless_cancelled)
            if self._run(statement, rows.change_to_row(change)).rowcount:
                done.append((job, after := change.after(job)))
                self._deltas[job.status] -= 1
                self._deltas[after.status] += 1
                self._hooks.tell([change])
                self._lanes.follow([change])
        return done

    def _save(self, schedule: Schedule, was: int | None) -> bool:
        values = (rows.to_ms(schedule.next_fire_at), schedule.version, _encode(schedule), schedule.name)
        return bool((self._run(INSERT, values) if was is None else self._run(UPDATE, (*values, was))).rowcount)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Schedule).decode
