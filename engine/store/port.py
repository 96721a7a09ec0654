"""The guarantees of every store. The adapters (`sqlite`, `mongo`) add nothing to them, and one test suite covers all.

Values go in and come out: no cursor, client or SQL crosses this interface, and no store reads a clock or uses randomness. Times
are aware UTC datetimes in milliseconds. Every write is one transaction, applied as a whole or not at all, and guarded: a caller
with an older epoch changes nothing. The process that uses a store opens it after its fork; a store never crosses a fork.

Any method may raise `StoreUnavailable`. Then the transaction did not happen, or its reply was lost, which the guard reveals on
retry (for an `insert`, `may_be_stored` says which, and inserting the same jobs again stores them once).

Several hosts may share a store. Such a store also implements `Hosts`: it keeps each host's heartbeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

import msgspec

from jobyard.engine.jobs.job import Execution, HttpLease, Job, JobFilter, Output, Status
from jobyard.engine.jobs.lifecycle import TERMINAL, Change
from jobyard.engine.store.bounds import AHEAD_LOOK, COUNT_LOOK, EXECUTIONS_BYTES, LOOK, OUTPUTS_BYTES, PAGE_BYTES
from jobyard.engine.store.limit_port import LimitStore
from jobyard.engine.store.named_port import NamedRows
from jobyard.engine.store.report_port import ReportStore
from jobyard.engine.store.schedule_port import ScheduleStore
from jobyard.engine.workflows.acceptance import NotAccepted
from jobyard.engine.workflows.port import WorkflowStore


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs, newest first; `cursor` leads to the next page and is None on the last."""

    jobs: list[Job]
    cursor: str | None


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """A number of jobs; if not `is_exact`, there are at least that many, and counting stopped there."""

    count: int
    is_exact: bool = True


class Inserted(msgspec.Struct, frozen=True, kw_only=True):
    """The request is stored. `job_ids` are in the order of its jobs; `repeated` says how many of them the idempotency keys knew.

    `existing`: the indexes of the jobs that stand for another, by their unique keys; `replaced`: those among them that brought it
    newer data, `replaced_due_at` the earliest time that it is due at. `status`: that of the request's last new job.
    """

    job_ids: list[str]
    repeated: int = 0
    existing: tuple[int, ...] = ()
    replaced: tuple[int, ...] = ()
    replaced_due_at: datetime | None = None
    status: Status = Status.PENDING

    @property
    def stored(self) -> int:
        """How many jobs were stored."""
        return len(self.job_ids) - self.repeated - len(self.existing)


class KeyTaken(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing of the request is stored: job `index` has an idempotency key that was used with a different request body."""

    index: int
    job_id: str


class NotUnique(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing of the request is stored: job `index` has a unique key that another job holds (None: one of the same request)."""

    index: int
    key: str
    job_id: str | None


class Abandoned(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing of the request is stored: its client no longer waits."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A due job that may be claimed. `size`: bytes of its payload, 0 if the store cannot tell cheaply."""

    task: str
    lost_count: int
    size: int = 0


class Allocation(Protocol):
    """Decides for each due job, in claiming order, at which worker it begins."""

    @property
    def most(self) -> int:
        """The number of jobs that can be placed at most; 0 if it is full."""

    def place(self, candidate: Candidate) -> str | None:
        """The owner name of the worker that begins the job; None if no worker may begin it now."""


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs that were claimed and begun, in claiming order; `conflicts`: the due jobs that another claimer took first.

    `asked`: running jobs that were asked to cancel because a new one takes their place, before and after.
    """

    jobs: list[Job]
    conflicts: int = 0
    asked: list[tuple[Job, Job]] = []


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """The number of due jobs of each priority 0 to 9, as far as they were counted."""

    counts: list[int]
    is_exact: bool = True


Record = tuple[Job, list[Execution], list[Output]]
"""A job with everything that is stored about it."""


class RememberedKey(msgspec.Struct, frozen=True, kw_only=True):
    """An idempotency key whose request was answered with another job, by its unique key; `is_replaced`: that got its data."""

    key: str
    job_id: str
    digest: bytes | None
    is_replaced: bool


Insertion = Inserted | KeyTaken | NotUnique | NotAccepted | Abandoned
Seen = Callable[[list[Insertion]], None]


def nobody(insertions: list[Insertion]) -> None:
    """Ignores the insertions."""


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What a host can run: it claims only jobs of these tasks and queues; None means any."""

    tasks: tuple[str, ...] | None = None
    queues: tuple[str, ...] | None = None


ANYTHING = Served()
CAUTION = "; caution: "
"""Precedes each caution in the description of a database, such as `SQLite 3.53.4`."""


class HostHeartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """A host's heartbeat. `renewal` only ever rises; `seen_at` is informational, by that host's own clock.

    A host is one start of Jobyard, named by its boot. `lease_s` is its own setting; `tasks` are those it serves, as JSON text
    (name → options); `queues` those whose jobs it runs (None: all); `schedules` those that its modules declare (None: not known).
    """

    boot: str
    host: str
    renewal: int
    seen_at: datetime
    lease_s: float = 30
    tasks: bytes = b"{}"
    queues: tuple[str, ...] | None = None
    schedules: tuple[str, ...] | None = None


class Store(Protocol):
    """The source of truth for jobs, schedules and limits."""

    schedules: ScheduleStore
    hooks: NamedRows
    """See `hooks.hook`. Each event that a change is makes one delivery job for each hook that selects it, whatever dies."""

    http_tasks: NamedRows
    """The tasks that HTTP workers run, see `leases.declared_tasks`. One cannot be deleted while jobs of it live."""
    limits: LimitStore
    workflows: WorkflowStore
    reports: ReportStore

    def insert(
        self, requests: Sequence[Sequence[Job]], *, abandoned: Callable[[int], bool] = lambda number: False, seen: Seen = nobody
    ) -> list[Insertion]:  # fmt: skip
        """T1. Store each request's jobs, all or none per request, in one commit that is on disk when this returns.

        A job whose `job_id` is already stored is the same request sent again: nothing changes, and it counts as stored (not as
        repeated). A job whose `idempotency_key` is stored with the same `request_digest` gets that job's id (counted in
        `repeated`); with another digest, its whole request is refused. A job whose `held_key` another job holds is decided by
        `jobs.unique.verdict`, and its idempotency key is remembered with the holder. The same holds between the jobs of one call.
        New jobs that wait for others, or are members of groups, are decided by `workflows.acceptance`.
        `abandoned(i)` is called for each request that would store a job, when only the commit remains to wait for; a request whose
        jobs are all known by their keys succeeds in any case. `seen` receives the results as soon as other processes may see them,
        when it is not yet certain that they will be on disk.
        """

    def find(self, job_ids: Sequence[str], *, whole: bool = True) -> list[Job | None]:
        """The jobs with these ids, in this order; None where there is none. Unless `whole`, see `jobs.job.without_payload`."""

    def ended(self, job_ids: Sequence[str]) -> list[str]:
        """Those of the jobs that have ended or do not exist; cheap for many."""

    def version(self) -> object | None:
        """Changes whenever anyone commits anything; cheap. None: the store cannot tell."""

    def list_jobs(
        self, wanted: JobFilter, *, limit: int, cursor: str | None = None, max_bytes: int = PAGE_BYTES, whole: bool = True,
        look: int = LOOK,
    ) -> Page:  # fmt: skip
        """Newest first by `created_at`; at most `limit` jobs, and at most `max_bytes` of `bounds.shown_bytes` after the first.

        A page ends early, perhaps empty but with a cursor, once `look` jobs or about `LOOK_BYTES` of their texts were examined.
        The cursor is opaque text. Jobs inserted later never shift or repeat a page. Unless `whole`, the jobs have no payloads.
        Raises `InvalidRequest` (code `invalid_cursor`) if the cursor is not valid.
        """

    def count_jobs(self, wanted: JobFilter, *, look: int = COUNT_LOOK) -> Count:
        """The number of matching jobs among at most `look` examined; fewer are examined where that is slow."""

    def count_ahead(self, job: Job, *, now: datetime, served: Served = ANYTHING, look: int = AHEAD_LOOK) -> Count:
        """The number of due pending jobs that are claimed before this pending one; at most `look` per priority are examined."""

    def counts(self) -> dict[Status, int]:
        """Jobs by status, all eight; exact, and cheap however many jobs are stored."""

    def next_due(self, *, served: Served = ANYTHING) -> datetime | None:
        """The earliest time at which a served pending job may begin, or None. Those that wait for an event do not count."""

    def due(self, *, now: datetime, limit: int, served: Served = ANYTHING) -> list[Job]:
        """The first served due jobs, in claiming order; see `jobs.job.without_payload`."""

    def count_due(self, *, now: datetime, served: Served = ANYTHING, look: int = AHEAD_LOOK) -> Due:
        """The number of served due jobs by priority; at most `look` per priority are examined."""

    def claim_due(
        self, *, owner: str, now: datetime, lease_s: float, allocation: Allocation, served: Served = ANYTHING
    ) -> Claimed:  # fmt: skip
        """T2, T3 and T4 at once, for many jobs: due jobs become `running` at the worker that `allocation` names; epoch + 2.

        Claimed by `owner`; one claimer wins each. Ordered by priority (highest first), then `scheduled_at`, then insertion. Lanes
        of one priority take turns; within a lane the same order holds. Nothing begins that a limit stands against. Claims until
        the allocation is full; a job that it places nowhere is skipped. Takes no lock if nothing is due or the allocation is
        full from the start. May claim fewer than it could. If the reply to a claim was lost, the next call on the
        same store returns its result.
        """

    def runs_lost_job(self, owner: str, *, at_least: int) -> bool:
        """Whether a job that this owner runs has been lost `at_least` times before. May be called while `claim_due` allocates."""

    def free_key(self, key: str, *, now: datetime) -> Job | None:
        """The job that holds this unique key, without its payload; None after taking the key from one that holds it no longer."""

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        """Apply each change as a whole or not at all, all in one commit; True where the guard matched. Later ones see earlier ones.

        A change that takes a `held_key` that another job has is not applied. Slots of limits become free in the same commit.

        An execution is stored as a row (`job_id`, `attempt`) in the same transaction as its change. So is an output, or,
        where a transaction is one document, just before it: whoever sees the attempt ended finds its output.
        """

    def expired(self, *, now: datetime, limit: int) -> list[Job]:
        """Jobs that must not begin any more (`lifecycle.has_expired`), earliest first, as `jobs.job.without_payload`."""

    def next_expiry(self) -> datetime | None:
        """The earliest time at which a job expires that has not begun; None when there is none."""

    def held_by(self, owner: str, *, limit: int, after: str | None = None) -> list[Job]:
        """Jobs in `claimed`, `queued` or `running` whose `Job.holder` is the owner, ordered by `job_id`, after the id `after`.

        All are `jobs.job.without_payload`, which suffices to recover them.
        """

    def holders(self) -> list[str]:
        """Every owner that currently holds at least one job."""

    def http_leases(self) -> list[HttpLease]:
        """Every running job that an HTTP worker holds (`owners.http_owner`), in no order."""

    def cancel_requests(self, owner: str) -> list[str]:
        """The ids of the jobs that this owner runs and whose cancellation was requested."""

    def executions(self, job_id: str, *, max_bytes: int = EXECUTIONS_BYTES) -> list[Execution]:
        """The latest attempts at a job, oldest first, stopping after the first that exceeds `max_bytes`.

        Each counts `ROW_BYTES` plus the UTF-8 length of its texts.
        """

    def outputs(self, job_id: str, *, max_bytes: int = OUTPUTS_BYTES) -> list[Output]:
        """The outputs of the latest attempts that printed anything, oldest first, up to the first past `max_bytes` of UTF-8."""

    def purge(self, *, before: datetime, limit: int, statuses: Sequence[Status] = TERMINAL) -> int:
        """T16. Remove at most `limit` jobs that ended in one of these statuses before that time, with all their data; how many.

        The oldest of each status come first. Those that have a unique key remain until their window, too, ended before that time;
        those that a living job waits for or may read, and members of living groups, remain as long as that is so.
        """

    def delete(self, jobs: Sequence[Job]) -> list[bool]:
        """Remove ended jobs with all their data, in one commit; True where the job was still at this status and epoch, and no
        living job waits for it or may read it.

        Its unique key is free, and what its idempotency key was remembered for is forgotten.
        """

    def mend(self, *, now: datetime, thorough: bool) -> None:
        """Complete or undo unfinished writes of processes that died long before `now`. `thorough`: also recount the jobs."""

    def ping(self) -> str:
        """Check that the database is reachable; returns its name and version (`SQLite 3.53.4`)."""

    def close(self) -> None:
        """Close the database; the store cannot be used afterwards."""


class Feed(Protocol):
    """Notifies as soon as possible that another host has accepted jobs; the next poll finds what it misses."""

    @property
    def fd(self) -> int:
        """A descriptor that becomes readable on a notification."""

    def clear(self) -> None:
        """Acknowledge the notifications; must be called before looking for jobs."""


@runtime_checkable
class Hosts(Protocol):
    """The hosts that are alive, in a shared store; see `hosts.failure_detector` for what follows from it."""

    def renew(self, sign: HostHeartbeat) -> None:
        """Record a heartbeat: the host's renewal rises by one (the number in `sign` is ignored), everything else is replaced."""

    def hosts(self, *, confirmed: bool = False) -> list[HostHeartbeat]:
        """Every known host, in no order. `confirmed`: no older than this call, even where a deposed primary could answer."""

    def forget_host(self, boot: str, *, renewal: int) -> None:
        """Remove a host if it still has this renewal, because it is silent and holds nothing."""
