"""A hook: what it is, what a PUT may ask of it, and what is shown of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from jobyard.engine.errors import InvalidRequest, JobyardError
from jobyard.engine.jobs import strict_json
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.request_fields import checked, object_of, unknown_field
from jobyard.engine.jobs.strict_json import shown
from jobyard.engine.jobs.submission import FIELDS as JOB_FIELDS
from jobyard.engine.jobs.submission import Defaults, make_job
from jobyard.engine.schedules.definition import NOT_FOR_SCHEDULES
from jobyard.engine.tasks.webhook import NAME as WEBHOOK
from jobyard.engine.tasks.webhook import key_of
from jobyard.engine.timestamps import rfc3339

NAME_PATTERN = r"[A-Za-z0-9_.-]{1,64}"
MISSED, GROUP_ENDED = "schedule.missed", "group.ended"
EVENTS = ("job.completed", "job.failed", "job.cancelled", "job.lost", "job.retried", MISSED, GROUP_ENDED)
FILTERS = ("task", "queue", "group", "tag", "schedule")
RESULT = "result"
FIELDS = ("url", "events", "filter", "secret", "job", "include")
MAX_URL_CHARS = 2_048
MAX_TAGS = 16
ANY_ID = "0" * 24


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What an event that is not about a job has of a job's fields."""

    task: str | None = None
    queue: str | None = None
    group: str | None = None
    schedule: str | None = None
    tags: tuple[str, ...] = ()


class Disabled(msgspec.Struct, frozen=True, kw_only=True):
    """Since when and why it delivers nothing."""

    at: datetime
    reason: str


class Hook(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One hook, with a `url` or with a `job`. `template`: that job with the defaults that its task had at the PUT.

    Until `old_until`, the secret before the last rotation signs along.
    """

    name: str
    url: str | None = None
    events: tuple[str, ...] = ()
    filter: dict[str, Any] = {}
    include: tuple[str, ...] = ()
    job: dict[str, Any] | None = None
    template: Job | None = None
    secret: str = ""
    old_secret: str | None = None
    old_until: datetime | None = None
    disabled: Disabled | None = None
    version: int = 1

    def selects(self, event_type: str, job: Job | Subject) -> bool:
        """Whether the event of this job, or other subject, is to be delivered."""
        if self.disabled is not None or event_type not in self.events:
            return False
        tags = self.filter.get("tag", [])
        fields = {name: getattr(job, name) for name in FILTERS if name != "tag"}
        return set(tags) <= set(job.tags) and all(fields[name] == self.filter[name] for name in fields if name in self.filter)

    def secrets(self, now: datetime) -> list[str]:
        """Those that sign a delivery now."""
        is_rotating = self.old_secret is not None and self.old_until is not None and now < self.old_until
        return [self.secret, *([self.old_secret] if is_rotating and self.old_secret else [])]

    def shown(self) -> dict[str, object]:
        """As clients see it: without its secret."""
        off = None if self.disabled is None else {"at": rfc3339(self.disabled.at), "reason": self.disabled.reason}
        tags = self.filter.get("tag")
        shown_filter = self.filter | ({"tag": tags[0]} if tags and len(tags) == 1 else {})
        return {
            "name": self.name, "url": self.url, "events": list(self.events), "filter": shown_filter, "job": self.job,
            "include": list(self.include), "disabled": off,
        }  # fmt: skip


def check_name(name: str) -> str:
    """The name; raises `InvalidRequest`."""
    if not re.fullmatch(NAME_PATTERN, name):
        words = f"the name of a hook must be 1 to 64 of the characters A-Z a-z 0-9 _ . -, not {shown(name)}"
        raise InvalidRequest("invalid_field", words, "name")
    return name


def parse(name: str, body: bytes, *, now: datetime, defaults: Defaults) -> Hook:
    """The hook that a PUT asks for, its secret empty if none is given; raises `InvalidRequest`."""
    given: dict[str, Any] = object_of(strict_json.decode(body))
    for field in given:
        if field not in FIELDS:
            raise unknown_field(field, FIELDS, "a hook")
    values = {field: value for field, value in given.items() if value is not None}
    if ("url" in values) == ("job" in values):
        raise InvalidRequest("invalid_field", "give either url or job", "url")
    job = values.get("job")
    return Hook(
        name=name, url=_read("url", values, _url), events=_read("events", values, _events) or (),
        filter=_read("filter", values, _filter) or {}, include=_read("include", values, _include) or (),
        secret=_read("secret", values, _secret) or "", job=job, template=None if job is None else _template(job, now, defaults),
    )  # fmt: skip


def _read(name: str, values: Mapping[str, object], check: Any) -> Any:
    if name not in values and name != "events":
        return None
    return checked(name, values.get(name), check)


def _url(value: object) -> str:
    words = "a URL with http:// or https:// and a host, without user name and fragment"
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_URL_CHARS or not value.isprintable() or " " in value:
        raise ValueError(words)
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and not parts.fragment
        is_good = is_good and (parts.port is None or parts.port > 0)
    except ValueError:
        is_good = False
    if not is_good:
        raise ValueError(words)
    return value


def _events(value: object) -> tuple[str, ...]:
    words = f"an array of one or more of {', '.join(EVENTS)}, none twice"
    if not isinstance(value, list) or not value or any(one not in EVENTS for one in value) or len(set(value)) < len(value):
        raise ValueError(words)
    return tuple(value)


def _filter(value: object) -> dict[str, Any]:
    words = f"an object with any of {', '.join(FILTERS)}, each a text (tag: or an array of texts)"
    if not isinstance(value, dict) or not value.keys() <= set(FILTERS):
        raise ValueError(words)
    wanted: dict[str, Any] = {}
    for name, one in value.items():
        many = one if name == "tag" and isinstance(one, list) else [one]
        if one is None:
            continue
        if not 1 <= len(many) <= MAX_TAGS or not all(isinstance(text, str) and text for text in many):
            raise ValueError(words)
        wanted[name] = many if name == "tag" else one
    return wanted


def _include(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or any(one != RESULT for one in value) or len(value) > 1:
        raise ValueError(f'an array with "{RESULT}" or nothing in it')
    return tuple(value)


def _secret(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("text")
    key_of(value)
    return value


def _template(job: object, now: datetime, defaults: Defaults) -> Job:
    if not isinstance(job, dict):
        raise InvalidRequest("invalid_field", f"job must be an object, not {shown(job)}", "job")
    for name in job:
        if name in NOT_FOR_SCHEDULES:
            known = ", ".join(known for known in JOB_FIELDS if known not in NOT_FOR_SCHEDULES)
            raise InvalidRequest("invalid_field", f"job.{name} cannot be given in a hook; known: {known}", f"job.{name}")
    payload = job.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise InvalidRequest("invalid_field", f"job.payload must be an object or left out, not {shown(payload)}", "job.payload")
    fields = {name: value for name, value in job.items() if value is not None and name != "payload"}
    try:
        return make_job(fields, msgspec.json.encode(payload or {}), job_id=ANY_ID, now=now, defaults=defaults)
    except JobyardError as wrong:
        wrong.field = f"job.{wrong.field}" if wrong.field else "job"
        wrong.message = f"job: {wrong.message}"
        raise


__all__ = ["ANY_ID", "EVENTS", "NAME_PATTERN", "RESULT", "WEBHOOK", "Disabled", "Hook", "Subject", "check_name", "parse"]
