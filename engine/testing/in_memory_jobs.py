"""The jobs of one test, kept in memory, and accepted, changed and found by the real rules (`submission`, `lifecycle`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from jobyard.engine.errors import Conflict, InvalidRequest, NotFound, Rejected
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.edits import edited, parse_retry, retag, run_now
from jobyard.engine.jobs.job import Execution, Job, Status
from jobyard.engine.jobs.submission import Defaults, parse
from jobyard.engine.jobs.tags import parse_tags
from jobyard.engine.jobs.unique import is_held
from jobyard.engine.limits.definition import parse as parse_limit
from jobyard.engine.schedules.definition import parse as parse_schedule
from jobyard.engine.schedules.look import Look, Made, look_at
from jobyard.engine.schedules.new_job import scheduled_job
from jobyard.engine.schedules.schedule import CODE, Schedule
from jobyard.engine.store.declare_limit import declare_limit
from jobyard.engine.store.declare_schedule import declare_schedule
from jobyard.engine.store.port import Inserted, Insertion, KeyTaken, NotUnique
from jobyard.engine.store.request_plan import Known, RequestPlan, plan_request, status_of
from jobyard.engine.tasks.catalog import defaults_of
from jobyard.engine.tasks.declared_limits import DECLARED_LIMITS
from jobyard.engine.tasks.declared_schedules import DECLARED
from jobyard.engine.tasks.predecessors import GroupResult, Predecessors
from jobyard.engine.tasks.registry import DEFINED
from jobyard.engine.testing.in_memory_limits import InMemoryLimits
from jobyard.engine.testing.in_memory_schedules import InMemorySchedules
from jobyard.engine.testing.in_memory_workflows import InMemoryWorkflows
from jobyard.engine.workflows.acceptance import NotAccepted
from jobyard.engine.workflows.port import WorkflowStore
from jobyard.engine.workflows.resolver import Resolver
from jobyard.engine.workflows.retries import retried
from jobyard.engine.world import World

MAX_RETRIES = 5
TIMEOUT_S = 3600
MAX_FIRES = 1_000


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
        self.workflows: WorkflowStore = InMemoryWorkflows(
            jobs=lambda: list(self), put=lambda job: self._jobs.update({job.job_id: job})
        )
        self.schedules = InMemorySchedules(jobs=lambda: list(self), insert=self._insert, apply=self._changed)
        self.limits = InMemoryLimits(lambda: list(self))
        self._resolver = Resolver(_AsStore(self, self._put), world.now)
        self._declare()

    def accept(self, form: str, body: bytes) -> tuple[list[Job], Inserted]:
        """Accept the jobs of a request body, all or none: what was asked for, and the answer; raises what a scheduler would."""
        first_id = self._world.reserve_ids(body.count(b"{"))
        known = defaults(lambda name: self.limits.find(name) is not None)
        jobs = parse(form, body, first_id=first_id, idempotency_key=None, now=self._world.now(), defaults=known)
        answer = self._store(jobs)
        if not isinstance(answer, Inserted):
            raise _refusal(answer, form)
        return jobs, answer

    def _insert(self, job: Job) -> Insertion:
        return self._store([job])

    def _store(self, jobs: list[Job]) -> Inserted | KeyTaken | NotUnique | NotAccepted:
        plan = plan_request(jobs, self, self.workflows)
        if not isinstance(plan, RequestPlan):
            return plan
        for holder in plan.unique.dropped:
            self._jobs[holder.job_id] = msgspec.structs.replace(holder, held_key=None)
        accepted = self.limits.accept(plan.unique.fresh)
        self._jobs |= {job.job_id: job for job in accepted}
        for change in [replacing.change() for replacing in plan.unique.replacing.values()]:
            self.apply(change)
        self._remembered |= dict(plan.remembered)
        self.workflows.await_all(plan.waiting.awaited)
        return msgspec.structs.replace(plan.answer(), status=status_of(accepted))

    def _changed(self, change: lifecycle.Change) -> bool:
        self.apply(change)
        return True

    def _declare(self) -> None:
        """The limits and schedules that the test's modules have declared so far."""
        now = self._world.now()
        for name, body in DECLARED_LIMITS.items():
            declare_limit(self.limits, name, parse_limit(msgspec.json.encode(body)), origin=CODE)
        for name, body in DECLARED.items():
            asked = parse_schedule(msgspec.json.encode(body), now=now, defaults=defaults(), time_zone="UTC")
            declare_schedule(self.schedules, name, asked, origin=CODE, now=now)

    def fire(self, until: datetime) -> bool:
        """Make the jobs of the fire times up to this time, each at its own time; whether there were any."""
        due = self.schedules.next_fire_at()
        if due is None or due > until:
            return False

        def make(schedule: Schedule, at: datetime) -> Job:
            return scheduled_job(schedule, job_id=self._world.object_id(), now=due, defaults=defaults())

        def decide(schedule: Schedule, living: Sequence[Job], made: Made) -> Look | None:
            return look_at(schedule, now=due, living=living, room=MAX_FIRES, make=make, made=made)

        self.schedules.fire_due(decide, now=due, limit=MAX_FIRES)
        return True

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
        """Apply the change, and bring forward what waits for the job; returns the job after it."""
        job = self._put(change)
        if job.to_resolve or (job.is_awaited and lifecycle.is_terminal(job)):
            self._resolve()
        return job

    def _put(self, change: lifecycle.Change) -> Job:
        job = change.after(self.find(change.job_id))
        self._jobs[job.job_id] = job
        if change.verb is lifecycle.Verb.BEGIN:
            self.limits.begin(job, self._world.now())
        self.limits.follow(job)
        if change.execution is not None:
            self._executions.setdefault(job.job_id, {})[change.execution.attempt] = change.execution
        return job

    def _resolve(self) -> None:
        while self._resolver.resolve().looked_at:
            pass

    def cancel(self, job_id: str) -> Job:
        """Cancel the job, or ask it to stop if it is running; raises `Conflict`."""
        job = self.find(job_id)
        if lifecycle.is_terminal(job):
            raise Conflict("conflict", f"job {job_id} is already {job.status} and cannot be cancelled", "job_id")
        return self.apply(lifecycle.cancel(job, now=self._world.now()))

    def retry(self, job_id: str, body: bytes = b"") -> Job:
        """Make the job pending again, with the edits in the body of the request; raises `Conflict`."""
        job, edit, now = self.find(job_id), parse_retry(body), self._world.now()
        return self.apply(edited(retried(_AsStore(self, self._put), job, now=now), job, edit, now=now))

    def free_key(self, key: str, *, now: datetime) -> Job | None:
        """See `Store.free_key`."""
        holder = self.holder(key)
        if holder is None or is_held(holder, now):
            return holder
        self._jobs[holder.job_id] = msgspec.structs.replace(holder, held_key=None)
        return None

    def predecessors(self, job: Job) -> Predecessors:
        """What the job can read of those that it waited for."""
        return Predecessors({one.ref or one.job_id: one.job_id for one in job.after or () if one.job_id is not None}, _Read(self))

    def make_due(self, job_id: str) -> Job:
        """A pending job is due now; raises `Conflict`."""
        job = self.find(job_id)
        if not lifecycle.may(job, lifecycle.Verb.RUN):
            raise Conflict("conflict", f"job {job_id} is {job.status}; only a pending job can be made due now", "job_id")
        return self.apply(run_now(job, now=self._world.now()))

    def retag(self, job_id: str, body: bytes) -> Job:
        """Give the job the tags in the body of the request."""
        return self.apply(retag(self.find(job_id), parse_tags(body), now=self._world.now()))

    def delete(self, job_id: str) -> None:
        """Remove an ended job; raises `Conflict`."""
        job = self.find(job_id)
        if not lifecycle.is_terminal(job):
            raise Conflict("conflict", f"job {job_id} is {job.status}; only jobs that have ended can be deleted", "job_id")
        if (reader := self.workflows.reader(job)) is not None:
            raise Conflict("conflict", f"job {reader} waits for job {job_id}, or may read its result", "job_id")
        del self._jobs[job_id]
        self._executions.pop(job_id, None)
        self._remembered = {key: known for key, known in self._remembered.items() if known.job_id != job_id}

    def cancel_expired(self) -> None:
        """Cancel the jobs whose time was up before they began."""
        now = self._world.now()
        for job in self:
            if lifecycle.has_expired(job, now):
                self.apply(lifecycle.expire(job, now=now))

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def next_job(self) -> tuple[Job, datetime] | None:
        """The job that a worker would get next, and when: the first that may begin now, else the one that may begin first."""
        now = self._world.now()
        waiting = [(job, at) for job in self if job.status is Status.PENDING and (at := self.limits.next_at(job, now)) is not None]
        due = self.limits.in_turn(job for job, at in waiting if at <= now)
        if due:
            return due[0], now
        return min(waiting, key=lambda pair: pair[1], default=None)


class _Read:
    """See `predecessors.Source`."""

    def __init__(self, jobs: InMemoryJobs) -> None:
        self._jobs = jobs

    def result(self, job_id: str) -> object:
        """See `Source`."""
        result = self._jobs.find(job_id).result
        return None if result is None else json.loads(result)

    def group(self, name: str) -> Iterator[GroupResult]:
        """See `Source`."""
        return (GroupResult(job.job_id, job.status, self.result(job.job_id)) for job in self._jobs if job.group == name)


class _AsStore:
    """See `ResolverStore`. `put` changes one job."""

    def __init__(self, jobs: InMemoryJobs, put: Callable[[lifecycle.Change], Job]) -> None:
        self.workflows = jobs.workflows
        self.free_key = jobs.free_key
        self._find = jobs.find
        self._put = put

    def find(self, job_ids: Sequence[str], *, whole: bool = True) -> list[Job | None]:
        """The jobs with these ids."""
        return [self._find(job_id) for job_id in job_ids]

    def apply(self, changes: Sequence[lifecycle.Change]) -> list[bool]:
        """Guarded changes."""
        return [self._stands(change) and bool(self._put(change)) for change in changes]

    def _stands(self, change: lifecycle.Change) -> bool:
        job = self._find(change.job_id)
        return (job.status, job.epoch) == (change.status, change.epoch)


def defaults(has_limit: Callable[[str], bool] = lambda name: True) -> Defaults:
    """Of the tasks that are defined in this process."""
    return Defaults(max_retries=MAX_RETRIES, timeout_s=TIMEOUT_S, tasks=defaults_of(DEFINED.options()), has_limit=has_limit)


def _refusal(refused: KeyTaken | NotUnique | NotAccepted, form: str) -> Rejected:
    at = "" if form == "job" else f"jobs[{refused.index}]"
    if isinstance(refused, NotAccepted):
        kind = Conflict if refused.code == "group_ended" else InvalidRequest
        return kind(refused.code, f"{at}: {refused.message}".lstrip(": "), f"{at}.{refused.field}".lstrip("."))
    if isinstance(refused, KeyTaken):
        code, field, words = "idempotency_conflict", "idempotency_key", f"was used for job {refused.job_id} with a different body"
        return Conflict(code, f"{at}: this idempotency_key {words}".lstrip(": "), f"{at}.{field}".lstrip("."))
    holder = "an earlier job of this request" if refused.job_id is None else f"job {refused.job_id}"
    details = {} if refused.job_id is None else {"job_id": refused.job_id}
    words = f"{at}: {holder} holds the unique key {refused.key!r}".lstrip(": ")
    return Conflict("not_unique", words, f"{at}.unique".lstrip("."), **details)
