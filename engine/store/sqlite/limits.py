"""Limits on SQLite: the definitions, what is in use of them, and the upkeep of lanes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from jobyard.engine.limits.limit import Limit, PartUsage, Usage
from jobyard.engine.limits.rules import (
    QUEUE,
    TASK,
    PartState,
    from_micros,
    is_implicit,
    lane_from,
    micros,
    next_token,
    partition_of,
)
from jobyard.engine.store.limit_port import MOST_PARTITIONS, WAITING_LOOK, PartHolders
from jobyard.engine.store.sqlite import rows
from jobyard.engine.store.sqlite.lanes import RUNNING_IN, SET_LANE, SqliteLanes, encode, limit_from, named_limits

Context = Callable[[], AbstractContextManager[None]]

ALL = "SELECT body FROM limits ORDER BY name"
FIND = "SELECT body FROM limits WHERE name = ?"
INSERT = "INSERT INTO limits (version, body, name) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
UPDATE = "UPDATE limits SET version = ?, body = ? WHERE name = ? AND version = ?"
DELETE = "DELETE FROM limits WHERE name = ?"
CHANGED = "UPDATE limit_state SET version = version + 1"
RELANE = "UPDATE limit_state SET lanes_at = -1, lanes_seq = -1"
_OF_LIMIT = "({0} = :name OR ({0} > :from AND {0} < :to))"
_PART_OF, _BLOCKED_ON_IT, _LANE_OF = map(_OF_LIMIT.format, ("part", "blocked_on", "of_lane.part"))
WAKE_ALL = f"""
    UPDATE lanes SET ready_at = :now, blocked_on = NULL, blocked_at = NULL
    WHERE blocked_on = '=' || :name OR {_BLOCKED_ON_IT}
"""
DROP_SLOTS = "DELETE FROM slots WHERE part = ?"
DROP_PARTS = f"DELETE FROM parts WHERE {_PART_OF}"
FILL_SLOTS = """
    INSERT OR IGNORE INTO slots SELECT :name, job_id, epoch FROM jobs INDEXED BY jobs_by_status
    WHERE status = 'running' AND (:queue IS NULL OR queue = :queue) AND (:task IS NULL OR task = :task)
"""
HOLD_PART = """
    INSERT INTO parts (part, tat, hold_until) VALUES (?1, 0, ?2)
    ON CONFLICT DO UPDATE SET hold_until = max(coalesce(hold_until, 0), ?2)
"""
RUNNING = f"SELECT part, COUNT(*) FROM slots WHERE {_PART_OF} GROUP BY part"
WAITING = f"""
    SELECT part, COUNT(*) FROM (
        SELECT of_lane.part AS part FROM lane_parts AS of_lane CROSS JOIN jobs INDEXED BY jobs_in_lanes
        WHERE jobs.status = 'pending' AND jobs.lane = of_lane.lane AND jobs.scheduled_at <= :now
            AND {_LANE_OF}
        LIMIT :look
    ) GROUP BY part
"""
PARTS = f"SELECT part, tat FROM parts WHERE {_PART_OF}"
PART = "SELECT tat, hold_until FROM parts WHERE part = ?"
HOLDERS = "SELECT job_id FROM slots WHERE part = ? LIMIT ?"
RELANED_UP_TO = "SELECT lanes_at, lanes_seq FROM limit_state"
SET_RELANED = "UPDATE limit_state SET lanes_at = ?, lanes_seq = ?"
NEXT_PENDING = """
    SELECT created_at, seq, job_id, task, queue, priority, scheduled_at, lane, extra FROM jobs INDEXED BY jobs_by_status
    WHERE status = 'pending' AND (created_at, seq) > (?, ?) ORDER BY created_at, seq LIMIT ?
"""
STUCK = """
    SELECT DISTINCT blocked_on FROM lanes INDEXED BY lanes_blocked WHERE blocked_on > ? AND blocked_on NOT LIKE '=%'
    ORDER BY blocked_on LIMIT ?
"""
LOOK_AGAIN = "UPDATE lanes SET ready_at = ?1 WHERE ready_at > ?1"
CLOCK_SLACK_MS = 1_000
FORGET_PARTS = "DELETE FROM parts WHERE tat < ?1 AND coalesce(hold_until, 0) < ?2"


class SqliteLimits:
    """See `LimitStore`. `commit` opens a transaction, `reading` translates errors."""

    effective_within_s = 0

    def __init__(self, connection: sqlite3.Connection, lanes: SqliteLanes, *, commit: Context, reading: Context) -> None:
        self._run = connection.execute
        self._lanes = lanes
        self._commit = commit
        self._reading = reading
        self._after = ""
        self._tidied_at = 0

    def all(self) -> list[Limit]:
        """See `LimitStore`."""
        with self._reading():
            return [limit_from(body) for (body,) in self._run(ALL)]

    def find(self, name: str) -> Limit | None:
        """See `LimitStore`."""
        with self._reading():
            row = self._run(FIND, (name,)).fetchone()
        return None if row is None else limit_from(row[0])

    def save(self, limit: Limit, *, was: int | None) -> bool:
        """See `LimitStore`. Jobs without a lane that the new limit is for do not begin before they have theirs."""
        with self._commit():
            values = (limit.version, encode(limit), limit.name)
            if not (self._run(INSERT, values) if was is None else self._run(UPDATE, (*values, was))).rowcount:
                return False
            self._run(CHANGED)
            self._run(WAKE_ALL, {**_named(limit.name), "now": 0})
            if was is None and is_implicit(limit.name):
                self._run(FILL_SLOTS, _selected(limit.name))
                self._run(RELANE)
        return True

    def delete(self, name: str) -> bool:
        """See `LimitStore`."""
        with self._commit():
            if not self._run(DELETE, (name,)).rowcount:
                return False
            self._run(CHANGED)
            self._run(WAKE_ALL, {**_named(name), "now": 0})
            self._run(DROP_PARTS, _named(name))
            if is_implicit(name):
                self._run(DROP_SLOTS, (name,))
                self._run(RELANE)
        return True

    def hold_parts(self, parts: Sequence[str], until: datetime) -> None:
        """See `LimitStore`."""
        with self._commit():
            for part in parts:
                self._run(HOLD_PART, (part, rows.to_ms(until)))

    # ---- what is in use

    def usage(self, limit: Limit, *, now: datetime, is_whole: bool) -> Usage:
        """See `LimitStore`."""
        asked = {**_named(limit.name), "now": rows.to_ms(now), "look": WAITING_LOOK + 1}
        with self._reading():
            running = dict(self._run(RUNNING, asked).fetchall())
            waiting = dict(self._run(WAITING, asked).fetchall())
            tats = dict(self._run(PARTS, asked).fetchall()) if limit.numbers.count is not None else {}
        is_exact = sum(waiting.values()) <= WAITING_LOOK
        next_at = {part: at for part, tat in tats.items() if (at := _next_at(limit, tat, now)) is not None}
        fullest = sorted({*running, *waiting}, key=lambda part: (-running.get(part, 0), -waiting.get(part, 0), part))
        partitions = [
            PartUsage(
                partition=partition_of(part), running=running.get(part, 0), waiting=waiting.get(part, 0), waiting_is_exact=is_exact,
                next_at=next_at.get(part),
            )
            for part in fullest[:MOST_PARTITIONS]
            if partition_of(part) is not None
        ]  # fmt: skip
        return Usage(
            running=sum(running.values()), waiting=min(WAITING_LOOK, sum(waiting.values())), waiting_is_exact=is_exact,
            next_at=next_at.get(limit.name), partitions=tuple(partitions) if is_whole else (),
        )  # fmt: skip

    def parts(self, parts: Sequence[str]) -> Mapping[str, PartHolders]:
        """See `LimitStore`."""
        found = {}
        with self._reading():
            for part in parts:
                tat, hold_until = self._run(PART, (part,)).fetchone() or (0, None)
                running = self._run(RUNNING_IN, (part,)).fetchone()[0]
                holders = tuple(job_id.hex() for (job_id,) in self._run(HOLDERS, (part, MOST_PARTITIONS)))
                found[part] = PartHolders(PartState(running, tat, rows.from_ms(hold_until)), holders)
        return found

    # ---- upkeep

    def relane(self, *, now: datetime, limit: int) -> bool:
        """See `LimitStore`. Jobs that become pending meanwhile get their lanes by themselves, so one pass is enough."""
        with self._reading():
            if self._run(RELANED_UP_TO).fetchone()[0] is None:
                return False
        with self._commit():
            self._lanes.look()
            place = self._run(RELANED_UP_TO).fetchone()
            if place[0] is None:
                return False
            found = self._run(NEXT_PENDING, (*place, limit)).fetchall()
            entered = []
            for _, _, job_id, task, queue, priority, due, lane, extra in found:
                wanted = lane_from(named_limits(extra), lane, queue=queue, task=task, implicit=self._lanes.implicit)
                if wanted != lane:
                    self._run(SET_LANE, (wanted, job_id))
                    entered.append((wanted, priority, due))
            self._lanes.enter(entered)
            is_over = len(found) < limit
            self._run(SET_RELANED, (None, None) if is_over else found[-1][:2])
        return not is_over

    def tidy(self, *, now: datetime, limit: int) -> None:
        """See `LimitStore`."""
        now_ms = rows.to_ms(now) or 0
        if now_ms < self._tidied_at - CLOCK_SLACK_MS:  # it was set back: nobody waits for the time that it was before
            with self._commit():
                self._run(LOOK_AGAIN, (now_ms,))
        self._tidied_at = now_ms
        with self._reading():
            stuck = [part for (part,) in self._run(STUCK, (self._after, limit))]
        self._after = stuck[-1] if len(stuck) == limit else ""
        if not stuck:
            return
        with self._commit():
            self._lanes.look()
            self._lanes.offer_free(stuck, now, now_ms)
            self._run(FORGET_PARTS, (micros(now) - 60_000_000, now_ms))


def _named(name: str) -> dict[str, Any]:
    """The limit, and between which texts its partitions are: `0` follows the slash. What applies by itself has none."""
    return {"name": name, "from": name if is_implicit(name) else f"{name}/", "to": name if is_implicit(name) else f"{name}0"}


def _selected(name: str) -> dict[str, Any]:
    """The jobs that a limit is for by itself."""
    return {
        "name": name, "queue": name[len(QUEUE) :] if name.startswith(QUEUE) else None,
        "task": name[len(TASK) :] if name.startswith(TASK) else None,
    }  # fmt: skip


def _next_at(limit: Limit, tat: int, now: datetime) -> datetime | None:
    at = next_token(limit.numbers, tat, micros(now))
    return from_micros(at) if at > micros(now) else None
