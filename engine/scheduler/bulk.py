"""Cancels, retries or deletes the jobs that a selection finds, one portion at a time, each guarded by its state.

One step reads one page, decides for each of its jobs, and writes the result in a few commits, so that other writers get their
chance. A job that moved meanwhile is read and decided again, a few times; a job whose state does not allow the verb is skipped. A
step may be interrupted and repeated at any time: each of its jobs is changed or not, and the last reply's cursor leads on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from jobyard.engine.errors import Conflict
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.edits import RetryEdit, edited
from jobyard.engine.jobs.job import Job, JobFilter, Status
from jobyard.engine.jobs.lifecycle import Change, Verb
from jobyard.engine.jobs.selection import Selection
from jobyard.engine.jobs.spread import Spread, read_cursor
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
    deleted: int = 0
    skipped: int = 0

    def to_json(self) -> bytes:
        """The step as clients see it."""
        changed = len(self.changed) + self.deleted
        return msgspec.json.encode({"changed": changed, "skipped": self.skipped, "cursor": self.cursor})


def take_step(store: Store, verb: Verb, selection: Selection, *, now: datetime) -> Step:
    """Change the next jobs of the selection. Raises `InvalidRequest` if the cursor is not valid."""
    edits = _Edits(store, verb, selection, now)
    page = store.list_jobs(selection.wanted, limit=selection.limit, cursor=edits.cursor_of_store, whole=False)
    step = Step()
    for start in range(0, len(page.jobs), COMMIT):
        step.changed += _change(store, verb, page.jobs[start : start + COMMIT], now, edits)
    step.cursor = edits.next_cursor(page.cursor)
    step.skipped = len(page.jobs) - len(step.changed)
    return step


def delete_step(store: Store, selection: Selection) -> Step:
    """Delete the next jobs of the selection that have ended. Raises `InvalidRequest` if the cursor is not valid."""
    page = store.list_jobs(selection.wanted, limit=selection.limit, cursor=selection.cursor, whole=False)
    step = Step(cursor=page.cursor)
    ended = [job for job in page.jobs if lifecycle.is_terminal(job)]
    for start in range(0, len(ended), COMMIT):
        step.deleted += sum(store.delete(ended[start : start + COMMIT]))
    step.skipped = len(page.jobs) - step.deleted
    return step


class _Edits:
    """What the retries of one step change besides; with a spread, each job has its own time."""

    def __init__(self, store: Store, verb: Verb, selection: Selection, now: datetime) -> None:
        self._priority, self._now = selection.priority, now
        self._spread, self.cursor_of_store = read_cursor(selection.cursor) if verb is Verb.RETRY else (None, selection.cursor)
        if selection.spread_s and self._spread is None:
            jobs = _retryable(store, selection.wanted) if selection.cursor is None else 0  # the rest of a selection: nobody knows
            self._spread = Spread(begin=now, spread_ms=round(selection.spread_s * 1000), jobs=jobs)
        self._number = 0 if self._spread is None else self._spread.done

    def next(self) -> RetryEdit:
        """For the next job."""
        if self._spread is None:
            return RetryEdit(priority=self._priority)
        due_at = max(self._now, self._spread.due_at(self._number))
        self._number += 1
        return RetryEdit(priority=self._priority, due_at=due_at)

    def next_cursor(self, of_store: str | None) -> str | None:
        return of_store if self._spread is None else replace(self._spread, done=self._number).cursor(of_store)


def _retryable(store: Store, wanted: JobFilter) -> int:
    """How many jobs of the selection can be retried; 0 if that cannot be told quickly."""
    statuses = [status for status in (Status.FAILED, Status.CANCELLED) if wanted.status in (None, status)]
    counts = [store.count_jobs(msgspec.structs.replace(wanted, status=status)) for status in statuses]
    return sum(count.count for count in counts) if all(count.is_exact for count in counts) else 0


def _change(store: Store, verb: Verb, jobs: list[Job], now: datetime, edits: _Edits) -> list[tuple[Job, Change]]:
    """The jobs that were changed, each as it was, with its change."""
    changed: list[tuple[Job, Change]] = []
    for _ in range(GUARD_TRIES):
        changes = [(job, change) for job in jobs if (change := _decide(store, job, verb, now, edits)) is not None]
        done = store.apply([change for _, change in changes])
        changed += [pair for pair, was_done in zip(changes, done, strict=True) if was_done]
        moved = [job.job_id for (job, _), was_done in zip(changes, done, strict=True) if not was_done]
        if not moved:
            break
        jobs = [job for job in store.find(moved, whole=False) if job is not None]
    return changed


def _decide(store: Store, job: Job, verb: Verb, now: datetime, edits: _Edits) -> Change | None:
    """None: the job's state, what it waits for, or the holder of its unique key does not allow the verb."""
    if verb is not Verb.RETRY:
        return None if lifecycle.is_terminal(job) else lifecycle.cancel(job, now=now)
    try:
        change = retried(store, job, now=now)
    except Conflict:
        return None
    return edited(change, job, edits.next(), now=now)
