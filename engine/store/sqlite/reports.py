"""Reports on SQLite: failures grouped in one index, and what is due added up from the groups of another."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from jobyard.engine.store.bounds import AHEAD_LOOK, FAILURES_LOOK, MOST_FAILURES
from jobyard.engine.store.port import ANYTHING
from jobyard.engine.store.report_port import DueJobs, Failures
from jobyard.engine.store.sqlite import rows
from jobyard.engine.store.sqlite.claims import SqliteClaims

FIRST_MS = -(1 << 62)
FAILURES = """
    SELECT task, COALESCE(error_kind, ''), COUNT(*) AS failed, MIN(finished_at), MAX(finished_at), MAX(seq) FROM (
        SELECT task, error_kind, finished_at, seq FROM jobs INDEXED BY jobs_failed
        WHERE status = 'failed' AND finished_at >= ?1 ORDER BY finished_at DESC LIMIT ?2
    )
    GROUP BY 1, 2 ORDER BY failed DESC, 1, 2 LIMIT ?3
"""
HAS_MORE_FAILURES = """
    SELECT 1 FROM jobs INDEXED BY jobs_failed
    WHERE status = 'failed' AND finished_at >= ? ORDER BY finished_at DESC LIMIT 1 OFFSET ?
"""
JOB_IDS = "SELECT seq, job_id FROM jobs WHERE seq IN (SELECT value FROM json_each(?))"
DUE_BY_QUEUE = """
    SELECT queue, COUNT(*), MIN(scheduled_at) FROM (
        SELECT queue, scheduled_at FROM jobs INDEXED BY jobs_due
        WHERE status = 'pending' AND lane IS NULL AND task = ? AND priority = ? AND scheduled_at <= ? ORDER BY scheduled_at LIMIT ?
    )
    GROUP BY queue
"""
DUE_IN_LANES = """
    SELECT task, queue, COUNT(*), MIN(scheduled_at) FROM jobs WHERE scheduled_at <= :now AND seq IN (
        SELECT seq FROM jobs INDEXED BY jobs_in_lanes WHERE status = 'pending' AND lane IS NOT NULL LIMIT :look
    )
    GROUP BY task, queue
"""
ARE_MORE_IN_LANES = "SELECT 1 FROM jobs INDEXED BY jobs_in_lanes WHERE status = 'pending' AND lane IS NOT NULL LIMIT 1 OFFSET ?"

Context = Callable[[], AbstractContextManager[None]]


class SqliteReports:
    """See `ReportStore`. `run` executes a statement, `reading` translates errors."""

    def __init__(self, run: Callable[..., Any], *, reading: Context, claims: SqliteClaims) -> None:
        self._run = run
        self._reading = reading
        self._claims = claims

    def failures(
        self, *, since: datetime | None = None, look: int = FAILURES_LOOK, limit: int = MOST_FAILURES
    ) -> list[Failures]:  # fmt: skip
        """See `ReportStore`."""
        since_ms = FIRST_MS if since is None else rows.to_ms(since)
        with self._reading():
            found = self._run(FAILURES, (since_ms, look, limit)).fetchall()
            is_exact = self._run(HAS_MORE_FAILURES, (since_ms, look)).fetchone() is None
            ids = {seq: job_id.hex() for seq, job_id in self._run(JOB_IDS, (json.dumps([row[-1] for row in found]),))}
        return [
            Failures(
                task=task, error_kind=kind, count=count, first_at=_time(first), last_at=_time(last), example_job_id=ids[seq],
                is_exact=is_exact,
            )
            for task, kind, count, first, last, seq in found if seq in ids
        ]  # fmt: skip

    def due_by_task(self, *, now: datetime, look: int = AHEAD_LOOK) -> list[DueJobs]:
        """See `ReportStore`."""
        now_ms = rows.to_ms(now) or 0
        counted = _Counted()
        with self._reading():
            for group in self._claims.groups(ANYTHING):
                found = self._run(DUE_BY_QUEUE, (*group.key, now_ms, look)).fetchall() if group.due <= now_ms else []
                is_exact = sum(count for _, count, _ in found) < look
                for queue, count, oldest_ms in found:
                    counted.add(group.key[0], queue, count, oldest_ms, is_exact)
            in_lanes = self._run(DUE_IN_LANES, {"now": now_ms, "look": look}).fetchall()
            is_exact = not in_lanes or self._run(ARE_MORE_IN_LANES, (look,)).fetchone() is None
            for task, queue, count, oldest_ms in in_lanes:
                counted.add(task, queue, count, oldest_ms, is_exact)
        return counted.due()


class _Counted:
    """Adds up what is due of each task and queue."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[int, int, bool]] = {}

    def add(self, task: str, queue: str, count: int, oldest_ms: int, is_exact: bool) -> None:
        """Some more due jobs."""
        known, oldest, was_exact = self._found.get((task, queue), (0, oldest_ms, True))
        self._found[task, queue] = known + count, min(oldest, oldest_ms), was_exact and is_exact

    def due(self) -> list[DueJobs]:
        """By task and queue."""
        return [
            DueJobs(task=task, queue=queue, count=count, oldest_at=_time(oldest_ms), is_exact=is_exact)
            for (task, queue), (count, oldest_ms, is_exact) in sorted(self._found.items())
        ]


def _time(ms: int) -> datetime:
    return rows.EPOCH + ms * rows.MILLISECOND
