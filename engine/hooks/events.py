"""Which events a change of a job is, and the jobs that deliver them. Pure functions.

The id of a delivery job begins with digits that no other id has; so jobs that hooks made are recognised, and trigger none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec

from jobyard.engine.hooks.hook import EVENTS, GROUP_ENDED, MISSED, RESULT, WEBHOOK, Hook, Subject
from jobyard.engine.jobs.expiry import expiry
from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.lifecycle import Change, Verb
from jobyard.engine.jobs.unique import full_key, window_end
from jobyard.engine.schedules.look import Look
from jobyard.engine.schedules.schedule import PAUSED
from jobyard.engine.tasks.webhook import DELAYS_S, TRY_S
from jobyard.engine.timestamps import rfc3339

MARK = "ffffffff"
MAX_ERROR_CHARS = 300
MAX_RESULT_BYTES = 256 << 10
LOWEST = 0
ANY = frozenset(EVENTS)
GroupEnd = Callable[[str], datetime | None]
"""When a group ended; None while a member lives."""
ENDS = {Status.COMPLETED: "job.completed", Status.FAILED: "job.failed", Status.CANCELLED: "job.cancelled"}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a job, as it was then."""

    type: str
    job_id: str
    epoch: int
    at: datetime
    status: str
    attempt: int
    error: str | None = None
    finished_at: datetime | None = None


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """Fires of a schedule that one look missed for one reason. `fire_at`: the newest; task, queue and tags: those of its jobs."""

    schedule: str
    reason: str
    count: int
    fire_at: datetime
    at: datetime
    task: str
    queue: str
    tags: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """What the event says."""
        return {
            "schedule": self.schedule, "reason": self.reason, "count": self.count, "fire_at": rfc3339(self.fire_at),
            "task": self.task, "queue": self.queue, "tags": list(self.tags),
        }  # fmt: skip


def limit_of(name: str) -> str:
    """The limit that comes and goes with a hook of this name."""
    return f"hook:{name}"


def is_from_hook(job_id: str) -> bool:
    """Whether a hook made the job."""
    return job_id.startswith(MARK)


def types_of(change: Change) -> list[str]:
    """The types of the events that this change is; none for the changes of jobs that hooks made."""
    if is_from_hook(change.job_id):
        return []
    types = ["job.lost"] if change.verb is Verb.RECOVER and change.status is Status.RUNNING else []
    if change.verb is Verb.POSTPONE:
        types.append("job.retried")
    status = Status(str(change.fields.get("status", change.status)))
    if status in ENDS and change.status not in ENDS:
        types += [ENDS[status], GROUP_ENDED]
    return types


def wanted_by(hooks: Iterable[Hook]) -> frozenset[str]:
    """The types of events that any of them asks for."""
    return frozenset(kind for hook in hooks for kind in hook.events)


def events_of(change: Change, wanted: frozenset[str] = ANY) -> list[Event]:
    """The events that this change is, of the wanted types. `group.ended`: its group may have ended with it."""
    fields: dict[str, Any] = change.fields
    error = fields.get("error")
    attempt = change.execution.attempt if change.execution is not None else fields.get("attempt", 0)
    return [
        Event(
            type=kind, job_id=change.job_id, epoch=fields.get("epoch", change.epoch), at=fields["updated_at"],
            status=str(fields["status"].value), attempt=attempt, finished_at=fields.get("finished_at"),
            error=error[:MAX_ERROR_CHARS] if isinstance(error, str) else None,
        )
        for kind in types_of(change)
        if kind in wanted
    ]  # fmt: skip


def deliveries(hooks: Iterable[Hook], event: Event, job: Job, group_end: GroupEnd) -> list[Job]:
    """The jobs that deliver the event of this job, one for each hook that selects it."""
    if event.type == GROUP_ENDED:
        return _of_group(hooks, job.group, group_end)
    return [delivery(hook, event.type, data_of(event, job, hook), event) for hook in hooks if hook.selects(event.type, job)]


def _of_group(hooks: Iterable[Hook], group: str | None, group_end: GroupEnd) -> list[Job]:
    """Whoever ends a last member makes them; of two at the same time both do, under the same ids."""
    hooks = [hook for hook in hooks if hook.selects(GROUP_ENDED, Subject(group=group))]
    ended_at = group_end(group) if hooks and group is not None else None
    if ended_at is None:
        return []
    data = {"group": group, "ended_at": rfc3339(ended_at)}
    return [_delivery(hook, GROUP_ENDED, data, (str(group), str(rfc3339(ended_at))), at=ended_at) for hook in hooks]


def missed_deliveries(hooks: Iterable[Hook], missed: Iterable[Missed]) -> list[Job]:
    """The jobs that tell of missed fires, one for each hook that selects them."""
    return [
        _delivery(hook, MISSED, one.data(), (one.schedule, one.reason, str(rfc3339(one.fire_at))), at=one.at)
        for one in missed
        for hook in hooks
        if hook.selects(MISSED, Subject(task=one.task, queue=one.queue, tags=one.tags, schedule=one.schedule))
    ]


def missed_in(look: Look, now: datetime) -> list[Missed]:
    """What a look has missed, by reason; a pause is no news."""
    sample = look.sample
    return [
        Missed(
            schedule=look.schedule.name, reason=reason, count=count, fire_at=look.newest[reason], at=now, task=sample.task,
            queue=sample.queue, tags=sample.tags,
        )
        for reason, count in look.missed.items()
        if sample is not None and reason != PAUSED
    ]  # fmt: skip


def data_of(event: Event, job: Job, hook: Hook) -> dict[str, Any]:
    """What the event says of its job."""
    data: dict[str, Any] = {
        "job_id": job.job_id, "task": job.task, "queue": job.queue, "status": event.status,
        "attempt": event.attempt or job.attempt, "epoch": event.epoch, "error": event.error, "tags": list(job.tags),
        "group": job.group, "schedule": job.schedule, "fire_at": rfc3339(job.fire_at), "finished_at": rfc3339(event.finished_at),
    }  # fmt: skip
    if RESULT in hook.include:
        is_large = job.result is not None and len(job.result) > MAX_RESULT_BYTES
        data["result"] = None if job.result is None or is_large else msgspec.Raw(job.result)
        if is_large:
            data["result_too_large"] = True
    return data


def delivery(hook: Hook, kind: str, data: dict[str, Any], event: Event, *, replay: str = "") -> Job:
    """The delivery job, due at the time of the event. `replay`: the id of a replay, which makes it another one."""
    return _delivery(hook, kind, data, (event.job_id, str(event.epoch), replay), at=event.at)


def _delivery(hook: Hook, kind: str, data: dict[str, Any], of: tuple[str, ...], *, at: datetime) -> Job:
    """`of`: what the id follows from, besides the hook and the kind of event."""
    named = "\0".join((hook.name, kind, *of))
    job_id = MARK + hashlib.sha256(named.encode()).hexdigest()[: 24 - len(MARK)]
    return job_of(hook, job_id, {"type": kind, "timestamp": rfc3339(at), "data": data}, now=at)


def job_of(hook: Hook, job_id: str, event: dict[str, Any], *, now: datetime) -> Job:
    """The job with this id that delivers the event through the hook."""
    if hook.template is None:
        payload = {"hook": hook.name, "event_id": f"msg_{job_id}", "event": event}
        return Job(
            job_id=job_id, task=WEBHOOK, payload=msgspec.json.encode(payload), priority=LOWEST, max_retries=len(DELAYS_S),
            limit=(limit_of(hook.name),), timeout_s=TRY_S + 5, scheduled_at=now, created_at=now, updated_at=now,
        )  # fmt: skip
    own = msgspec.json.decode(hook.template.payload, type=dict[str, msgspec.Raw])
    payload_text = msgspec.json.encode({**own, "event": event})
    expires_at = expiry(now, hook.template.expires_s)
    job = msgspec.structs.replace(
        hook.template, job_id=job_id, payload=payload_text, scheduled_at=now, created_at=now, updated_at=now, expires_at=expires_at,
        lapses_at=expires_at,
    )  # fmt: skip
    if job.unique is None:
        return job
    asked = (hook.job or {}).get("unique")
    has_key = isinstance(asked, str) or (isinstance(asked, dict) and asked.get("key") is not None)
    key = job.unique_key if has_key else full_key(job.task, None, payload_text)
    return msgspec.structs.replace(job, unique_key=key, held_key=key, held_until=window_end(now, job.unique))
