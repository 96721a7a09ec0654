"""THE state machine of a job: one table, one function per verb. A status is decided nowhere else.

    ──▶ BLOCKED ─────────────── cancel ──────────────────────────▶ CANCELLED        (blocked, pending) ── replace ──▶ the same
         │   ▲─────────────────────────────────── retry ─── (failed, cancelled)
       unblock
         ▼
                 claim           enqueue            begin             complete
    ──▶ PENDING ───────▶ CLAIMED ───────▶ QUEUED ────────▶ RUNNING ────────────▶ COMPLETED
          ▲  ▲ ▲            │               │               │  │ │
          │  │ └── recover ─┴───────────────┘               │  │ └─ fail ─────▶ FAILED ─────┐
          │  └──── postpone · recover · release · return ───┘  └─── abandon ──▶ CANCELLED ──┤
          │                                                         ▲                       │
          │        (pending, claimed, queued) ─────────── cancel ───┘                       │
          └───────────────────────────────────── retry ─────────────────────────────────────┘

Every verb is a pure function: it takes a job, facts and `now`, and returns a `Change`. A change is data: the job, the guard (its
status and epoch), the new fields, and the execution. A store applies it as a whole or refuses it. The epoch rises whenever the job
changes hands, so a former holder can no longer change it: a refused change is an ordinary result, not an error.

A unique key is given up by the change that begins or ends its job (see `jobs.unique`). Slots of limits are the store's: it takes
them when a job begins, and frees them in the commit of the change by which it stops running.

A job whose worker or host dies uses up no retry: `recover` counts `lost_count` instead, up to `MAX_LOST`. An attempt whose task
never started is undone by `return`: it leaves neither a count nor an execution.

Claim, enqueue and begin happen in one commit (`Store.claim_due`), so no reader sees a job between them. An HTTP worker that holds
a job may `extend` its lease, which stays what it is otherwise.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from jobyard.engine.jobs.expiry import expiring_again, expiring_anew, expiry, never_expiring
from jobyard.engine.jobs.job import CancelledBecause, Execution, ExecutionStatus, Job, Outcome, Output, Status
from jobyard.engine.jobs.retry_delay import retry_delay


class Verb(StrEnum):
    """An operation on a job."""

    CLAIM = "claim"
    ENQUEUE = "enqueue"
    BEGIN = "begin"
    COMPLETE = "complete"
    POSTPONE = "postpone"
    FAIL = "fail"
    ABANDON = "abandon"
    RELEASE = "release"
    RETURN = "return"
    CANCEL = "cancel"
    REQUEST_CANCEL = "request_cancel"
    RECOVER = "recover"
    RETRY = "retry"
    UNBLOCK = "unblock"
    REPLACE = "replace"
    EXTEND = "extend"
    RUN = "run"
    TAG = "tag"

    __hash__ = str.__hash__  # see `Status`


HELD = (Status.CLAIMED, Status.QUEUED, Status.RUNNING)
EXPIRED = "expired"
TERMINAL = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)

TABLE: dict[tuple[Status, Verb], tuple[Status, ...]] = {
    (Status.PENDING, Verb.CLAIM): (Status.CLAIMED,),
    (Status.CLAIMED, Verb.ENQUEUE): (Status.QUEUED,),
    (Status.CLAIMED, Verb.BEGIN): (Status.RUNNING,),
    (Status.QUEUED, Verb.BEGIN): (Status.RUNNING,),
    (Status.RUNNING, Verb.COMPLETE): (Status.COMPLETED,),
    (Status.RUNNING, Verb.POSTPONE): (Status.PENDING,),
    (Status.RUNNING, Verb.FAIL): (Status.FAILED,),
    (Status.RUNNING, Verb.ABANDON): (Status.CANCELLED,),
    (Status.RUNNING, Verb.RELEASE): (Status.PENDING,),
    (Status.RUNNING, Verb.RETURN): (Status.PENDING, Status.CANCELLED),
    (Status.BLOCKED, Verb.CANCEL): (Status.CANCELLED,),
    (Status.PENDING, Verb.CANCEL): (Status.CANCELLED,),
    (Status.CLAIMED, Verb.CANCEL): (Status.CANCELLED,),
    (Status.QUEUED, Verb.CANCEL): (Status.CANCELLED,),
    (Status.RUNNING, Verb.REQUEST_CANCEL): (Status.RUNNING,),
    (Status.CLAIMED, Verb.RECOVER): (Status.PENDING,),
    (Status.QUEUED, Verb.RECOVER): (Status.PENDING,),
    (Status.RUNNING, Verb.EXTEND): (Status.RUNNING,),
    (Status.RUNNING, Verb.RECOVER): (Status.PENDING, Status.FAILED, Status.CANCELLED),
    (Status.FAILED, Verb.RETRY): (Status.PENDING, Status.BLOCKED),
    (Status.CANCELLED, Verb.RETRY): (Status.PENDING, Status.BLOCKED),
    (Status.BLOCKED, Verb.UNBLOCK): (Status.PENDING,),
    (Status.BLOCKED, Verb.REPLACE): (Status.BLOCKED,),
    (Status.PENDING, Verb.REPLACE): (Status.PENDING,),
    (Status.PENDING, Verb.RUN): (Status.PENDING,),
    **{(status, Verb.TAG): (status,) for status in Status},
}
"""(status, verb) → the possible next statuses. Everything else is refused."""


class IllegalTransition(Exception):
    """The verb is not allowed in the job's state: a bug in Jobyard, never a client's mistake."""


class Change(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One guarded write. It is applied as a whole, or not at all if the job is no longer at `status` and `epoch`.

    `unless_cancelled` also refuses if cancellation was requested in the meantime, `unless_extended` (the end of the lease that was
    read) if an HTTP worker has extended its lease; `lane` is that of the job before it. `fields` are the job's new values (never
    `job_id`), the same set of names for each verb, plus what the change gives up or takes (`held_key`) and its cause.
    `execution` is the complete row to store with it; `output` is what its attempt printed.
    """

    verb: Verb
    job_id: str
    status: Status
    epoch: int
    fields: dict[str, object]
    unless_cancelled: bool = False
    unless_extended: datetime | None = None
    lane: str | None = None
    execution: Execution | None = None
    output: Output | None = None

    def after(self, job: Job) -> Job:
        """The job after this change."""
        return msgspec.structs.replace(job, **self.fields)


def may(job: Job, verb: Verb) -> bool:
    """Whether the verb is allowed in the job's state."""
    return (job.status, verb) in TABLE


def is_terminal(job: Job) -> bool:
    """Whether the job has reached a final state, which only `retry` leaves."""
    return job.status in TERMINAL


def claim(job: Job, *, owner: str, now: datetime) -> Change:
    """T2: a watcher claims the job. `Store.claim_due` does this, `enqueue` and `begin` for many jobs at once."""
    return _change(job, Verb.CLAIM, Status.CLAIMED, now, epoch=job.epoch + 1, claimed_by=owner, claimed_at=now)


def enqueue(job: Job, *, now: datetime) -> Change:
    """T3: the job is about to be pushed to the queue, which has reserved a place at a worker for it."""
    return _change(job, Verb.ENQUEUE, Status.QUEUED, now, queued_at=now)


def begin(job: Job, *, owner: str, now: datetime, lease_s: float) -> Change:
    """T4: an attempt at worker `owner` begins. Must be stored before the task's first line runs."""
    attempt = job.attempt + 1
    execution = Execution(
        execution_id=execution_id(job.job_id, attempt), job_id=job.job_id, attempt=attempt, worker_id=owner,
        status=ExecutionStatus.RUNNING, started_at=now,
    )  # fmt: skip
    return _change(
        job, Verb.BEGIN, Status.RUNNING, now, execution=execution, epoch=job.epoch + 1, attempt=attempt,
        locked_by=owner, locked_until=now + timedelta(seconds=lease_s), last_run_at=now, next_run_at=None,
        **given_up_by_begin(job, now), **never_expiring(job),
    )  # fmt: skip


def settle(job: Job, outcome: Outcome, *, now: datetime, retry_base_s: float, retry_max_s: float | None = None) -> Change:
    """T5 to T8 and T14: decide what an attempt's outcome means for its job. See `retry_delay` for base and maximum."""
    execution = _ended(job, outcome, now)
    if outcome.status is ExecutionStatus.SUCCESS:
        return _end(job, Verb.COMPLETE, Status.COMPLETED, now, execution, result=outcome.result, error=None)
    if outcome.status is ExecutionStatus.CANCELLED or job.cancel_requested_at is not None:
        return _end(job, Verb.ABANDON, Status.CANCELLED, now, execution, result=None, error=outcome.error)
    if outcome.status is ExecutionStatus.RELEASED:
        return _again(job, Verb.RELEASE, now, execution, due=now, error=job.error)
    if outcome.unrecoverable or job.retry_count >= job.max_retries:
        return _end(job, Verb.FAIL, Status.FAILED, now, execution, result=None, error=outcome.error)
    retry_count = job.retry_count + 1
    due = now + retry_delay(retry_count, retry_base_s=retry_base_s, retry_max_s=retry_max_s, wish_s=outcome.retry_delay_s)
    return _again(job, Verb.POSTPONE, now, execution, due=due, error=outcome.error, retry_count=retry_count)


def return_unstarted(job: Job, *, now: datetime) -> Change:
    """T4 undone: the attempt was begun, but no line of its task ran. It uses up no attempt and leaves no execution.

    If cancellation was requested meanwhile, the job ends as if it had never been claimed.
    """
    status = Status.PENDING if job.cancel_requested_at is None else Status.CANCELLED
    is_over = status is Status.CANCELLED
    return _change(
        job, Verb.RETURN, status, now, unless_cancelled=not is_over, epoch=job.epoch + 1, attempt=job.attempt - 1,
        claimed_by=None, claimed_at=None, queued_at=None, locked_by=None, locked_until=None,
        last_run_at=job.last_run_at if job.attempt > 1 else None,
        next_run_at=job.scheduled_at if job.retry_count and not is_over else None, finished_at=now if is_over else None,
        **(_given_up(job, now) if is_over else expiring_again(job)),
    )  # fmt: skip


def extend(job: Job, *, now: datetime, until: datetime) -> Change:
    """An HTTP worker keeps its lease until then."""
    return _change(job, Verb.EXTEND, Status.RUNNING, now, locked_until=until)


def execution_id(job_id: str, attempt: int) -> str:
    """The id of an execution, derived from its job and attempt, so that whoever ends it names the row that was begun."""
    return f"{job_id}-{attempt}"


def cancel(job: Job, *, now: datetime, because: CancelledBecause | None = None) -> Change:
    """T9 and T10: cancel at once if the job is not running; otherwise record a request for the worker that runs it.

    `because`: the cause, where it is not a client's request.
    """
    cause: dict[str, Any] = {} if because is None else {"cancelled_because": because}
    if job.status is Status.RUNNING:
        return _change(job, Verb.REQUEST_CANCEL, Status.RUNNING, now, cancel_requested_at=job.cancel_requested_at or now, **cause)
    return _change(
        job, Verb.CANCEL, Status.CANCELLED, now, epoch=job.epoch + 1, cancel_requested_at=now, finished_at=now,
        next_run_at=None, **_given_up(job, now), **never_expiring(job), **cause,
    )  # fmt: skip


def has_expired(job: Job, now: datetime) -> bool:
    """Whether the job must not begin any more: its time was up before it began."""
    return job.lapses_at is not None and job.lapses_at <= now


def expire(job: Job, *, now: datetime) -> Change:
    """T9: cancel a job whose time was up before it began."""
    return _change(
        job, Verb.CANCEL, Status.CANCELLED, now, epoch=job.epoch + 1, finished_at=now, next_run_at=None, lapses_at=None,
        error=f"expired: it had not begun {job.expires_s or 0:g} s after its time",
        cancelled_because=CancelledBecause(reason=EXPIRED), **_given_up(job, now),
    )  # fmt: skip


def retry(job: Job, *, now: datetime, is_blocked: bool = False) -> Change:
    """T15: a client requests a fresh set of retries; past attempts stay counted. `is_blocked`: what it waits for lives again.

    A unique key that was held until the end is taken again, which the store refuses if another job has it in `held_key`.
    """
    to = Status.BLOCKED if is_blocked else Status.PENDING
    return _live_again(job, to, now, scheduled_at=now, **expiring_anew(job, now))


def restore(job: Job, *, now: datetime) -> Change:
    """A retry brought back the cause for which the job was cancelled: it waits again, and keeps its time."""
    expiring = {} if job.expires_at is None else {"lapses_at": job.expires_at}
    return _live_again(job, Status.BLOCKED, now, scheduled_at=job.scheduled_at, **expiring)


def blocked(job: Job, *, to_resolve: bool) -> Job:
    """A new job that must wait for others. `to_resolve`: it is not certain that their end will be noticed."""
    return msgspec.structs.replace(job, status=Status.BLOCKED, to_resolve=to_resolve or None)


def unblock(job: Job, *, now: datetime) -> Change:
    """The last thing that the job waited for has ended as it should."""
    return _change(job, Verb.UNBLOCK, Status.PENDING, now, epoch=job.epoch + 1)


def _live_again(job: Job, to: Status, now: datetime, **fields: Any) -> Change:
    again: dict[str, Any] = {}
    if job.held_key is None and job.unique is not None and job.unique.until == "ended":
        again["held_key"] = job.unique_key
    if job.cancelled_because is not None:
        again["cancelled_because"] = None
    if job.is_awaited is not None or to is Status.BLOCKED:
        again |= {"to_resolve": True, "is_awaited": None if job.is_awaited is None else True}
    return _change(
        job, Verb.RETRY, to, now, epoch=job.epoch + 1, retry_count=0, lost_count=0, claimed_by=None, claimed_at=None,
        queued_at=None, next_run_at=None, finished_at=None, result=None, error=None, cancel_requested_at=None, **again, **fields,
    )  # fmt: skip


def replace(job: Job, new: Job, *, now: datetime, due: datetime) -> Change:
    """A unique submission brought newer data for a job that has not begun, which stays that of its fire, unless `new` is a fire."""
    expires_at, fire = expiry(due, new.expires_s), job if new.fire_at is None else new
    return _change(
        job, Verb.REPLACE, job.status, now, epoch=job.epoch + 1, scheduled_at=due, payload=new.payload, priority=new.priority,
        queue=new.queue, max_retries=new.max_retries, timeout_s=new.timeout_s, retry_count=0, next_run_at=None, error=None,
        schedule=fire.schedule, fire_at=fire.fire_at, lane=fire.lane, expires_at=expires_at, lapses_at=expires_at, tags=new.tags,
        unique=job.unique, limit=new.limit, after=job.after, run_if=job.run_if, ref=job.ref, expires_s=new.expires_s,
        traceparent=new.traceparent, tracestate=new.tracestate,
    )  # fmt: skip


def edit(job: Job, verb: Verb, *, now: datetime, **fields: Any) -> Change:
    """Change some of the job's values on request, and not its state; see `jobs.edits`."""
    return _change(job, verb, job.status, now, **fields)


def is_last_chance(job: Job, *, max_lost: int) -> bool:
    """Whether one more loss would fail the job. Such a job may kill its workers, or may just have been running beside one that
    does. A worker therefore runs only one of them at a time, so each can only be lost by its own doing.
    """
    return job.lost_count >= max(1, max_lost - 1)


def recover(job: Job, *, now: datetime, max_lost: int, died: str | None = None) -> Change:
    """T11 to T13: the holder is proven dead. A job that had not begun is recovered for free; one that had gets `lost_count` + 1."""
    if job.status is not Status.RUNNING:
        return _change(
            job, Verb.RECOVER, Status.PENDING, now, epoch=job.epoch + 1, claimed_by=None, claimed_at=None,
            queued_at=None, locked_by=None, locked_until=None, scheduled_at=job.scheduled_at, lost_count=job.lost_count,
            finished_at=None, error=job.error,
        )  # fmt: skip
    lost_count = job.lost_count + 1
    died = died or f"{job.locked_by} died"
    error = f"lost: {died} while it ran attempt {job.attempt} (lost {lost_count} of at most {max_lost} times)"
    execution = _ended(job, Outcome(status=ExecutionStatus.LOST, error=error), now)
    status = Status.PENDING
    if job.cancel_requested_at is not None:
        status = Status.CANCELLED
    elif lost_count >= max_lost:
        status = Status.FAILED
    ended = status is not Status.PENDING
    return _change(
        job, Verb.RECOVER, status, now, execution=execution, unless_cancelled=status is not Status.CANCELLED,
        epoch=job.epoch + 1, lost_count=lost_count, claimed_by=job.claimed_by if ended else None,
        claimed_at=job.claimed_at if ended else None, queued_at=job.queued_at if ended else None, locked_by=None,
        locked_until=None, scheduled_at=job.scheduled_at if ended else now, finished_at=now if ended else None, error=error,
        **(_given_up(job, now) if ended else {}),
    )  # fmt: skip


def _end(
    job: Job, verb: Verb, status: Status, now: datetime, execution: Execution, *, result: bytes | None, error: str | None
) -> Change:  # fmt: skip
    return _change(
        job, verb, status, now, execution=execution, unless_cancelled=verb is Verb.FAIL and job.cancel_requested_at is None,
        epoch=job.epoch + 1, locked_by=None, locked_until=None, finished_at=now, result=result, error=error,
        **_given_up(job, now),
    )  # fmt: skip


def _given_up(job: Job, now: datetime, *, begins: bool = False) -> dict[str, Any]:
    """What the job holds no longer once it has ended, or begins."""
    if job.held_key is None:
        return {}
    ends_hold = not begins or (job.unique is not None and job.unique.until == "begun")
    return {"held_key": None} if ends_hold and (job.held_until is None or job.held_until <= now) else {}


def after_begin(job: Job, now: datetime) -> Job:
    """A job that `Store.claim_due` has begun, without what it gave up."""
    given_up = given_up_by_begin(job, now)
    return msgspec.structs.replace(job, **given_up) if given_up else job


def given_up_by_begin(job: Job, now: datetime) -> dict[str, Any]:
    """The fields of what a job holds no longer once it has begun; `Store.claim_due` needs them by themselves."""
    return _given_up(job, now, begins=True)


def _again(
    job: Job, verb: Verb, now: datetime, execution: Execution, *, due: datetime, error: str | None,
    retry_count: int | None = None,
) -> Change:  # fmt: skip
    return _change(
        job, verb, Status.PENDING, now, execution=execution, unless_cancelled=True, epoch=job.epoch + 1,
        scheduled_at=due, next_run_at=due, retry_count=job.retry_count if retry_count is None else retry_count,
        claimed_by=None, claimed_at=None, queued_at=None, locked_by=None, locked_until=None, error=error,
    )  # fmt: skip


def _ended(job: Job, outcome: Outcome, now: datetime) -> Execution:
    started_at = job.last_run_at or now
    return Execution(
        execution_id=execution_id(job.job_id, job.attempt), job_id=job.job_id, attempt=job.attempt, worker_id=job.locked_by or "",
        status=outcome.status, started_at=started_at, finished_at=now,
        duration_ms=max(0, round((now - started_at).total_seconds() * 1000)),
        error_message=outcome.error, traceback=outcome.traceback,
    )  # fmt: skip


def _change(
    job: Job, verb: Verb, to: Status, now: datetime, *, execution: Execution | None = None,
    unless_cancelled: bool = False, **fields: object,
) -> Change:  # fmt: skip
    if to not in TABLE.get((job.status, verb), ()):
        raise IllegalTransition(f"{verb} does not lead from {job.status} to {to} (job {job.job_id})")
    fields["status"] = to
    fields["updated_at"] = now
    return Change(
        verb=verb, job_id=job.job_id, status=job.status, epoch=job.epoch, fields=fields,
        unless_cancelled=unless_cancelled, lane=job.lane, execution=execution,
    )  # fmt: skip
