"""Reports on MongoDB: the server groups what one index has, without looking at documents."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobyard.engine.jobs.job import Status
from jobyard.engine.store.bounds import AHEAD_LOOK, FAILURES_LOOK, MOST_FAILURES
from jobyard.engine.store.mongo.documents import Document
from jobyard.engine.store.mongo.server import DUE_IN_QUEUE_INDEX, FAILED_INDEX, MongoServer
from jobyard.engine.store.report_port import DueJobs, Failures

GROUP_MS = 2_000
MOST_RUNS = 20
"""Of a report on what is due. So many tasks and queues can have more due jobs than are examined of each."""
BY_TASK = {"task": 1, "queue": 1}


class MongoReports:
    """See `ReportStore`."""

    def __init__(self, server: MongoServer) -> None:
        self._server = server

    def failures(
        self, *, since: datetime | None = None, look: int = FAILURES_LOOK, limit: int = MOST_FAILURES
    ) -> list[Failures]:  # fmt: skip
        """See `ReportStore`."""
        failed = {"status": Status.FAILED.value, "finished_at": {"$gte": since} if since is not None else {"$exists": True}}
        group = {
            "_id": {"task": "$task", "error_kind": "$error_kind"}, "count": {"$sum": 1}, "first_at": {"$min": "$finished_at"},
            "last_at": {"$max": "$finished_at"}, "example": {"$first": "$_id"},
        }  # fmt: skip
        most_first = {"count": -1, "_id.task": 1, "_id.error_kind": 1}
        stages: list[Any] = [
            {"$match": failed}, {"$sort": {"finished_at": -1}}, {"$limit": look}, {"$group": group}, {"$sort": most_first},
            {"$limit": limit},
        ]  # fmt: skip
        with self._server.call():
            found = list(self._server.jobs.aggregate(stages, hint=FAILED_INDEX, maxTimeMS=GROUP_MS))
            more = self._server.jobs.find(failed, {"_id": 1}).sort("finished_at", -1).skip(look).limit(1).hint(FAILED_INDEX)
            is_exact = not list(more.max_time_ms(GROUP_MS))
        return [
            Failures(
                task=row["_id"]["task"], error_kind=row["_id"].get("error_kind") or "", count=row["count"],
                first_at=row["first_at"], last_at=row["last_at"], example_job_id=str(row["example"]), is_exact=is_exact,
            )
            for row in found
        ]  # fmt: skip

    def due_by_task(self, *, now: datetime, look: int = AHEAD_LOOK) -> list[DueJobs]:
        """See `ReportStore`. In runs in the order of the index: the last group of one may be cut, the next begins behind it."""
        due = {"status": Status.PENDING.value, "scheduled_at": {"$lte": now}}
        found: dict[tuple[str, str], DueJobs] = {}
        behind: Document = {}
        for _ in range(MOST_RUNS):
            rows = self._due(due | behind, look)
            is_cut = sum(row["count"] for row in rows) > look
            for task, queue, row in sorted((row["_id"]["task"], row["_id"]["queue"], row) for row in rows):
                found[task, queue] = DueJobs(task=task, queue=queue, count=min(look, row["count"]), oldest_at=row["oldest_at"])
            if not is_cut:
                break
            task, queue = max(found)
            found[task, queue] = DueJobs(
                task=task, queue=queue, count=found[task, queue].count, oldest_at=found[task, queue].oldest_at, is_exact=False
            )  # fmt: skip
            behind = {"$or": [{"task": {"$gt": task}}, {"task": task, "queue": {"$gt": queue}}]}
        return [found[key] for key in sorted(found)]

    def _due(self, due: Document, look: int) -> list[Document]:
        group = {"_id": {"task": "$task", "queue": "$queue"}, "count": {"$sum": 1}, "oldest_at": {"$min": "$scheduled_at"}}
        stages: list[Any] = [{"$match": due}, {"$sort": BY_TASK}, {"$limit": look + 1}, {"$group": group}]
        with self._server.call():
            return list(self._server.jobs.aggregate(stages, hint=DUE_IN_QUEUE_INDEX, maxTimeMS=GROUP_MS))
