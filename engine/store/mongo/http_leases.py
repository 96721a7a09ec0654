"""What HTTP workers hold on MongoDB, and whether jobs of a task live."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jobyard.engine.jobs.job import HttpLease, Status
from jobyard.engine.jobs.lifecycle import TERMINAL
from jobyard.engine.jobs.owners import AFTER_HTTP, HTTP
from jobyard.engine.store.mongo.documents import HIDDEN
from jobyard.engine.store.mongo.server import MongoServer

LEASED = {"status": Status.RUNNING.value, "holder": {"$gt": HTTP, "$lt": AFTER_HTTP}}
FIELDS = {"epoch": 1, "locked_by": 1, "locked_until": 1, "updated_at": 1, "last_run_at": 1, "timeout_s": 1}
ENDED = [*(status.value for status in TERMINAL), *HIDDEN]


def http_leases(server: MongoServer) -> list[HttpLease]:
    """See `Store.http_leases`."""
    with server.call():
        return [_lease(document) for document in server.jobs.find(LEASED, FIELDS)]


def is_living(server: MongoServer, task: str) -> bool:
    """Whether a job of the task has not ended."""
    with server.call():
        return server.jobs.find_one({"task": task, "status": {"$nin": ENDED}}, {"_id": 1}) is not None


def _lease(document: Mapping[str, Any]) -> HttpLease:
    until: datetime = document["locked_until"]
    lasts_s = max(0.0, (until - document["updated_at"]).total_seconds())
    return HttpLease(
        job_id=str(document["_id"]), epoch=document["epoch"], owner=document["locked_by"], until=until, lasts_s=lasts_s,
        began_at=document["last_run_at"], timeout_s=document["timeout_s"],
    )  # fmt: skip
