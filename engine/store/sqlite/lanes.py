"""Jobs in lanes: of each lane one job at a time has the slot, from its claim to its end, waits for retries included.

The job that may be claimed next of a lane is the one that has its slot (it waits for a retry), or, while nobody has it, the
earliest due. A unique index on `slot` makes sure of it. Jobs without a lane are in other indexes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from jobyard.engine.store.port import Allocation, Candidate, Served

IS_ANY = "SELECT 1 FROM jobs INDEXED BY jobs_in_lanes WHERE status = 'pending' AND lane IS NOT NULL LIMIT 1"
HEADS = """
    WITH RECURSIVE lanes(lane) AS (
        SELECT MIN(lane) FROM jobs INDEXED BY jobs_in_lanes WHERE status = 'pending' AND lane IS NOT NULL
        UNION ALL
        SELECT (SELECT MIN(lane) FROM jobs INDEXED BY jobs_in_lanes WHERE status = 'pending' AND lane > lanes.lane)
        FROM lanes WHERE lanes.lane IS NOT NULL
    )
    SELECT seq, scheduled_at, task, lost_count, length(payload) FROM jobs WHERE seq IN (
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
TAKE_SLOT = "UPDATE jobs SET slot = lane WHERE seq = ?"


class Head(NamedTuple):
    """The job of a lane that may be claimed next. Times are milliseconds."""

    seq: int
    scheduled_at: int
    task: str
    lost_count: int
    size: int


def heads(run: Callable[..., Any], served: Served) -> list[Head]:
    """Of each lane the job that may be claimed next, highest priority first."""
    if run(IS_ANY).fetchone() is None:
        return []
    tasks, queues = (None if names is None else json.dumps(names) for names in (served.tasks, served.queues))
    return [Head(*row) for row in run(HEADS, {"tasks": tasks, "queues": queues})]


def is_any_due(run: Callable[..., Any], served: Served, now_ms: int) -> bool:
    """Whether there is one to be claimed now."""
    return any(head.scheduled_at <= now_ms for head in heads(run, served))


def choose(run: Callable[..., Any], allocation: Allocation, served: Served, now_ms: int) -> dict[int, str]:
    """Give those that are due their slots, as far as there is room for them: `seq` → worker. Within the claim's transaction."""
    chosen: dict[int, str] = {}
    for head in heads(run, served) if allocation.most else ():
        if head.scheduled_at <= now_ms and allocation.most:
            worker = allocation.place(Candidate(task=head.task, lost_count=head.lost_count, size=head.size))
            if worker is not None:
                run(TAKE_SLOT, (head.seq,))
                chosen[head.seq] = worker
    return chosen
