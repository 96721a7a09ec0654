"""What clients may do to jobs besides cancelling and retrying them: tags, time, removal. And reports: what fails, what waits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import msgspec

from jobyard.engine.errors import Conflict, NotFound, changing_too_quickly
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.edits import retag, run_now
from jobyard.engine.jobs.job import Job, to_json
from jobyard.engine.jobs.lifecycle import Change, Verb
from jobyard.engine.jobs.selection import parse
from jobyard.engine.jobs.tags import parse_tags
from jobyard.engine.logs import Log
from jobyard.engine.scheduler.bulk import delete_step
from jobyard.engine.store.port import Store
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.wire.json_reply import as_json
from jobyard.engine.wire.messages import DeleteJob, DeleteMany, Json, ListFailures, ReportDue, RunJob, TagJob
from jobyard.engine.world import World

GUARD_TRIES = 5
NO_CONTENT = 204


class Changes(Protocol):
    """Applies the change that is decided for a job; the job after and before it."""

    def __call__(self, message: RunJob | TagJob, decide: Callable[[Job], Change]) -> tuple[Job, Job]: ...


class JobEdits:
    """As one scheduler answers for them."""

    def __init__(
        self, *, world: World, store: Store, log: Log, change: Changes, shown: Callable[[Job], Job],
        wake: Callable[[list[datetime]], None],
    ) -> None:  # fmt: skip
        self._world = world
        self._store = store
        self._log = log
        self._change = change
        self._shown = shown
        self._wake = wake
        self.answers: dict[type, Callable[..., Json]] = {
            RunJob: self.run, TagJob: self.tag, DeleteJob: self.delete, DeleteMany: self.delete_many, ListFailures: self.failures,
            ReportDue: self.due,
        }  # fmt: skip
        """What answers which message; raises `Rejected` or `Unavailable`."""

    def run(self, message: RunJob) -> Json:
        """A pending job is due now."""
        job, _ = self._change(message, self._run_now)
        self._wake([job.scheduled_at])
        return Json(body=to_json(job))

    def _run_now(self, job: Job) -> Change:
        if not lifecycle.may(job, Verb.RUN):
            raise Conflict("conflict", f"job {job.job_id} is {job.status}; only a pending job can be made due now", "job_id")
        return run_now(job, now=self._world.now())

    def tag(self, message: TagJob) -> Json:
        """The job has these tags instead."""
        tags = parse_tags(message.body)
        job, _ = self._change(message, lambda job: retag(job, tags, now=self._world.now()))
        return Json(body=to_json(self._shown(job)))

    def delete(self, message: DeleteJob) -> Json:
        """Remove an ended job; if it moves meanwhile, it is decided again."""
        for _ in range(GUARD_TRIES):
            job = self._store.find([message.job_id], whole=False)[0]
            if job is None:
                raise NotFound("not_found", f"there is no job {message.job_id}")
            if not lifecycle.is_terminal(job):
                words = f"job {job.job_id} is {job.status}; only jobs that have ended can be deleted"
                raise Conflict("conflict", words, "job_id")
            if job.is_awaited is not None and (reader := self._store.workflows.reader(job)) is not None:
                words = f"job {reader} waits for job {job.job_id}, or may read its result; delete this one when that has ended"
                raise Conflict("conflict", words, "job_id")
            if self._store.delete([job])[0]:
                self._log.info("job_deleted", job_id=job.job_id, by=message.by, request_id=message.request_id)
                return Json(body=b"", status=NO_CONTENT)
        raise changing_too_quickly(f"job {message.job_id}")

    def delete_many(self, message: DeleteMany) -> Json:
        """Remove the ended ones of the next jobs of a selection."""
        step = delete_step(self._store, parse(message.body))
        self._log.info("jobs_deleted", jobs=step.deleted, skipped=step.skipped, by=message.by, request_id=message.request_id)
        return Json(body=step.to_json())

    def failures(self, message: ListFailures) -> Json:
        """The groups, the most frequent first."""
        groups = [msgspec.structs.asdict(group) for group in self._store.reports.failures(since=message.since)]
        times = ("first_at", "last_at")
        return as_json([group | {name: rfc3339(group[name]) for name in times} for group in groups])

    def due(self, message: ReportDue) -> Json:
        """What is due, for the metrics."""
        now = self._world.now()
        due = [
            {"task": one.task, "queue": one.queue, "count": one.count, "age_s": max(0.0, (now - one.oldest_at).total_seconds())}
            for one in self._store.reports.due_by_task(now=now)
        ]
        return as_json(due)
