"""The jobs of one test, kept in memory, and accepted, changed and found by the real rules (`submission`, `lifecycle`)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from jobyard.engine.errors import Conflict, NotFound
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Execution, Job, Status
from jobyard.engine.jobs.submission import Defaults, parse
from jobyard.engine.jobs.unique import is_held
from jobyard.engine.store.port import Inserted, KeyTaken, NotUnique
from jobyard.engine.store.request_plan import Known, RequestPlan, plan_request
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
        self._remembered: dict[str, Known] = {}

    def accept(self, form: str, body: bytes) -> tuple[list[Job], Inserted]:
        """Accept the jobs of a request body, all or none: what was asked for, and the answer; raises what a scheduler would."""
        defaults = Defaults(max_retries=MAX_RETRIES, timeout_s=TIMEOUT_S, tasks=defaults_of(DEFINED.options()))
        first_id = self._world.reserve_ids(body.count(b"{"))
        jobs = parse(form, body, first_id=first_id, idempotency_key=None, now=self._world.now(), defaults=defaults)
        plan = plan_request(jobs, self)
        if not isinstance(plan, RequestPlan):
            raise _refusal(plan, form)
        for holder in plan.unique.dropped:
            self._jobs[holder.job_id] = msgspec.structs.replace(holder, held_key=None)
        self._jobs |= {job.job_id: job for job in plan.unique.fresh}
        for change in [replacing.change() for replacing in plan.unique.replacing.values()]:
            self.apply(change)
        self._remembered |= dict(plan.remembered)
        return jobs, plan.answer()

    def known(self, key: str) -> Known | None:
        """See `Lookups`."""
        job = next((job for job in self if job.idempotency_key == key), None)
        return self._remembered.get(key) if job is None else Known(job.job_id, job.request_digest)

    def holder(self, key: str) -> Job | None:
        """See `Lookups`."""
        return next((job for job in self if job.held_key == key), None)

    def is_stored(self, job_id: str) -> bool:
        """See `Lookups`."""
        return job_id in self._jobs

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
        change = lifecycle.retry(job, now=self._world.now())
        holder = self.holder(str(change.fields.get("held_key")))
        if holder is not None and is_held(holder, self._world.now()):
            words = f"job {holder.job_id} holds the unique key {holder.held_key!r}"
            raise Conflict("not_unique", words, "job_id", job_id=holder.job_id)
        if holder is not None:
            self._jobs[holder.job_id] = msgspec.structs.replace(holder, held_key=None)
        return self.apply(change)

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


def _refusal(refused: KeyTaken | NotUnique, form: str) -> Conflict:
    at = "" if form == "job" else f"jobs[{refused.index}]"
    if isinstance(refused, KeyTaken):
        code, field, words = "idempotency_conflict", "idempotency_key", f"was used for job {refused.job_id} with a different body"
        return Conflict(code, f"{at}: this idempotency_key {words}".lstrip(": "), f"{at}.{field}".lstrip("."))
    holder = "an earlier job of this request" if refused.job_id is None else f"job {refused.job_id}"
    details = {} if refused.job_id is None else {"job_id": refused.job_id}
    words = f"{at}: {holder} holds the unique key {refused.key!r}".lstrip(": ")
    return Conflict("not_unique", words, f"{at}.unique".lstrip("."), **details)
