"""Claims jobs of lanes on SQLite, in turn, within the claim's transaction.

Of the lanes of one priority that are ready, the one that was ready first comes first; one that was served goes to the end. A lane
against which something stands is put aside: until a time, or until an event. What it leaves free then is offered to the lanes that
wait for it, since no event will come any more.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import PRIORITIES, Job
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.limits.effects import replaced_under
from jobyard.engine.limits.limit import REPLACE
from jobyard.engine.limits.rules import (
    EVERYTHING,
    ONE_AT_A_TIME,
    QUEUE,
    TASK,
    Code,
    Obstacle,
    PartState,
    clamped,
    is_kept,
    limit_of,
    micros,
    obstacle,
    parts_of,
    take_token,
)
from jobyard.engine.store.port import Allocation, Candidate, Served
from jobyard.engine.store.sqlite import rows, statements
from jobyard.engine.store.sqlite.claims import Group, SqliteClaims
from jobyard.engine.store.sqlite.lanes import RUNNING_IN, SqliteLanes

MOST_LANES = 600
"""So many are looked at in one round."""
UNSERVED_MS = 1_000
"""When a lane is looked at again whose jobs nobody here serves."""
_FIRST = ", ".join(
    f"(SELECT MIN(ready_at) FROM lanes INDEXED BY lanes_ready WHERE priority = {priority} AND ready_at IS NOT NULL)"
    for priority in PRIORITIES
)
FIRST_READY = f"SELECT {_FIRST}"
READY = "SELECT lane FROM lanes INDEXED BY lanes_ready WHERE priority = ? AND ready_at <= ? ORDER BY ready_at LIMIT ?"
HEADS = """
    SELECT seq, scheduled_at, task, lost_count, length(payload), job_id FROM jobs INDEXED BY jobs_in_lanes
    WHERE status = 'pending' AND lane = :lane AND priority = :priority AND (lapses_at IS NULL OR lapses_at > :now)
        AND (:tasks IS NULL OR task IN (SELECT value FROM json_each(:tasks)))
        AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)))
    ORDER BY scheduled_at, seq LIMIT :most
"""
KEPT = """
    SELECT seq, scheduled_at, task, lost_count, length(payload), job_id FROM jobs
    WHERE job_id IN (SELECT job_id FROM slots WHERE part = :part) AND status = 'pending' AND lane = :lane AND priority = :priority
"""
ANY_LEFT = "SELECT seq FROM jobs INDEXED BY jobs_in_lanes WHERE status = 'pending' AND lane = ? AND priority = ? LIMIT ?"
PART = "SELECT tat, hold_until FROM parts WHERE part = ?"
SAVE_PART = "INSERT INTO parts (part, tat) VALUES (?, ?) ON CONFLICT DO UPDATE SET tat = excluded.tat"
PUT_ASIDE = "UPDATE lanes SET ready_at = ?, blocked_on = ?, blocked_at = ? WHERE lane = ? AND priority = ?"
DROP_LANE = "DELETE FROM lanes WHERE lane = ? AND priority = ?"
UNNAME_LANE = "DELETE FROM lane_parts WHERE part = ?1 AND lane = ?2 AND NOT EXISTS (SELECT 1 FROM lanes WHERE lane = ?2)"
OFFER = """
    UPDATE lanes SET ready_at = ?1, blocked_on = NULL, blocked_at = NULL WHERE rowid = (
        SELECT rowid FROM lanes INDEXED BY lanes_blocked WHERE blocked_on = ?2 ORDER BY priority DESC, blocked_at LIMIT 1
    ) RETURNING lane, priority
"""
HOLDERS = "SELECT job_id FROM slots WHERE part = ?"
RUNNING_OLDEST_FIRST = f"""
    SELECT {", ".join(rows.READ_COLUMNS)} FROM jobs WHERE job_id IN (SELECT job_id FROM slots WHERE part = ?) AND status = 'running'
    ORDER BY last_run_at, seq
"""
DUE_IN = """
    SELECT COUNT(*) FROM (SELECT 1 FROM jobs INDEXED BY jobs_in_lanes WHERE status = 'pending' AND scheduled_at <= ?
    AND lane IN (SELECT lane FROM lane_parts WHERE part = ?) LIMIT ?)
"""


class Head(NamedTuple):
    """A job of a lane, in claiming order. Times are milliseconds."""

    seq: int
    scheduled_at: int
    task: str
    lost_count: int
    size: int
    job_id: bytes


@dataclass(slots=True)
class Turn:
    """One lane's turn in a claim; `heads` are its next jobs, `is_all` whether these are all."""

    lane: str
    heads: deque[Head] = field(default_factory=deque)
    is_all: bool = False


class SqliteLaneClaims:
    """The lanes' part of one claim."""

    def __init__(self, run: Callable[..., Any], lanes: SqliteLanes, *, now: datetime, served: Served) -> None:
        self._run = run
        self._lanes = lanes
        self._now, self._now_ms = now, rows.to_ms(now) or 0
        self._tasks, self._queues = (None if names is None else json.dumps(names) for names in (served.tasks, served.queues))
        self._states: dict[str, PartState] = {}
        self._tokens: set[str] = set()
        self._chosen: dict[int, str] = {}
        self.is_to_repeat = False
        """Whether a lane of a higher priority can try again because of what another left free."""
        self.asked: list[tuple[Job, Job]] = []
        """The running jobs that were asked to cancel for a new one, before and after."""

    def choose(self, priority: int, allocation: Allocation) -> dict[int, str]:
        """The jobs of this priority to claim, `seq` → worker; each has what its limits demand."""
        chosen: dict[int, str] = {}
        if not self._lanes.has_lanes:
            return chosen
        names = [lane for (lane,) in self._run(READY, (priority, self._now_ms, MOST_LANES)).fetchall()]
        turns = deque(Turn(lane) for lane in names)
        share = allocation.most // max(1, len(turns)) + 2
        served: dict[str, Turn] = {}
        while turns and allocation.most:
            turn = turns.popleft()
            head = self._next(turn, priority, share)
            found = None if head is None else self._obstacle(turn, head)
            if head is None or found is not None or head.scheduled_at > self._now_ms:
                served.pop(turn.lane, None)
                turns.extend(Turn(lane) for lane in self._put_aside(turn, priority, head, found))
                continue
            worker = allocation.place(Candidate(task=head.task, lost_count=head.lost_count, size=head.size))
            if worker is None:
                continue
            turn.heads = deque(other for other in turn.heads if other.seq != head.seq)
            chosen[head.seq] = self._chosen[head.seq] = worker
            self._take(turn.lane)
            served[turn.lane] = turn
            turns.append(turn)
        for lane in served:
            self._run(PUT_ASIDE, (self._now_ms, None, None, lane, priority))
        return chosen

    def close(self) -> None:
        """Store the rates of what was chosen."""
        for part in self._tokens:
            self._run(SAVE_PART, (part, self._states[part].tat))

    def _next(self, turn: Turn, priority: int, most: int) -> Head | None:
        """The lane's next job; where one of them has the slot of a schedule, that one."""
        if not turn.heads and not turn.is_all:
            asked = {
                "lane": turn.lane, "priority": priority, "now": self._now_ms, "tasks": self._tasks, "queues": self._queues,
                "most": most + len(self._chosen),
            }  # fmt: skip
            found = [Head(*row) for row in self._run(HEADS, asked).fetchall()]
            turn.is_all = len(found) < most + len(self._chosen)
            turn.heads.extend(head for head in found if head.seq not in self._chosen)
        return self._kept(turn.lane, priority) or (turn.heads[0] if turn.heads else None)

    def _kept(self, lane: str, priority: int) -> Head | None:
        """The pending job that has the slot of a schedule."""
        for part in parts_of(lane):
            if is_kept(part):
                row = self._run(KEPT, {"lane": lane, "priority": priority, "part": part}).fetchone()
                if row is not None and row[0] not in self._chosen:
                    return Head(*row)
        return None

    # ---- obstacles

    def _obstacle(self, turn: Turn, head: Head) -> Obstacle | None:
        parts = parts_of(turn.lane)
        if any(map(is_kept, parts)):
            holders = {part: {job_id for (job_id,) in self._run(HOLDERS, (part,))} for part in parts if is_kept(part)}
            parts = tuple(part for part in parts if head.job_id not in holders.get(part, ()))
        return obstacle(parts, limits=self._lanes.limits, state=self._state, now=self._now)

    def _state(self, part: str) -> PartState:
        state = self._states.get(part)
        if state is None:
            tat, hold_until = self._run(PART, (part,)).fetchone() or (0, None)
            running = self._run(RUNNING_IN, (part,)).fetchone()[0]
            limit = self._lanes.limits.get(limit_of(part))
            if tat and limit is not None and (right := clamped(limit.numbers, tat, micros(self._now))) != tat:
                tat = right
                self._tokens.add(part)
            state = self._states[part] = PartState(running, tat, rows.from_ms(hold_until))
        return state

    def _take(self, lane: str) -> None:
        for part in parts_of(lane):
            limit = self._lanes.limits.get(limit_of(part))
            if limit is None and not is_kept(part):
                continue
            state = self._state(part)
            numbers = ONE_AT_A_TIME if limit is None else limit.numbers
            if numbers.count is not None:
                state = state._replace(tat=take_token(numbers, state.tat, micros(self._now)))
                self._tokens.add(part)
            self._states[part] = state._replace(running=state.running + 1)

    # ---- lanes that begin nothing more now

    def _put_aside(self, turn: Turn, priority: int, head: Head | None, found: Obstacle | None) -> list[str]:
        """Store when the lane is looked at again; lanes of this priority that may try in its place."""
        if head is None:
            self._leave(turn.lane, priority)
        elif found is None or head.scheduled_at > self._now_ms:
            found = None
            self._run(PUT_ASIDE, (head.scheduled_at, None, None, turn.lane, priority))
        else:
            until = rows.to_ms(found.until)
            self._run(PUT_ASIDE, (until, found.blocked_on, self._now_ms, turn.lane, priority))
            if found.code is Code.FULL:
                self._replace_oldest(found)
        return self._offer(turn.lane, priority, found)

    def _leave(self, lane: str, priority: int) -> None:
        """Without any job the lane is dropped; what is left otherwise has expired, or nobody here serves it."""
        left = self._run(ANY_LEFT, (lane, priority, len(self._chosen) + 1)).fetchall()
        if any(seq not in self._chosen for (seq,) in left):
            self._run(PUT_ASIDE, (self._now_ms + UNSERVED_MS, None, None, lane, priority))
            return
        self._run(DROP_LANE, (lane, priority))
        for part in parts_of(lane):
            self._run(UNNAME_LANE, (part, lane))

    def _offer(self, lane: str, priority: int, found: Obstacle | None) -> list[str]:
        """What the lane does not use of its parts goes to one lane each that waits for it."""
        woken: list[str] = []
        for part in parts_of(lane):
            if found is not None and part == found.part:
                continue
            if obstacle((part,), limits=self._lanes.limits, state=self._state, now=self._now) is not None:
                continue
            for other, its_priority in self._run(OFFER, (self._now_ms, part)).fetchall():
                if its_priority == priority:
                    woken.append(other)
                self.is_to_repeat = self.is_to_repeat or its_priority > priority
        return woken

    def _replace_oldest(self, found: Obstacle) -> None:
        """For each due job that waits for the part, one of the running ones is asked to cancel, the oldest first."""
        limit = self._lanes.limits.get(found.limit)
        if limit is None or limit.numbers.on_full != REPLACE:
            return
        running = [rows.row_to_job(row) for row in self._run(RUNNING_OLDEST_FIRST, (found.part,))]
        waiting = self._run(DUE_IN, (self._now_ms, found.part, len(running))).fetchone()[0]
        asked = sum(job.cancel_requested_at is not None for job in running)
        cause = replaced_under(found.limit)
        for job in [job for job in running if job.cancel_requested_at is None][: max(0, waiting - asked)]:
            change = lifecycle.cancel(job, now=self._now, because=cause)
            self._apply(change)
            self.asked.append((job, change.after(job)))

    def _apply(self, change: Change) -> None:
        self._run(statements.change_job(tuple(change.fields), change.unless_cancelled), rows.change_to_row(change))


@dataclass(slots=True)
class Choice:
    """What one claim begins, as `seq` → worker in claiming order; `asked`: running jobs that were asked to cancel."""

    chosen: dict[int, str]
    is_any_due: bool
    asked: list[tuple[Job, Job]]
    now: datetime
    """When the chosen jobs begin."""


def choose_all(
    run: Callable[..., Any], claims: SqliteClaims, lanes: SqliteLanes, due: Sequence[Group], now: datetime, allocation: Allocation,
    served: Served,
) -> Choice:  # fmt: skip
    """By priority; jobs with and without lanes take turns at being first, so that neither keeps the other from running."""
    lanes.look()
    now = lanes.not_before(now)
    lanes.go_first = not lanes.go_first
    of_lanes = SqliteLaneClaims(run, lanes, now=now, served=served)
    choice = Choice({}, False, of_lanes.asked, now)
    groups: dict[int, list[Group]] = {}
    for group in served_apart(claims, lanes, due):
        groups.setdefault(group.priority, []).append(group)

    def plain(priority: int) -> None:
        found, is_any_due = claims.choose(groups.get(priority, ()), rows.to_ms(now) or 0, allocation, served)
        choice.chosen |= found
        choice.is_any_due = choice.is_any_due or is_any_due

    def limited(priority: int) -> None:
        choice.chosen |= of_lanes.choose(priority, allocation)

    order = (limited, plain) if lanes.go_first else (plain, limited)
    of_lanes.is_to_repeat = True
    while of_lanes.is_to_repeat and allocation.most:
        of_lanes.is_to_repeat = False
        for priority in reversed(PRIORITIES):
            for take in order:
                take(priority)
        groups.clear()
    of_lanes.close()
    return choice


def served_apart(claims: SqliteClaims, lanes: SqliteLanes, groups: Sequence[Group]) -> list[Group]:
    """The groups whose jobs may be claimed as if they were under no limit, while jobs still wait for their lanes."""
    names = lanes.implicit if lanes.is_relaning else frozenset()
    claims.except_queues = tuple(sorted(name[len(QUEUE) :] for name in names if name.startswith(QUEUE)))
    if EVERYTHING in names:
        return []
    return [group for group in groups if f"{TASK}{group.key[-2]}" not in names]


def first_ready(run: Callable[..., Any]) -> list[int | None]:
    """For each priority the earliest time at which one of its lanes is to be looked at (ms)."""
    return list(run(FIRST_READY).fetchone())
