"""Lanes and slots of limits on SQLite: jobs enter lanes when they become pending, and free their slots when they stop running.

All of it happens in the commit of the change that causes it. A lane that waits for a full part is not looked at (`ready_at` is
NULL) until the end of an attempt wakes it: as many lanes as slots became free, the highest priority first, then who waits longest.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.limits.effects import MOVED, looks_at_once, refused
from jobyard.engine.limits.limit import CANCEL, Limit
from jobyard.engine.limits.rules import is_implicit, is_kept, lane_for, lane_from, limit_of, parts_of
from jobyard.engine.store.sqlite import rows

STATE = """
    SELECT version, lanes_at IS NOT NULL, EXISTS (SELECT 1 FROM slots), EXISTS (SELECT 1 FROM lanes), freed_at FROM limit_state
"""
FREED = "UPDATE limit_state SET freed_at = ?"
BODIES = "SELECT body FROM limits ORDER BY name"
ENTER = "INSERT OR IGNORE INTO lanes (lane, priority, ready_at) VALUES (?, ?, ?)"
ENTER_EARLIER = "UPDATE lanes SET ready_at = ?3 WHERE lane = ?1 AND priority = ?2 AND blocked_on IS NULL AND ready_at > ?3"
ENTER_AT_ONCE = "UPDATE lanes SET ready_at = min(coalesce(ready_at, ?3), ?3) WHERE lane = ?1 AND priority = ?2"
NAME_LANE = "INSERT OR IGNORE INTO lane_parts VALUES (?, ?)"
FREE = "DELETE FROM slots WHERE job_id = ? RETURNING part"
FREE_BUT_KEPT = "DELETE FROM slots WHERE job_id = ? AND substr(part, 1, 9) <> 'schedule:' RETURNING part"
WAKE = """
    UPDATE lanes SET ready_at = ?1, blocked_on = NULL, blocked_at = NULL WHERE rowid IN (
        SELECT rowid FROM lanes INDEXED BY lanes_blocked WHERE blocked_on = ?2 ORDER BY priority DESC, blocked_at LIMIT ?3
    )
"""
WAKE_UNTIMED = WAKE.replace("blocked_on = ?2", "blocked_on = ?2 AND ready_at IS NULL")
OF_JOB = "SELECT task, queue, priority, scheduled_at, lane, extra FROM jobs WHERE job_id = ?"
SET_LANE = "UPDATE jobs SET lane = ?, extra = COALESCE(extra, '{}') WHERE job_id = ?"
NEW_SLOT = "INSERT OR REPLACE INTO slots VALUES (?, ?, ?)"
RUNNING_IN = "SELECT COUNT(*) FROM slots WHERE part = ?"
PENDING_IN = """
    SELECT COUNT(*) FROM (SELECT 1 FROM jobs INDEXED BY jobs_in_lanes
    WHERE status = 'pending' AND lane IN (SELECT lane FROM lane_parts WHERE part = ?) LIMIT ?)
"""
BLOCKED = "SELECT queue, task, extra FROM jobs INDEXED BY jobs_by_status WHERE status = 'blocked'"
CLAIM_WAITS_MS = 5_000
"""A claim that is later than that has another clock."""


class _Limits(msgspec.Struct):
    limit: tuple[str, ...] | None = None


class SqliteLanes:
    """The limits as one connection knows them, and the lanes and slots of its transactions."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._run = connection.execute
        self._version = -1
        self.limits: dict[str, Limit] = {}
        self.implicit: frozenset[str] = frozenset()
        self.is_relaning = False
        self.has_slots = self.has_lanes = False
        self.freed_at = 0
        self.go_first = True
        """Whether jobs in lanes came before those without one in the last claim."""

    def look(self) -> None:
        """Read what every commit must know; the limits themselves only when they have changed."""
        version, self.is_relaning, self.has_slots, self.has_lanes, self.freed_at = self._run(STATE).fetchone()
        if version != self._version:
            limits = [_decode(body) for (body,) in self._run(BODIES)]
            self.limits = {limit.name: limit for limit in limits}
            self.implicit = frozenset(name for name in self.limits if is_implicit(name))
            self._version = version

    # ---- jobs become pending

    def accept(self, jobs: Sequence[Job]) -> list[Job]:
        """The new jobs in their lanes; those whose limit is full and says so are cancelled."""
        self.look()
        if not self.limits and not any(job.lane or job.limit for job in jobs):
            return list(jobs)
        taken: Counter[str] = Counter()
        cancelling = {name: limit for name, limit in self.limits.items() if limit.numbers.on_full == CANCEL}
        accepted: list[Job] = []
        for job in jobs:
            lane = lane_for(job, self.implicit)
            is_asked = lane is not None and cancelling and not lifecycle.is_terminal(job)
            full = self._full(lane, cancelling, taken) if is_asked and lane is not None else None
            if full is not None:
                accepted.append(refused(job, full))
                continue
            stays_out = lane == job.lane or job.status is not Status.PENDING
            accepted.append(job if stays_out else msgspec.structs.replace(job, lane=lane))
        self.enter((job.lane, job.priority, rows.to_ms(job.scheduled_at) or 0) for job in accepted if job.status is Status.PENDING)
        return accepted

    def enter_again(self, job: Job) -> None:
        """The job is stored with the lane that it has."""
        if job.status is Status.PENDING and job.lane is not None:
            self.enter([(job.lane, job.priority, rows.to_ms(job.scheduled_at) or 0)])

    def _full(self, lane: str, cancelling: dict[str, Limit], taken: Counter[str]) -> str | None:
        """The limit that refuses one more job in this lane."""
        parts = [part for part in parts_of(lane) if limit_of(part) in cancelling]
        for part in parts:
            most = cancelling[limit_of(part)].numbers.max_running or 0
            if self._living(part, most) + taken[part] >= most:
                return limit_of(part)
        taken.update(parts)
        return None

    def _living(self, part: str, most: int) -> int:
        running = self._run(RUNNING_IN, (part,)).fetchone()[0]
        pending = self._run(PENDING_IN, (part, most)).fetchone()[0]
        found = running + pending
        return int(found if found >= most else found + self._blocked(part))

    def _blocked(self, part: str) -> int:
        lanes = (
            lane_from(named_limits(extra), None, queue=queue, task=task, implicit=self.implicit)
            for queue, task, extra in self._run(BLOCKED)
        )
        return sum(lane is not None and part in parts_of(lane) for lane in lanes)

    def enter(self, entries: Iterable[tuple[str | None, int, int]]) -> None:
        """Jobs are pending in these lanes, at these priorities and due times."""
        first: dict[tuple[str, int], int] = {}
        for lane, priority, due in entries:
            if lane is not None:
                first[lane, priority] = min(due, first.get((lane, priority), due))
        for (lane, priority), due in first.items():
            if self._run(ENTER, (lane, priority, due)).rowcount == 1:
                self._connection.executemany(NAME_LANE, [(part, lane) for part in parts_of(lane)])
            else:
                self._run(ENTER_AT_ONCE if looks_at_once(lane, self.limits) else ENTER_EARLIER, (lane, priority, due))

    # ---- jobs change

    def follow(self, changes: Sequence[Change]) -> None:
        """After these changes: free the slots of jobs that run no longer, and let those that are pending enter their lanes."""
        self.look()
        freed: Counter[str] = Counter()
        for change in changes:
            to = change.fields["status"]
            if to is Status.RUNNING:
                continue
            frees = self._free(change, to) if self.has_slots else []
            freed.update(frees)
            if to is Status.PENDING and (frees or self.implicit or self.has_slots or change.verb in MOVED):
                self._enter_again(change.job_id)
        if freed:
            self.wake(freed, max(rows.to_ms(change.fields["updated_at"]) or 0 for change in changes))  # type: ignore[arg-type]

    def _free(self, change: Change, to: object) -> list[str]:
        """A job of a schedule that waits for a retry keeps the schedule's slot."""
        keeps = to is Status.PENDING and change.fields.get("attempt") != 0
        return [part for (part,) in self._run(FREE_BUT_KEPT if keeps else FREE, (rows.to_blob(change.job_id),)).fetchall()]

    def _enter_again(self, job_id: str) -> None:
        found = self._run(OF_JOB, (rows.to_blob(job_id),)).fetchone()
        task, queue, priority, due, lane, extra = found
        wanted = lane_from(named_limits(extra), lane, queue=queue, task=task, implicit=self.implicit)
        if wanted != lane:
            self._run(SET_LANE, (wanted, rows.to_blob(job_id)))
        self.enter([(wanted, priority, due)])

    def wake(self, parts: Counter[str], now_ms: int) -> None:
        """Slots of these parts have become free: let as many lanes try again."""
        self._run(FREED, (now_ms,))
        for part, count in parts.items():
            self._run(WAKE, (now_ms, part, count))

    def offer_free(self, parts: Iterable[str], now: datetime, now_ms: int) -> None:
        """Wake a lane for each of these parts that lanes wait for although there is room, as far as that goes."""
        for part in parts:
            limit = self.limits.get(limit_of(part))
            most = 1 if is_kept(part) else None if limit is None else limit.numbers.max_running
            running = self._run(RUNNING_IN, (part,)).fetchone()[0]
            if most is None or running < most:
                self._run(WAKE_UNTIMED, (now_ms, part, 1 if most is None else most - running))

    def not_before(self, now: datetime) -> datetime:
        """The time of a claim: no earlier than the last end, which may have been noted while the claim waited to commit."""
        ahead_ms = self.freed_at - (rows.to_ms(now) or 0)
        return now + timedelta(milliseconds=ahead_ms) if 0 < ahead_ms < CLAIM_WAITS_MS else now

    def take_slots(self, jobs: Iterable[Job]) -> None:
        """These jobs have begun."""
        slots = [(part, rows.to_blob(job.job_id), job.epoch) for job in jobs if job.lane is not None for part in parts_of(job.lane)]
        if slots:
            self._connection.executemany(NEW_SLOT, slots)


def named_limits(extra: str | None) -> tuple[str, ...] | None:
    """The limits that a job names, from the column `extra`."""
    return None if extra is None else _decode_extra(extra).limit


def encode(limit: Limit) -> bytes:
    """As the column `body` holds it."""
    return _encode(limit)


def limit_from(body: bytes) -> Limit:
    """From the column `body`."""
    limit: Limit = _decode(body)
    return limit


_encode = msgspec.json.Encoder().encode
_decode: Any = msgspec.json.Decoder(Limit).decode
_decode_extra = msgspec.json.Decoder(_Limits).decode
