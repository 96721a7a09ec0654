"""One store in memory that all processes share, and each process's access to it, which may be slow, unreachable or lose replies.

A call may fail before it did anything, after it has done everything, or, as on a database without transactions, after a part of
its changes. While a call is slow, other processes go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from jobyard.engine.errors import StoreBroken, StoreUnavailable
from jobyard.engine.jobs.job import Execution, HttpLease, Job, JobFilter, Output, Status
from jobyard.engine.jobs.lifecycle import TERMINAL, Change
from jobyard.engine.store.bounds import AHEAD_LOOK, COUNT_LOOK, EXECUTIONS_BYTES, LOOK, OUTPUTS_BYTES, PAGE_BYTES
from jobyard.engine.store.port import (
    ANYTHING,
    Allocation,
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
from jobyard.engine.store.schedule_port import ScheduleStore
from tests.simulation.checker import Checker
from tests.simulation.event_queue import EventQueue
from tests.simulation.limiter import check_begin, check_slots
from tests.simulation.process import Process
from tests.simulation.process_schedules import ProcessSchedules
from tests.simulation.watched_schedules import WatchedSchedules
from tests.support.memory_store import MemoryStore

Answer = TypeVar("Answer")


class StoreConditions:
    """The current faults between a host and the store."""

    def __init__(self) -> None:
        self.down_until = 0.0
        self.reset()

    def reset(self) -> None:
        """Remove all faults."""
        self.down_until = 0.0
        self.is_partial = False
        self.refusal_rate = 0.0
        self.lost_reply_rate = 0.0
        self.broken_rate = 0.0
        self.delay_rate = 0.2
        self.delay_s = 0.002


class SharedStore(MemoryStore):
    """The stored jobs; every change is reported to the checker, with the process that made it."""

    def __init__(self, checker: Checker) -> None:
        super().__init__()
        self.schedules = self.watched = WatchedSchedules(self)
        self.checker = checker
        self.writer: Process | None = None
        checker.store = self

    def job(self, job_id: str) -> Job | None:
        """For the checker: the job as it is now."""
        return self._jobs.get(job_id)

    def rows(self, job_id: str) -> list[Execution]:
        """For the checker: the attempts at a job."""
        attempts = self._jobs[job_id].attempt if job_id in self._jobs else 0
        return [row for number in range(attempts + 2) if (row := self._executions.get((job_id, number))) is not None]

    def _insert_request(self, jobs: Sequence[Job], is_abandoned: Callable[[], bool]) -> Insertion:
        known = set(self._jobs)
        for job in jobs:
            if job.fire_at is not None:
                self.watched.note_fire(job, self.watched.living(job.schedule or ""))
        answer = super()._insert_request(jobs, is_abandoned)
        for job in jobs:
            if job.schedule is None and job.job_id in self._jobs and job.job_id not in known:
                self.checker.note_inserted(job)
        return answer

    def _begin(self, job: Job, owner: str, worker: str, now: datetime, lease_s: float) -> Job:
        begun = super()._begin(job, owner, worker, now, lease_s)
        check_begin(begun, self.all_jobs(), self.limits)
        check_slots(self.all_jobs(), self.limits)
        self.checker.note_claimed(job, begun, now)
        return begun

    def purge(self, *, before: datetime, limit: int, statuses: Sequence[Status] = TERMINAL) -> int:
        known = dict(self._jobs)
        count = super().purge(before=before, limit=limit, statuses=statuses)
        for job_id in [job_id for job_id in known if job_id not in self._jobs]:
            self.checker.note_purged(known[job_id])
        return count

    def renew(self, sign: HostHeartbeat) -> None:
        super().renew(sign)
        self.checker.heartbeats[sign.boot] = self.checker.now

    def _apply_one(self, change: Change) -> bool:
        before = self._jobs.get(change.job_id)
        done = super()._apply_one(change)
        if done:
            assert before is not None and self.writer is not None
            self.checker.note_changed(before, self._jobs[change.job_id], change, self.writer)
        return done


class ProcessWorkflows:
    """A process's `WorkflowStore`."""

    WRITES = ("resolved", "await_all")

    def __init__(self, call: Callable[..., Any], shared: object) -> None:
        self._call = call
        self._shared = shared

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._shared, name)
        return lambda *args, **kwargs: self._call(name, lambda: method(*args, **kwargs), writes=name in self.WRITES)


class ProcessLimits(ProcessWorkflows):
    """A process's `LimitStore`."""

    WRITES = ("save", "delete", "hold_parts")
    effective_within_s = 0


class ProcessStore:
    """A process's `Store`."""

    def __init__(self, event_queue: EventQueue, process: Process, shared: SharedStore, conditions: StoreConditions) -> None:
        self._queue = event_queue
        self._process = process
        self._shared = shared
        self._conditions = conditions
        self.workflows = ProcessWorkflows(self._call, shared.workflows)
        self.limits = ProcessLimits(self._call, shared.limits)
        self.http_tasks = shared.http_tasks
        self._uncertain: list[Job] = []
        self.schedules: ScheduleStore = ProcessSchedules(self._call, shared.schedules)

    # ---- writes

    def insert(
        self, requests: Sequence[Sequence[Job]], *, abandoned: Callable[[int], bool] = lambda number: False, seen: Seen = nobody
    ) -> list[Insertion]:  # fmt: skip
        return self._call("insert", lambda: self._shared.insert(requests, abandoned=abandoned, seen=seen), writes=True)

    def claim_due(
        self, *, owner: str, now: datetime, lease_s: float, allocation: Allocation, served: Served = ANYTHING
    ) -> Claimed:  # fmt: skip
        doubt, self._uncertain = self._uncertain, []
        if doubt:
            self._uncertain = doubt
            won = self._call("claim in doubt", lambda: [job for job in doubt if self._still_runs(job)])
            self._uncertain = []
            if won:
                return Claimed(jobs=won)

        def claim() -> Claimed:
            claimed = self._shared.claim_due(owner=owner, now=now, lease_s=lease_s, allocation=allocation, served=served)
            self._uncertain = claimed.jobs
            return claimed

        claimed = self._call("claim_due", claim, writes=True)
        self._uncertain = []
        return claimed

    def runs_lost_job(self, owner: str, *, at_least: int) -> bool:
        """Asked while a claim is under way, so it takes no time of its own."""
        return self._shared.runs_lost_job(owner, at_least=at_least)

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        if not changes:
            return []
        name = "apply " + " ".join(f"{change.verb}:{change.job_id[-6:]}@{change.epoch}" for change in changes)
        part = self._queue.chance.randrange(len(changes)) if self._conditions.is_partial else None
        return self._call(name, lambda: self._shared.apply(changes), writes=True, partly=lambda: self._apply_part(changes, part))

    def free_key(self, key: str, *, now: datetime) -> Job | None:
        return self._call("free_key", lambda: self._shared.free_key(key, now=now), writes=True)

    def purge(self, *, before: datetime, limit: int, statuses: Sequence[Status] = TERMINAL) -> int:
        return self._call("purge", lambda: self._shared.purge(before=before, limit=limit, statuses=statuses), writes=True)

    def delete(self, jobs: Sequence[Job]) -> list[bool]:
        return self._call("delete", lambda: self._shared.delete(jobs), writes=True)

    def mend(self, *, now: datetime, thorough: bool) -> None:
        self._call("mend", lambda: self._shared.mend(now=now, thorough=thorough), writes=True)

    def renew(self, sign: HostHeartbeat) -> None:
        sent_at = self._queue.now
        self._call("renew", lambda: self._shared.renew(sign), writes=True)
        self._shared.checker.note_renewed(self._process, sent_at)

    def forget_host(self, boot: str, *, renewal: int) -> None:
        self._call("forget_host", lambda: self._shared.forget_host(boot, renewal=renewal), writes=True)

    # ---- reads

    def find(self, job_ids: Sequence[str], *, whole: bool = True) -> list[Job | None]:
        return self._call("find", lambda: self._shared.find(job_ids, whole=whole))

    def ended(self, job_ids: Sequence[str]) -> list[str]:
        return self._call("ended", lambda: self._shared.ended(job_ids))

    def version(self) -> object | None:
        return self._call("version", self._shared.version)

    def list_jobs(
        self, wanted: JobFilter, *, limit: int, cursor: str | None = None, max_bytes: int = PAGE_BYTES, whole: bool = True,
        look: int = LOOK,
    ) -> Page:  # fmt: skip
        def read() -> Page:
            return self._shared.list_jobs(wanted, limit=limit, cursor=cursor, max_bytes=max_bytes, whole=whole, look=look)

        return self._call("list_jobs", read)

    def count_jobs(self, wanted: JobFilter, *, look: int = COUNT_LOOK) -> Count:
        return self._call("count_jobs", lambda: self._shared.count_jobs(wanted, look=look))

    def count_ahead(self, job: Job, *, now: datetime, served: Served = ANYTHING, look: int = AHEAD_LOOK) -> Count:
        return self._call("count_ahead", lambda: self._shared.count_ahead(job, now=now, served=served, look=look))

    def counts(self) -> dict[Status, int]:
        return self._call("counts", self._shared.counts)

    def next_due(self, *, served: Served = ANYTHING) -> datetime | None:
        return self._call("next_due", lambda: self._shared.next_due(served=served))

    def due(self, *, now: datetime, limit: int, served: Served = ANYTHING) -> list[Job]:
        return self._call("due", lambda: self._shared.due(now=now, limit=limit, served=served))

    def count_due(self, *, now: datetime, served: Served = ANYTHING, look: int = AHEAD_LOOK) -> Due:
        return self._call("count_due", lambda: self._shared.count_due(now=now, served=served, look=look))

    def expired(self, *, now: datetime, limit: int) -> list[Job]:
        return self._call("expired", lambda: self._shared.expired(now=now, limit=limit))

    def next_expiry(self) -> datetime | None:
        return self._call("next_expiry", self._shared.next_expiry)

    def held_by(self, owner: str, *, limit: int, after: str | None = None) -> list[Job]:
        return self._call("held_by", lambda: self._shared.held_by(owner, limit=limit, after=after))

    def http_leases(self) -> list[HttpLease]:
        return self._call("http_leases", self._shared.http_leases)

    def holders(self) -> list[str]:
        return self._call("holders", self._shared.holders)

    def cancel_requests(self, owner: str) -> list[str]:
        return self._call("cancel_requests", lambda: self._shared.cancel_requests(owner))

    def executions(self, job_id: str, *, max_bytes: int = EXECUTIONS_BYTES) -> list[Execution]:
        return self._call("executions", lambda: self._shared.executions(job_id, max_bytes=max_bytes))

    def outputs(self, job_id: str, *, max_bytes: int = OUTPUTS_BYTES) -> list[Output]:
        return self._call("outputs", lambda: self._shared.outputs(job_id, max_bytes=max_bytes))

    def hosts(self, *, confirmed: bool = False) -> list[HostHeartbeat]:
        return self._call("hosts", lambda: self._shared.hosts(confirmed=confirmed))

    def ping(self) -> str:
        return self._call("ping", self._shared.ping)

    def close(self) -> None:
        """There is nothing to release."""

    # ---- performing a call

    def _call(
        self, what: str, act: Callable[[], Answer], *, writes: bool = False, partly: Callable[[], object] | None = None
    ) -> Answer:  # fmt: skip
        conditions = self._conditions
        self._process.side_effect(what)
        self._wait()
        if self._queue.now < conditions.down_until or self._queue.happens(conditions.refusal_rate):
            self._fail(what, "did nothing")
        if self._queue.happens(conditions.broken_rate):
            self._queue.note(self._process.who, what, "✗ broken")
            raise StoreBroken("the disk fails")
        is_lost = self._queue.happens(conditions.lost_reply_rate)
        self._shared.writer = self._process
        if is_lost and partly is not None and conditions.is_partial and self._queue.happens(0.5):
            partly()
            self._fail(what, "did a part of it", may_be_stored=True)
        answer = act()
        if writes:
            self._queue.note(self._process.who, what, answer if isinstance(answer, list) else "")
            self._process.side_effect(f"the answer to {what}")
        self._wait()
        if is_lost:
            self._fail(what, "did it, but the reply was lost", may_be_stored=writes)
        return answer

    def _wait(self) -> None:
        if self._queue.happens(self._conditions.delay_rate):
            self._process.pass_time(self._queue.between(0, self._conditions.delay_s))

    def _fail(self, what: str, how: str, *, may_be_stored: bool = False) -> None:
        self._queue.note(self._process.who, what, "✗", how)
        raise StoreUnavailable(how, may_be_stored=may_be_stored)

    def _apply_part(self, changes: Sequence[Change], skipped: int | None) -> None:
        self._shared.apply([change for index, change in enumerate(changes) if index != skipped])

    def _still_runs(self, begun: Job) -> bool:
        job = self._shared.job(begun.job_id)
        return job is not None and job.status is Status.RUNNING and job.epoch == begun.epoch
