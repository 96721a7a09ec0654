"""The jobs of one test, kept in memory, and accepted, changed and found by the real rules (`submission`, `lifecycle`)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from jobyard.engine.errors import Conflict, NotFound
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.idempotency import is_same_request
from jobyard.engine.jobs.job import Execution, Job, Status
from jobyard.engine.jobs.submission import Defaults, parse
from jobyard.engine.tasks.catalog import defaults_of
from jobyard.engine.tasks.registry import DEFINED
from jobyard.engine.world import World

MAX_RETRIES = 5
TIMEOUT_S = 3600


class AdjustableWorld(World):
    """The real world with a wall clock that can be moved forward."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = timedelta()

    def now(self) -> datetime:
        """See `World`."""
        return super().now() + self._ahead

    def advance_to(self, at: datetime) -> None:
        """Move the wall clock forward to this time; never back."""
        self._ahead += max(timedelta(), at - self.now())


class InMemoryJobs:
    """Jobs in the order of their submission."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._jobs: dict[str, Job] = {}
        self._executions: dict[str, dict[int, Execution]] = {}

    def accept(self, form: str, body: bytes) -> list[str]:
        """Accept the jobs of a request body, all or none, and return their ids; raises what a scheduler would."""
        defaults = Defaults(max_retries=MAX_RETRIES, timeout_s=TIMEOUT_S, tasks=defaults_of(DEFINED.options()))
        first_id = self._world.reserve_ids(body.count(b"{"))
        jobs = parse(form, body, first_id=first_id, idempotency_key=None, now=self._world.now(), defaults=defaults)
        accepted = dict(self._jobs)
        job_ids = []
        for index, job in enumerate(jobs):
            known = _find_by_key(accepted, job.idempotency_key)
            if known is not None and not is_same_request(known.request_digest, job.request_digest):
                at = "" if form == "job" else f"jobs[{index}]"
                words = f"this idempotency_key was used for job {known.job_id} with a different body"
                raise Conflict("idempotency_conflict", f"{at}: {words}".lstrip(": "), f"{at}.idempotency_key".lstrip("."))
            job_ids.append((known or job).job_id)
            accepted.setdefault(job_ids[-1], job)
        self._jobs = accepted
        return job_ids

    def find(self, job_id: str) -> Job:
        """The job; raises `NotFound`."""
        if job_id not in self._jobs:
            raise NotFound("not_found", f"there is no job {job_id}", "job_id")
        return self._jobs[job_id]

    def executions(self, job_id: str) -> list[Execution]:
        """Its attempts, oldest first."""
        self.find(job_id)
        return list(self._executions.get(job_id, {}).values())

    def apply(self, change: lifecycle.Change) -> Job:
        """Apply the change; returns the job after it."""
        job = change.after(self.find(change.job_id))
        self._jobs[job.job_id] = job
        if change.execution is not None:
            self._executions.setdefault(job.job_id, {})[change.execution.attempt] = change.execution
        return job

    def cancel(self, job_id: str) -> Job:
        """Cancel the job, or ask it to stop if it is running; raises `Conflict`."""
        job = self.find(job_id)
        if lifecycle.is_terminal(job):
            raise Conflict("conflict", f"job {job_id} is already {job.status} and cannot be cancelled", "job_id")
        return self.apply(lifecycle.cancel(job, now=self._world.now()))

    def retry(self, job_id: str) -> Job:
        """Make the job pending again; raises `Conflict`."""
        job = self.find(job_id)
        if not lifecycle.may(job, lifecycle.Verb.RETRY):
            raise Conflict("conflict", f"job {job_id} is {job.status}; only failed and cancelled jobs can be retried", "job_id")
        return self.apply(lifecycle.retry(job, now=self._world.now()))

    def cancel_expired(self) -> None:
        """Cancel the jobs whose time was up before they began."""
        now = self._world.now()
        for job in self:
            if lifecycle.has_expired(job, now):
                self.apply(lifecycle.expire(job, now=now))

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def next_job(self) -> Job | None:
        """The job that a worker would get next: the most urgent one that is due, else the one that is due first."""
        now = self._world.now()
        waiting = [job for job in self if job.status is Status.PENDING]
        due = [job for job in waiting if job.scheduled_at <= now]
        if due:
            return min(due, key=lambda job: (-job.priority, job.scheduled_at))
        return min(waiting, key=lambda job: job.scheduled_at, default=None)


def _find_by_key(jobs: dict[str, Job], key: str | None) -> Job | None:
    return next((job for job in jobs.values() if key is not None and job.idempotency_key == key), None)
