"""Decides about the retry of a job on request: whether what it waits for, and its unique key, allow it."""

from __future__ import annotations

from datetime import datetime

from jobyard.engine.errors import Conflict
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import CancelledBecause, Job
from jobyard.engine.jobs.lifecycle import Change, Verb
from jobyard.engine.workflows.resolver import ResolverStore, judgements
from jobyard.engine.workflows.rules import NOT_NEEDED, Step


def retried(store: ResolverStore, job: Job, *, now: datetime) -> Change:
    """The change; raises `Conflict` with what stands against it."""
    if not lifecycle.may(job, Verb.RETRY):
        raise Conflict("conflict", f"job {job.job_id} is {job.status}; only failed and cancelled jobs can be retried", "job_id")
    change = lifecycle.retry(job, now=now, is_blocked=job.after is not None and _must_wait(store, job))
    holder = key_holder(store, change)
    if holder is not None:
        told = f"job {holder.job_id} holds the unique key {job.unique_key!r} of job {job.job_id}; it can be retried when that ends"
        raise Conflict("not_unique", told, "job_id", job_id=holder.job_id)
    return change


def key_holder(store: ResolverStore, change: Change) -> Job | None:
    """The job that holds the unique key that a retry would take again."""
    key, now = change.fields.get("held_key"), change.fields["updated_at"]
    return store.free_key(key, now=now) if isinstance(key, str) and isinstance(now, datetime) else None


def _must_wait(store: ResolverStore, job: Job) -> bool:
    (judgement,) = judgements([job], store.workflows)
    if judgement.because is not None:
        raise _blocked_by(job, judgement.because)
    return judgement.step is Step.WAIT


def _blocked_by(job: Job, because: CancelledBecause) -> Conflict:
    cause = f"job {because.job_id}" if because.job_id is not None else f"group {because.group!r}"
    cause += f" of group {because.group!r}" if because.job_id is not None and because.group is not None else ""
    told = f"job {job.job_id} waits for {cause}, which has not ended as its run_if wants: retry that job, and this one follows"
    if because.reason == NOT_NEEDED:
        told = f"job {job.job_id} runs only if something that it waits for fails, and nothing has"
    named = {"job_id": because.job_id, "group": because.group}
    return Conflict("blocked_by", told, "job_id", **{name: value for name, value in named.items() if value is not None})
