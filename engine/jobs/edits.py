"""What clients may change of a stored job: its tags, its time, and, with a retry, what the next attempts run with.

Pure functions, as in `lifecycle`, which says in which states they are allowed. `parse_retry` reads the body of a retry.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.expiry import expiry
from jobyard.engine.jobs.job import Job, at_least
from jobyard.engine.jobs.lifecycle import Change, Verb
from jobyard.engine.jobs.request_fields import checked, optional_object, unknown_field
from jobyard.engine.jobs.submission import FIELDS, check_payload

RETRY_FIELDS = ("payload", "delay_s", "max_retries", "timeout_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryEdit:
    """What a retry changes besides; None leaves it as it is. Without `due_at` and `delay_s`, the job is due at once.

    `payload`: JSON text.
    """

    due_at: datetime | None = None
    delay_s: float | None = None
    payload: bytes | None = None
    priority: int | None = None
    max_retries: int | None = None
    timeout_s: float | None = None


class _Payload(msgspec.Struct):
    payload: msgspec.Raw = msgspec.Raw()


def parse_retry(body: bytes) -> RetryEdit:
    """The edits in the body of a retry of one job, which may be left out; raises `InvalidRequest` or `TooLarge`."""
    given = optional_object(body)
    values: dict[str, Any] = {name: _checked(name, value) for name, value in given.items()}
    if "payload" in values:
        values["payload"] = bytes(msgspec.json.decode(body, type=_Payload).payload)
        check_payload(values["payload"])
    return RetryEdit(**values)


def _checked(name: str, value: object) -> object:
    if name not in RETRY_FIELDS:
        raise unknown_field(name, RETRY_FIELDS, "a retry")
    return checked(name, value, FIELDS[name].read)


def edited(retry: Change, job: Job, edit: RetryEdit, *, now: datetime) -> Change:
    """A retry (`lifecycle.retry`) that also makes these edits."""
    fields: dict[str, object] = {}
    due_at = edit.due_at if edit.delay_s is None else now + at_least(edit.delay_s)
    if due_at is not None:
        fields["scheduled_at"] = due_at
        if job.expires_s is not None:
            fields["expires_at"] = fields["lapses_at"] = expiry(due_at, job.expires_s)
    if edit.priority is not None:
        fields |= {"priority": edit.priority} | ({} if job.lane is None else {"lane": job.lane})
    for name in ("payload", "max_retries", "timeout_s"):
        if (value := getattr(edit, name)) is not None:
            fields[name] = value
    return msgspec.structs.replace(retry, fields=retry.fields | fields) if fields else retry


def run_now(job: Job, *, now: datetime) -> Change:
    """A pending job is due now, whatever it waited for its time or for a retry; one that is due already keeps its place."""
    due = min(job.scheduled_at, now)
    fields: dict[str, object] = {"scheduled_at": due}
    if job.next_run_at is not None:
        fields["next_run_at"] = due
    if job.lapses_at is not None:
        fields["expires_at"] = fields["lapses_at"] = expiry(due, job.expires_s)
    return lifecycle.edit(job, Verb.RUN, now=now, epoch=job.epoch + 1, **fields)


def retag(job: Job, tags: tuple[str, ...], *, now: datetime) -> Change:
    """The job has these tags instead of its own. It may be running: nobody who holds it is concerned."""
    return lifecycle.edit(job, Verb.TAG, now=now, tags=tags)
