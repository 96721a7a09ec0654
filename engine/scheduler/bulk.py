"""Cancels or retries the jobs that a selection finds, one portion at a time, each by the lifecycle's guarded change.

One step reads one page, decides for each of its jobs, and writes the result in a few commits, so that other writers get their
chance. A job that moved meanwhile is read and decided again, a few times; a job whose state does not allow the verb is skipped. A
step may be interrupted and repeated at any time: each of its jobs is changed or not, and the last reply's cursor leads on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from jobyard.engine.errors import Conflict
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.lifecycle import Change, Verb
from jobyard.engine.jobs.selection import Selection
from jobyard.engine.store.port import Store
from jobyard.engine.workflows.retries import retried

GUARD_TRIES = 5
COMMIT = 200
"""Changes per commit; this many delay other processes' commits by a few milliseconds."""


@dataclass(slots=True)
class Step:
    """The result of one step."""

    cursor: str | None = None
    changed: list[tuple[Job, Change]] = field(default_factory=list)
    """Each job before its change, and the change."""
    skipped: int = 0

    def to_json(self) -> bytes:
        """The step as clients see it."""
        return msgspec.json.encode({"changed": len(self.changed), "skipped": self.skipped, "cursor": self.cursor})


def take_step(store: Store, verb: Verb, selection: Selection, *, now: datetime) -> Step:
    """Change the next jobs of the selection. Raises `InvalidRequest` if the cursor is not valid."""
    page = store.list_jobs(selection.wanted, limit=selection.limit, cursor=selection.cursor, whole=False)
    step = Step(cursor=page.cursor)
    for start in range(0, len(page.jobs), COMMIT):
        step.changed += _change(store, verb, page.jobs[start : start + COMMIT], now)
    step.skipped = len(page.jobs) - len(step.changed)
    return step


def _change(store: Store, verb: Verb, jobs: list[Job], now: datetime) -> list[tuple[Job, Change]]:
    """The jobs that were changed, each as it was, with its change."""
    changed: list[tuple[Job, Change]] = []
    for _ in range(GUARD_TRIES):
        changes = [(job, change) for job in jobs if (change := _decide(store, job, verb, now)) is not None]
        done = store.apply([change for _, change in changes])
        changed += [pair for pair, was_done in zip(changes, done, strict=True) if was_done]
        moved = [job.job_id for (job, _), was_done in zip(changes, done, strict=True) if not was_done]
        if not moved:
            break
        jobs = [job for job in store.find(moved, whole=False) if job is not None]
    return changed


def _decide(store: Store, job: Job, verb: Verb, now: datetime) -> Change | None:
    """None: the job's state, what it waits for, or the holder of its unique key does not allow the verb."""
    if verb is not Verb.RETRY:
        return None if lifecycle.is_terminal(job) else lifecycle.cancel(job, now=now)
    try:
        return retried(store, job, now=now)
    except Conflict:
        return None
