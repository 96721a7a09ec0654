"""THE fields of a schedule: one table, from which parsing, error messages and the OpenAPI document all come."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from jobyard.engine.errors import InvalidRequest, JobyardError
from jobyard.engine.jobs import strict_json
from jobyard.engine.jobs.fields import Field, floating, one_of, whole
from jobyard.engine.jobs.request_fields import checked, object_of, unknown_field
from jobyard.engine.jobs.strict_json import LONGEST_SHOWN, shown
from jobyard.engine.jobs.submission import FIELDS as JOB_FIELDS
from jobyard.engine.jobs.submission import Defaults, make_job
from jobyard.engine.jobs.times import read_time
from jobyard.engine.schedules.cron import MAX_CHARS, InvalidCron, parse_cron
from jobyard.engine.schedules.fire_times import DST_FOLD, DST_GAP, Timing, newest_fires, next_fire, zone_of
from jobyard.engine.schedules.schedule import CATCH_UP, OVERLAP, Definition

NAME_PATTERN = r"[A-Za-z0-9_.-]{1,64}"
RESERVED = ("preview",)
MAX_EVERY_S = 31_536_000
MAX_JITTER_S = 86_400
NOT_FOR_SCHEDULES = ("scheduled_at", "delay_s", "idempotency_key", "after", "run_if", "ref", "group")
NO_ZONES = ("posix/", "right/", "localtime", "posixrules", "Factory")
"""What the folder of zones holds besides those with IANA names."""
ANY_ID = "0" * 24
_TIME: Mapping[str, object] = {"type": ["string", "null"], "format": "date-time"}


def _number(lowest: float, highest: float) -> Callable[[object], float]:
    return floating(f"a number from {lowest} to {highest}", lambda value: lowest <= value <= highest)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("an object: the new job")
    return value


def _words(words: tuple[str, ...]) -> Mapping[str, object]:
    return {"type": ["string", "null"], "enum": [*words, None], "default": words[0]}


FIELDS: Mapping[str, Field] = {
    field.name: field
    for field in (
        Field(
            name="cron", schema={"type": ["string", "null"], "maxLength": MAX_CHARS}, read=_text,
            meaning="minute, hour, day of month, month, day of week, by the rules of Debian's cron; or @hourly @daily @midnight"
            " @weekly @monthly @yearly @annually; instead of every_s",
        ),
        Field(
            name="every_s", schema={"type": ["number", "null"], "minimum": 1, "maximum": MAX_EVERY_S}, read=_number(1, MAX_EVERY_S),
            meaning="fires every so many seconds from starts_at, or from the Unix epoch, on; instead of cron",
        ),
        Field(
            name="time_zone", schema={"type": ["string", "null"]}, read=_text,
            meaning="the zone of cron's times, an IANA name such as Europe/Berlin; default: TIME_ZONE",
        ),
        Field(
            name="job", schema={"$ref": "#/components/schemas/ScheduledJob"}, read=_object,
            meaning="the job that each fire makes; what it leaves out is decided anew at each fire",
        ),
        Field(
            name="overlap", schema=_words(OVERLAP), read=one_of(OVERLAP),
            meaning="what happens while an earlier job lives: skip the fire; queue one; all wait, one at a time; replace the"
            " earlier one; allow both",
        ),
        Field(
            name="catch_up", schema=_words(CATCH_UP), read=one_of(CATCH_UP),
            meaning="what is made of fire times that have passed: the latest, all, or none",
        ),
        Field(
            name="catch_up_max", schema={"type": ["integer", "null"], "minimum": 1, "maximum": 1000, "default": 100},
            read=whole(1, 1000),
            meaning="with catch_up all: how many at most, the latest ones",
        ),
        Field(
            name="jitter_s", schema={"type": ["number", "null"], "minimum": 0, "maximum": MAX_JITTER_S, "default": 0},
            read=_number(0, MAX_JITTER_S),
            meaning="delays each job by up to so many seconds, the same for the same fire, never past the next fire",
        ),
        Field(name="starts_at", schema=_TIME, read=read_time, meaning="no fire before this time; every_s counts from it"),
        Field(name="ends_at", schema=_TIME, read=read_time, meaning="no fire after this time"),
        Field(
            name="dst_gap", schema=_words(DST_GAP), read=one_of(DST_GAP),
            meaning="what becomes of a fixed local time that does not exist: the first instant after the gap, or no fire",
        ),
        Field(
            name="dst_fold", schema=_words(DST_FOLD), read=one_of(DST_FOLD),
            meaning="which of the two it is when a fixed local time exists twice",
        ),
    )
}  # fmt: skip
TIMING_FIELDS = Timing.__struct_fields__


class _PayloadOnly(msgspec.Struct, frozen=True):
    payload: msgspec.Raw = msgspec.Raw(b"null")


class _JobOnly(msgspec.Struct):
    job: _PayloadOnly = _PayloadOnly()


def check_name(name: str) -> str:
    """The name of a schedule; raises `InvalidRequest`."""
    if not re.fullmatch(NAME_PATTERN, name) or name in RESERVED:
        words = "1 to 64 of the characters A-Z a-z 0-9 _ . -" if name not in RESERVED else f"another name than {name}"
        raise InvalidRequest("invalid_field", f"the name of a schedule must be {words}, not {shown(name)}", "name")
    return name


def parse(body: bytes, *, now: datetime, defaults: Defaults, time_zone: str) -> Definition:
    """What a PUT or a preview asks for. Raises `InvalidRequest`."""
    asked = object_of(strict_json.decode(body))
    values = {name: _read(name, value) for name, value in asked.items() if value is not None or name not in FIELDS}
    job = values.pop("job", None)
    if job is None:
        raise InvalidRequest("invalid_field", 'job is required: the new job, such as {"task": "echo"}', "job")
    timing = _timing({name: values.pop(name) for name in TIMING_FIELDS if name in values}, time_zone)
    payload = bytes(msgspec.json.decode(body, type=_JobOnly).job.payload)
    _check_job({**job}, payload, now, defaults)
    fields = {name: _plain(name, value) for name, value in job.items() if value is not None and name != "payload"}
    check_fires(timing, now)
    return Definition(timing=timing, job=fields, payload=payload.decode(), **values)


def _read(name: str, value: object) -> Any:
    field = FIELDS.get(name)
    if field is None:
        raise unknown_field(name, FIELDS, "a schedule")
    return checked(name, value, field.read)


def _timing(given: Mapping[str, Any], time_zone: str) -> Timing:
    if ("cron" in given) == ("every_s" in given):
        raise InvalidRequest("invalid_field", "give either cron or every_s", "cron")
    timing = Timing(**{"time_zone": time_zone, **given})
    if timing.cron is not None:
        try:
            parse_cron(timing.cron)
        except InvalidCron as wrong:
            raise InvalidRequest("invalid_cron", f"cron {shown(timing.cron)}: {wrong}", "cron") from None
    _check_zone(timing.time_zone)
    if timing.starts_at is not None and timing.ends_at is not None and timing.ends_at <= timing.starts_at:
        raise InvalidRequest("invalid_field", "ends_at must be later than starts_at", "ends_at")
    return timing


def _check_zone(name: str) -> None:
    try:
        if not name.startswith(NO_ZONES):
            zone_of(name)
            return
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    words = f"there is no time zone {shown(name)}; the nearest: {nearest_zones(name)}"
    raise InvalidRequest("unknown_time_zone", words, "time_zone")


def nearest_zones(name: str) -> str:
    """The three zones whose names are most like this one."""
    zones = sorted(zone for zone in zoneinfo.available_timezones() if "/" in zone or zone == "UTC")
    by_lower = {zone.lower(): zone for zone in zones} | {zone.lower().rpartition("/")[2]: zone for zone in zones}
    asked = name[:LONGEST_SHOWN].lower()
    near = [*difflib.get_close_matches(asked, by_lower, n=12, cutoff=0), "utc", "europe/berlin", "america/new_york"]
    return ", ".join(list(dict.fromkeys(by_lower[match] for match in near))[:3])


def check_fires(timing: Timing, now: datetime) -> None:
    """Raises `InvalidRequest` if it never fires; an end that has passed is fine where fires lie before it."""
    if next_fire(timing, now) is not None:
        return
    until = now if timing.ends_at is None else min(now, timing.ends_at)
    since = timing.starts_at or datetime.min.replace(year=1970, tzinfo=now.tzinfo)
    if newest_fires(timing, since=since, until=until, count=1) if since <= until else False:
        return
    what = "every_s" if timing.cron is None else "cron"
    is_unbounded = timing.starts_at is None and timing.ends_at is None
    words = "no day is ever such" if is_unbounded else "there is no fire time within its bounds"
    raise InvalidRequest("never_fires", f"the schedule never fires: {words}", what)


def _plain(name: str, value: object) -> object:
    """A checked field of the job in one form, so that `"high"` and 9, or 3 and 3.0, are the same schedule."""
    return JOB_FIELDS[name].read(value) if name in ("priority", "max_retries") else value


def _check_job(fields: dict[str, object], payload: bytes, now: datetime, defaults: Defaults) -> None:
    known = ", ".join(known for known in JOB_FIELDS if known not in NOT_FOR_SCHEDULES)
    for name in fields:
        field = f"job.{name[:LONGEST_SHOWN]}"
        if name in NOT_FOR_SCHEDULES:
            raise InvalidRequest("invalid_field", f"job.{name} cannot be given in a schedule; known: {known}", field)
        if name not in JOB_FIELDS:
            words = f"{shown(name)} is not a field of a schedule's job; known: {known}"
            raise InvalidRequest("unknown_field", words, field)
    given = {name: value for name, value in fields.items() if value is not None or name == "payload"}
    try:
        make_job(given, payload, job_id=ANY_ID, now=now, defaults=defaults)
    except JobyardError as wrong:
        wrong.field = f"job.{wrong.field}" if wrong.field else "job"
        wrong.message = f"job: {wrong.message}"
        raise
