"""What limits do to jobs, the same on every store."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import CancelledBecause, Job
from jobyard.engine.jobs.lifecycle import Verb
from jobyard.engine.limits.limit import REPLACE, Limit
from jobyard.engine.limits.rules import is_kept, limit_of, parts_of

LIMIT_FULL, REPLACED = "limit_full", "replaced"
MOVED = (Verb.RETRY, Verb.REPLACE, Verb.UNBLOCK, Verb.RUN)
"""After these, a job that had no slot may be pending in a lane, or be due in it sooner."""


def refused(job: Job, limit: str) -> Job:
    """The job as it is stored where its limit is full and the new one is to be cancelled."""
    cause = CancelledBecause(reason=LIMIT_FULL, limit=limit)
    change = lifecycle.cancel(job, now=job.created_at, because=cause)
    return msgspec.structs.replace(change.after(job), epoch=job.epoch, lane=None, cancel_requested_at=None)


def replaced_under(limit: str) -> CancelledBecause:
    """Why a running job is asked to cancel: a new one takes its place."""
    return CancelledBecause(reason=REPLACED, limit=limit)


def looks_at_once(lane: str, limits: Mapping[str, Limit]) -> bool:
    """Whether a job that comes into the lane matters although another waits there: it replaces one, or has its slot."""
    for part in parts_of(lane):
        limit = limits.get(limit_of(part))
        if is_kept(part) or (limit is not None and limit.numbers.on_full == REPLACE):
            return True
    return False
