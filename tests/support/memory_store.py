"""A store in memory: the whole port in its simplest correct form, for tests that need no database.

Rows are in the order of insertion. A write is prepared on a copy and applied as a whole, like a transaction.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from jobyard.engine.errors import InvalidRequest, StoreUnavailable
from jobyard.engine.hooks.events import deliveries, events_of, missed_deliveries, missed_in
from jobyard.engine.hooks.hook import Hook
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import PRIORITIES, Execution, HttpLease, Job, JobFilter, Output, Status, without_payload
from jobyard.engine.jobs.lifecycle import HELD, TERMINAL, Change, Verb
from jobyard.engine.jobs.owners import http_worker
from jobyard.engine.jobs.unique import is_held
from jobyard.engine.schedules.look import Look
from jobyard.engine.store.bounds import (
    AHEAD_LOOK,
    COUNT_LOOK,
    EXECUTIONS_BYTES,
    LOOK,
    OUTPUTS_BYTES,
    PAGE_BYTES,
    UNBOUNDED,
    latest_outputs,
    latest_within,
    shown_bytes,
)
from jobyard.engine.store.named_port import NamedRows
from jobyard.engine.store.port import (
    ANYTHING,
    Abandoned,
    Allocation,
    Candidate,
    Claimed,
    Count,
    Due,
    HostHeartbeat,
    Insertion,
    Page,
    Seen,
    Served,
    nobody,
)
from jobyard.engine.store.report_port import ReportStore
from jobyard.engine.store.request_plan import Known, RequestPlan, plan_request
from jobyard.engine.store.schedule_port import ScheduleStore
from jobyard.engine.store.search_text import is_wanted
from jobyard.engine.testing.in_memory_limits import InMemoryLimits
from jobyard.engine.testing.in_memory_schedules import InMemorySchedules
from jobyard.engine.testing.in_memory_workflows import InMemoryWorkflows
from jobyard.engine.workflows.port import WorkflowStore
from tests.support.memory_reports import MemoryReports
from tests.support.memory_rows import InMemoryNamedRows


class MemoryStore:
    """See `store.port.Store`. `is_down` makes every call fail, as an outage does."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._executions: dict[tuple[str, int], Execution] = {}
        self._outputs: dict[tuple[str, int], Output] = {}
        self._places: dict[str, tuple[datetime, int]] = {}
        """The order of a list, also of jobs that are no longer stored."""
        self._hosts: dict[str, HostHeartbeat] = {}
        self.schedules: ScheduleStore = InMemorySchedules(
            jobs=self.all_jobs, insert=lambda job: self._insert_request([job], lambda: False), apply=self._apply_one,
            note=self._tell_missed,
        )  # fmt: skip
        self.hooks: NamedRows = InMemoryNamedRows()
        self.http_tasks: NamedRows = InMemoryNamedRows(in_use=self._is_living)
        self.limits: InMemoryLimits = InMemoryLimits(self.all_jobs)
        self.workflows: WorkflowStore = InMemoryWorkflows(jobs=self.all_jobs, put=lambda job: self._jobs.update({job.job_id: job}))
        self.reports: ReportStore = MemoryReports(self._reached_jobs)
        self._remembered: dict[str, Known] = {}
        self.is_down = False
        self.stale_writes = 0
        self.commits = 0

    def insert(
        self, requests: Sequence[Sequence[Job]], *, abandoned: Callable[[int], bool] = lambda number: False, seen: Seen = nobody
    ) -> list[Insertion]:  # fmt: skip
        self._reach()
        self.commits += 1
        insertions = [self._insert_request(jobs, functools.partial(abandoned, number)) for number, jobs in enumerate(requests)]
        seen(insertions)
        return insertions

    def find(self, job_ids: Sequence[str], *, whole: bool = True) -> list[Job | None]:
        self._reach()
        found = [self._jobs.get(job_id) for job_id in job_ids]
        return found if whole else [job and without_payload(job) for job in found]

    def ended(self, job_ids: Sequence[str]) -> list[str]:
        self._reach()
        found = {job_id: self._jobs.get(job_id) for job_id in job_ids}
        return [job_id for job_id, job in found.items() if job is None or job.status in TERMINAL]

    def version(self) -> object | None:
        self._reach()
        return self.commits

    def list_jobs(
        self, wanted: JobFilter, *, limit: int, cursor: str | None = None, max_bytes: int = PAGE_BYTES, whole: bool = True,
        look: int = LOOK,
    ) -> Page:  # fmt: skip
        self._reach()
        for job in self._jobs.values():
            self._places.setdefault(job.job_id, (job.created_at, len(self._places)))
        rest = self._newest_first()
        if cursor is not None:
            if cursor not in self._places:
                raise InvalidRequest("invalid_cursor", "the cursor is not valid", "cursor")
            rest = [job for job in rest if self._places[job.job_id] < self._places[cursor]]
        page: list[Job] = []
        size = 0
        for looked, job in enumerate(rest):
            shown = job if whole else without_payload(job)
            is_full = len(page) == limit or (bool(page) and size + shown_bytes(shown) > max_bytes)
            if looked == look or (is_full and is_wanted(job, wanted)):
                return Page(jobs=page, cursor=rest[looked - 1].job_id)
            if is_wanted(job, wanted):
                page.append(shown)
                size += shown_bytes(shown)
        return Page(jobs=page, cursor=None)

    def count_jobs(self, wanted: JobFilter, *, look: int = COUNT_LOOK) -> Count:
        self._reach()
        if wanted in (JobFilter(), JobFilter(status=wanted.status)):
            return Count(count=sum(is_wanted(job, wanted) for job in self._jobs.values()))
        looked_at = self._newest_first()[:look]
        return Count(count=sum(is_wanted(job, wanted) for job in looked_at), is_exact=len(looked_at) == len(self._jobs))

    def count_ahead(self, job: Job, *, now: datetime, served: Served = ANYTHING, look: int = AHEAD_LOOK) -> Count:
        self._reach()
        in_order = sorted(self._pending(served), key=lambda other: (-other.priority, other.scheduled_at))
        ahead = in_order[: [other.job_id for other in in_order].index(job.job_id)] if job in in_order else []
        due = sum(other.scheduled_at <= now for other in ahead)
        return Count(count=min(due, look), is_exact=due < look)

    def counts(self) -> dict[Status, int]:
        self._reach()
        return {status: sum(job.status is status for job in self._jobs.values()) for status in Status}

    def next_due(self, *, served: Served = ANYTHING) -> datetime | None:
        self._reach()
        first = min((job.scheduled_at for job in self._pending(served)), default=None)
        now = max((job.updated_at for job in self._jobs.values()), default=first)
        nexts = [self.limits.next_at(job, now) for job in self._pending(served)] if now is not None else []
        return min((at for at in nexts if at is not None), default=None)

    def due(self, *, now: datetime, limit: int, served: Served = ANYTHING) -> list[Job]:
        self._reach()
        return [without_payload(job) for job in self._due(now, served)][:limit]

    def count_due(self, *, now: datetime, served: Served = ANYTHING, look: int = AHEAD_LOOK) -> Due:
        self._reach()
        due = Counter(job.priority for job in self._due(now, served))
        return Due(counts=[min(look, due[priority]) for priority in PRIORITIES], is_exact=all(n < look for n in due.values()))

    def claim_due(
        self, *, owner: str, now: datetime, lease_s: float, allocation: Allocation, served: Served = ANYTHING
    ) -> Claimed:  # fmt: skip
        self._reach()
        begun: list[Job] = []
        for job in self.limits.in_turn(self._due(now, served)):
            if not allocation.most:
                break
            if self.limits.obstacle(job, now) is not None:
                continue
            worker = allocation.place(Candidate(task=job.task, lost_count=job.lost_count, size=len(job.payload)))
            if worker is not None:
                begun.append(self._begin(job, owner, worker, now, lease_s))
        self.commits += bool(begun)
        return Claimed(jobs=begun, asked=self._replace_running(self._due(now, served), now))

    def _replace_running(self, due: list[Job], now: datetime) -> list[tuple[Job, Job]]:
        pairs = []
        for change in self.limits.to_replace(due, now):
            before = self._jobs[change.job_id]
            self._apply_one(change)
            pairs.append((before, self._jobs[change.job_id]))
        return pairs

    def runs_lost_job(self, owner: str, *, at_least: int) -> bool:
        self._reach()
        return any(job.locked_by == owner and job.lost_count >= at_least for job in self._held())

    def _begin(self, job: Job, owner: str, worker: str, now: datetime, lease_s: float) -> Job:
        job = msgspec.structs.replace(job, lane=self.limits.begin(job, now))
        claimed = lifecycle.claim(job, owner=owner, now=now).after(job)
        queued = lifecycle.enqueue(claimed, now=now).after(claimed)
        begin = lifecycle.begin(queued, owner=worker, now=now, lease_s=lease_s)
        self._jobs[job.job_id] = begin.after(queued)
        if begin.execution is not None:
            self._executions[job.job_id, begin.execution.attempt] = begin.execution
        return self._jobs[job.job_id]

    def _due(self, now: datetime, served: Served) -> list[Job]:
        due = [job for job in self._pending(served) if job.scheduled_at <= now and not lifecycle.has_expired(job, now)]
        return sorted(due, key=lambda job: (-job.priority, job.scheduled_at))

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        self._reach()
        self.commits += 1
        return [self._apply_one(change) for change in changes]

    def expired(self, *, now: datetime, limit: int) -> list[Job]:
        self._reach()
        expired = (job for job in self._jobs.values() if lifecycle.has_expired(job, now))
        return [without_payload(job) for job in sorted(expired, key=lambda job: job.lapses_at or now)][:limit]

    def next_expiry(self) -> datetime | None:
        self._reach()
        return min((job.lapses_at for job in self._jobs.values() if job.lapses_at is not None), default=None)

    def held_by(self, owner: str, *, limit: int, after: str | None = None) -> list[Job]:
        self._reach()
        return [without_payload(job) for job in self._held_past(owner, after)][:limit]

    def holders(self) -> list[str]:
        self._reach()
        return sorted({job.holder for job in self._held() if job.holder is not None})

    def http_leases(self) -> list[HttpLease]:
        self._reach()
        return [lease_of(job) for job in self._held() if http_worker(job.locked_by) is not None]

    def _is_living(self, task: str) -> bool:
        return any(job.task == task and job.status not in TERMINAL for job in self._jobs.values())

    def cancel_requests(self, owner: str) -> list[str]:
        self._reach()
        running = (job for job in self._held() if job.status is Status.RUNNING and job.locked_by == owner)
        return [job.job_id for job in running if job.cancel_requested_at is not None]

    def executions(self, job_id: str, *, max_bytes: int = EXECUTIONS_BYTES) -> list[Execution]:
        self._reach()
        latest_first = (self._executions[key] for key in sorted(self._executions, reverse=True) if key[0] == job_id)
        return latest_within(latest_first, max_bytes)

    def outputs(self, job_id: str, *, max_bytes: int = OUTPUTS_BYTES) -> list[Output]:
        self._reach()
        return latest_outputs((self._outputs[key] for key in sorted(self._outputs, reverse=True) if key[0] == job_id), max_bytes)

    def purge(self, *, before: datetime, limit: int, statuses: Sequence[Status] = TERMINAL) -> int:
        self._reach()
        finished = [(job.finished_at, job) for job in self._jobs.values() if job.status in statuses and job.finished_at is not None]
        old = [pair for pair in finished if pair[0] < before]
        old = [(at, job) for at, job in old if job.held_key is None or (job.held_until is not None and job.held_until < before)]
        old = [(at, job) for at, job in old if job.is_awaited is None or not self.workflows.is_kept(job)]
        old = sorted(old, key=lambda pair: pair[0])[:limit]
        for _, job in old:
            self._remove(job)
        return len(old)

    def delete(self, jobs: Sequence[Job]) -> list[bool]:
        self._reach()
        self.commits += 1
        return [self._delete(job) for job in jobs]

    def _delete(self, asked: Job) -> bool:
        job = self._jobs.get(asked.job_id)
        if job is None or (job.status, job.epoch) != (asked.status, asked.epoch) or job.status not in TERMINAL:
            return False
        if self.workflows.reader(job) is not None:
            return False
        self._remove(job)
        return True

    def _remove(self, job: Job) -> None:
        del self._jobs[job.job_id]
        self._remembered = {key: known for key, known in self._remembered.items() if known.job_id != job.job_id}
        for execution in self.executions(job.job_id, max_bytes=UNBOUNDED):
            del self._executions[execution.job_id, execution.attempt]
            self._outputs.pop((execution.job_id, execution.attempt), None)

    def mend(self, *, now: datetime, thorough: bool) -> None:
        self._reach()

    def ping(self) -> str:
        self._reach()
        return "memory"

    def renew(self, sign: HostHeartbeat) -> None:
        self._reach()
        before = self._hosts.get(sign.boot)
        self._hosts[sign.boot] = msgspec.structs.replace(sign, renewal=before.renewal + 1 if before else 1)

    def hosts(self, *, confirmed: bool = False) -> list[HostHeartbeat]:
        self._reach()
        return list(self._hosts.values())

    def forget_host(self, boot: str, *, renewal: int) -> None:
        self._reach()
        if boot in self._hosts and self._hosts[boot].renewal == renewal:
            del self._hosts[boot]

    def close(self) -> None:
        """There is nothing to release."""

    def all_jobs(self) -> list[Job]:
        """For tests: all jobs, in the order of insertion."""
        return list(self._jobs.values())

    def _reached_jobs(self) -> list[Job]:
        self._reach()
        return self.all_jobs()

    def _reach(self) -> None:
        if self.is_down:
            raise StoreUnavailable("the test made the database unavailable")

    def _insert_request(self, jobs: Sequence[Job], is_abandoned: Callable[[], bool]) -> Insertion:
        plan = plan_request(jobs, self, self.workflows)
        if not isinstance(plan, RequestPlan):
            return plan
        new = [job for job in plan.unique.fresh if job.job_id not in self._jobs]
        if plan.writes and is_abandoned():
            return Abandoned()
        for holder in plan.unique.dropped:
            self._jobs[holder.job_id] = msgspec.structs.replace(holder, held_key=None)
        accepted = self.limits.accept(new)
        self._jobs |= {job.job_id: job for job in accepted}
        for change in [replacing.change() for replacing in plan.unique.replacing.values()]:
            self._jobs[change.job_id] = change.after(self._jobs[change.job_id])
        self._remembered |= dict(plan.remembered)
        self.workflows.await_all(plan.waiting.awaited)
        return msgspec.structs.replace(plan.answer(), status=accepted[-1].status if accepted else Status.PENDING)

    def known(self, key: str) -> Known | None:
        """See `store.request_plan.Lookups`."""
        job = next((job for job in self._jobs.values() if job.idempotency_key == key), None)
        return self._remembered.get(key) if job is None else Known(job.job_id, job.request_digest)

    def holder(self, key: str) -> Job | None:
        """See `store.request_plan.Lookups`."""
        return next((job for job in self._jobs.values() if job.held_key == key), None)

    def is_stored(self, job_id: str) -> bool:
        """See `store.request_plan.Lookups`."""
        return job_id in self._jobs

    def free_key(self, key: str, *, now: datetime) -> Job | None:
        self._reach()
        holder = self.holder(key)
        if holder is None or is_held(holder, now):
            return holder
        self._jobs[holder.job_id] = msgspec.structs.replace(holder, held_key=None)
        return None

    def _apply_one(self, change: Change) -> bool:
        job = self._jobs.get(change.job_id)
        stands = job is not None and (job.status, job.epoch) == (change.status, change.epoch)
        is_extended = job is not None and change.unless_extended not in (None, job.locked_until)
        if job is None or not stands or is_extended or (change.unless_cancelled and job.cancel_requested_at is not None):
            self.stale_writes += 1
            return False
        taken = change.fields.get("held_key")
        if taken is not None and any(other.held_key == taken and other is not job for other in self._jobs.values()):
            return False
        self._jobs[job.job_id] = change.after(job)
        self.limits.follow(self._jobs[job.job_id])
        if change.execution is not None:
            self._executions[change.execution.job_id, change.execution.attempt] = change.execution
        if change.verb is Verb.RETURN:
            self._executions.pop((job.job_id, job.attempt), None)
        if change.output is not None:
            self._outputs[change.output.job_id, change.output.attempt] = change.output
        self._tell_hooks(change)
        return True

    def _tell_hooks(self, change: Change) -> None:
        hooks = self._all_hooks()
        for event in events_of(change) if hooks else []:
            for job in deliveries(hooks, event, self._jobs[event.job_id], lambda group: self.workflows.group_standing(group).end):
                self._insert_request([job], lambda: False)

    def _tell_missed(self, look: Look, now: datetime) -> None:
        for job in missed_deliveries(self._all_hooks(), missed_in(look, now)):
            self._insert_request([job], lambda: False)

    def _all_hooks(self) -> list[Hook]:
        return [msgspec.json.decode(row.body, type=Hook) for row in self.hooks.all()]

    def _newest_first(self) -> list[Job]:
        return sorted(reversed(self._jobs.values()), key=lambda job: job.created_at, reverse=True)

    def _pending(self, served: Served) -> list[Job]:
        return [
            job
            for job in self._jobs.values()
            if job.status is Status.PENDING
            and (served.tasks is None or job.task in served.tasks)
            and (served.queues is None or job.queue in served.queues)
        ]

    def _held(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.status in HELD]

    def _held_past(self, owner: str, after: str | None) -> list[Job]:
        held = sorted((job for job in self._held() if job.holder == owner), key=lambda job: job.job_id)
        return [job for job in held if after is None or job.job_id > after]


def lease_of(job: Job) -> HttpLease:
    """The lease of a running job that an HTTP worker holds."""
    assert job.locked_by is not None and job.locked_until is not None and job.last_run_at is not None
    return HttpLease(
        job_id=job.job_id, epoch=job.epoch, owner=job.locked_by, until=job.locked_until, began_at=job.last_run_at,
        lasts_s=max(0.0, (job.locked_until - job.updated_at).total_seconds()), timeout_s=job.timeout_s,
    )  # fmt: skip
