"""Jobs in lanes: of each lane one job at a time has the slot, from its claim to its end, waits for retries included.

The job that may be claimed next of a lane is the one that has its slot (it waits for a retry), or, while nobody has it, the
earliest due. A unique index on `slot` makes sure of it. Jobs without a lane are in other indexes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from jobyard.engine.store.port import Served

IS_ANY = "SELECT 1 FROM jobs INDEXED BY jobs_in_lanes WHERE status = 'pending' AND lane IS NOT NULL LIMIT 1"
HEADS = """
    WITH RECURSIVE lanes(lane) AS (
        SELECT MIN(lane) FROM jobs INDEXED BY jobs_in_lanes WHERE status = 'pending' AND lane IS NOT NULL
        UNION ALL
        SELECT (SELECT MIN(lane) FROM jobs INDEXED BY jobs_in_lanes WHERE status = 'pending' AND lane > lanes.lane)
        FROM lanes WHERE lanes.lane IS NOT NULL
    )
    SELECT seq, job_id, task, queue, priority, scheduled_at, attempt, epoch FROM jobs WHERE seq IN (
        SELECT (
            SELECT seq FROM jobs INDEXED BY jobs_in_lanes
            WHERE status = 'pending' AND lane = lanes.lane
                AND (slot IS NOT NULL OR NOT EXISTS (SELECT 1 FROM jobs AS holder WHERE holder.slot = lanes.lane))
                AND (:tasks IS NULL OR task IN (SELECT value FROM json_each(:tasks)))
                AND (:queues IS NULL OR queue IN (SELECT value FROM json_each(:queues)))
            ORDER BY scheduled_at, seq LIMIT 1
        )
        FROM lanes WHERE lanes.lane IS NOT NULL
    )
    ORDER BY priority DESC, scheduled_at, seq
"""
CLAIM = """
    UPDATE jobs SET status = 'queued', epoch = epoch + 1, claimed_by = ?, claimed_at = ?, queued_at = ?, updated_at = ?, slot = lane
    WHERE seq = ?
"""
PRIORITY, SCHEDULED_AT = 4, 5
Row = Sequence[Any]


def heads(run: Callable[..., Any], served: Served, limits: Sequence[int]) -> list[Row]:
    """Of each lane the job that may be claimed next, at most `limits[p]` of priority p: `seq`, then the columns of a ticket."""
    if run(IS_ANY).fetchone() is None:
        return []
    tasks, queues = (None if names is None else json.dumps(names) for names in (served.tasks, served.queues))
    left = list(limits)
    found = []
    for row in run(HEADS, {"tasks": tasks, "queues": queues}).fetchall():
        if left[row[PRIORITY]] > 0:
            left[row[PRIORITY]] -= 1
            found.append(row)
    return found


def due_heads(run: Callable[..., Any], served: Served, limits: Sequence[int], now_ms: int) -> list[Row]:
    """Those that are due."""
    return [row for row in heads(run, served, limits) if row[SCHEDULED_AT] <= now_ms]
