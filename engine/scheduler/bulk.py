"""Cancels or retries many jobs, a share at a time: the ones that a selection finds, each by the lifecycle's guarded change.

One step reads one page, decides for each of its jobs, and writes all that in a few commits, so that others come in between. A job
that moved meanwhile is read and decided anew, a few times; what its state does not allow is skipped. So a step may be cut off and
asked for again at will: each of its jobs is changed or not, and the cursor of the last answer leads on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.lifecycle import Change, Verb
from jobyard.engine.jobs.selection import Selection
from jobyard.engine.store.port import Store

GUARD_TRIES = 5
COMMIT = 200
"""So many changes hold up the commits of the others for some milliseconds."""


@dataclass(slots=True)
class Step:
    """What came of one."""

    cursor: str | None = None
    changed: list[tuple[Job, Change]] = field(default_factory=list)
    """Each job as it was, and what was done to it."""
    skipped: int = 0

    def to_json(self) -> bytes:
        """As clients see it."""
        return msgspec.json.encode({"changed": len(self.changed), "skipped": self.skipped, "cursor": self.cursor})


def take_step(store: Store, verb: Verb, selection: Selection, *, now: datetime) -> Step:
    """Change the next jobs of the selection. Raises `InvalidRequest` for a cursor that is none of ours."""
    page = store.list_jobs(selection.wanted, limit=selection.limit, cursor=selection.cursor, whole=False)
    step = Step(cursor=page.cursor)
    for start in range(0, len(page.jobs), COMMIT):
        step.changed += _change(store, verb, page.jobs[start : start + COMMIT], now)
    step.skipped = len(page.jobs) - len(step.changed)
    return step


def _change(store: Store, verb: Verb, jobs: list[Job], now: datetime) -> list[tuple[Job, Change]]:
    """Those that were changed, each as it was, and how."""
    changed: list[tuple[Job, Change]] = []
    for _ in range(GUARD_TRIES):
        changes = [(job, change) for job in jobs if (change := _decide(job, verb, now)) is not None]
        done = store.apply([change for _, change in changes])
        changed += [pair for pair, was_done in zip(changes, done, strict=True) if was_done]
        moved = [job.job_id for (job, _), was_done in zip(changes, done, strict=True) if not was_done]
        if not moved:
            break
        jobs = [job for job in store.find(moved, whole=False) if job is not None]
    return changed


def _decide(job: Job, verb: Verb, now: datetime) -> Change | None:
    """None: its state does not allow it."""
    if verb is Verb.RETRY:
        return lifecycle.retry(job, now=now) if lifecycle.may(job, Verb.RETRY) else None
    return None if lifecycle.is_terminal(job) else lifecycle.cancel(job, now=now)
