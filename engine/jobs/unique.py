"""THE rules of unique keys: what a job's key is, whether it still holds it, and what a submission with the same key does.

At most one job holds a key, by a unique index on `Job.held_key`. A job gives its key up in the change that ends it, or begins it
(`until`); with a window (`for_s`) not before that has passed. A job whose window outlives it keeps the key, and the next submitter
takes it over. `Job.unique_key` stays for ever. Pure: `now` is the time of the submission.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from enum import StrEnum

from jobyard.engine.jobs.job import Job, Status, Unique, at_least
from jobyard.engine.jobs.lifecycle import TERMINAL
from jobyard.engine.jobs.strict_json import shown
from jobyard.engine.jobs.template import Template
from jobyard.engine.jobs.unique_field import ENDED, MAX_KEY_CHARS, REFUSE, RETURN, Asked, check_key

MAX_SHOWN_KEY_CHARS = 511
"""A task's name, a slash and a key."""


class Verdict(StrEnum):
    """What becomes of a submission whose key a job has in `held_key`."""

    TAKE = "take"
    """The job holds the key no longer, or loses it: the new job takes it."""
    RETURN = "return"
    """The job is the answer."""
    REPLACE = "replace"
    """The job gets the new data."""
    REFUSE = "refuse"


# ---- the key


def full_key(task: str, key: str | None, payload: bytes) -> str:
    """The key as it is shown and held: the task's name is part of it, unless it begins with a slash."""
    if key is not None and key.startswith("/"):
        return key
    own = f"sha256:{_digest(payload)}" if key is None else key
    return f"{task.replace('/', '%2F')}/{own}"


def from_template(asked: Asked, payload: object) -> Asked:
    """What a task's declaration asks for this payload; raises `ValueError` with what the payload must have."""
    if asked.key is None:
        return asked
    key = Template(asked.key).fill(payload)
    if len(key) > MAX_KEY_CHARS:
        raise ValueError(f"such that the task's unique key {shown(asked.key)} has at most {MAX_KEY_CHARS} characters")
    return asked._replace(key=check_key(key))


def how_of(asked: Asked) -> Unique:
    """What a job keeps of it besides the key."""
    return Unique(until=asked.until, for_s=asked.for_s, on_conflict=asked.on_conflict, at_latest_s=asked.at_latest_s)


def _digest(payload: bytes) -> str:
    """The order of names does not matter; `1.0` differs from `1`."""
    canonical = json.dumps(json.loads(payload), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def window_end(accepted_at: datetime, how: Unique) -> datetime | None:
    """Until when the key is held in any case."""
    return accepted_at + at_least(how.for_s) if how.for_s else None


# ---- who holds it


def is_held(job: Job, now: datetime) -> bool:
    """Whether a job that has the key in `held_key` still holds it."""
    if job.held_until is not None and now < job.held_until:
        return True
    if job.status in TERMINAL:
        return False
    return job.unique is None or job.unique.until == ENDED or job.attempt == 0


def verdict(holder: Job, new: Job) -> Verdict:
    """Decide about a new job whose key `holder` has in `held_key`."""
    how = new.unique or Unique()
    if not is_held(holder, new.created_at):
        return Verdict.TAKE
    if how.on_conflict == RETURN:
        return Verdict.RETURN
    if how.on_conflict == REFUSE or holder.task != new.task:
        return Verdict.REFUSE
    if holder.status in (Status.PENDING, Status.BLOCKED):
        return Verdict.REPLACE
    has_begun = holder.status in TERMINAL or holder.status is Status.RUNNING
    return Verdict.REFUSE if has_begun else Verdict.TAKE


def replaced_at(holder: Job, new: Job) -> datetime:
    """When a job that gets the new job's data is due: a steady stream puts it off no longer than `at_latest_s`."""
    how = new.unique or Unique()
    if how.at_latest_s is None:
        return new.scheduled_at
    return min(new.scheduled_at, holder.created_at + timedelta(seconds=how.at_latest_s))
