"""Answers requests about schedules: stores, shows, pauses and runs them. The watchers make their jobs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from jobyard.engine.config import Settings
from jobyard.engine.errors import Conflict, InvalidRequest, NotFound, Unavailable, changing_too_quickly
from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.request_fields import checked, fields_of
from jobyard.engine.jobs.strict_json import shown
from jobyard.engine.jobs.submission import Defaults
from jobyard.engine.jobs.times import read_time
from jobyard.engine.logs import Log
from jobyard.engine.scheduler.backlog import too_many, waiting_in
from jobyard.engine.schedules import definition
from jobyard.engine.schedules.fire_times import fires_after, just_before
from jobyard.engine.schedules.look import look_at, overlapping
from jobyard.engine.schedules.new_job import scheduled_job, shown_job
from jobyard.engine.schedules.schedule import ALL, API, OVERLAP, Paused, Schedule
from jobyard.engine.schedules.schedule import shown as shown_schedule
from jobyard.engine.schedules.verbs import ScheduleVerb
from jobyard.engine.store.declare_schedule import declare_schedule
from jobyard.engine.store.port import Inserted, NotUnique, Store
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.wire.json_reply import as_json
from jobyard.engine.wire.messages import AskSchedules, Json
from jobyard.engine.world import World

GUARD_TRIES = 20
NEXT_FIRES = 5
MAX_BACKFILL = 1_000
MAX_REASON_CHARS = 200


class Schedules:
    """The schedules as one scheduler answers for them."""

    def __init__(
        self, *, settings: Settings, world: World, store: Store, log: Log, defaults: Callable[[], Defaults],
        wake: Callable[[list[datetime]], None], tell_cancelled: Callable[[list[tuple[Job, Job]]], None],
    ) -> None:  # fmt: skip
        self._settings = settings
        self._world = world
        self._store = store
        self._log = log
        self._defaults = defaults
        self._wake = wake
        self._tell_cancelled = tell_cancelled
        self._answers: dict[ScheduleVerb, Callable[[AskSchedules], Json]] = {
            ScheduleVerb.LIST: self._list, ScheduleVerb.FIND: lambda asked: self._shown(self._get(asked.name)),
            ScheduleVerb.PUT: self._put, ScheduleVerb.DELETE: self._delete, ScheduleVerb.PAUSE: self._pause,
            ScheduleVerb.RESUME: self._resume, ScheduleVerb.RUN: self._run, ScheduleVerb.FIRES: self._fires,
            ScheduleVerb.PREVIEW: self._preview, ScheduleVerb.BACKFILL: self._backfill,
        }  # fmt: skip

    def answer(self, asked: AskSchedules) -> Json:
        """The reply; raises `Rejected` or `Unavailable`."""
        return self._answers[asked.verb](asked)

    # ---- one schedule

    def _put(self, asked: AskSchedules) -> Json:
        definition.check_name(asked.name)
        wanted = definition.parse(
            asked.body, now=self._world.now(), defaults=self._defaults(), time_zone=self._settings.time_zone
        )  # fmt: skip
        schedules = self._store.schedules
        schedule, before = declare_schedule(schedules, asked.name, wanted, origin=API, now=self._world.now())
        if schedule is not before:
            self._tell("schedule_stored", asked)
            self._wake_for(schedule)
        return self._shown(schedule, 201 if before is None else 200)

    def _delete(self, asked: AskSchedules) -> Json:
        schedule = self._get(asked.name)
        if not self._store.schedules.delete(schedule.name):
            raise _not_found(asked.name)
        note = "a task module declares it, so the next start makes it again; pause is what keeps it off"
        again = {} if schedule.origin == API else {"note": note}
        self._tell("schedule_deleted", asked, **again)
        return Json(body=b"", status=204)

    def _pause(self, asked: AskSchedules) -> Json:
        reason = fields_of(asked.body, ("reason",)).get("reason")
        if reason is not None and not (isinstance(reason, str) and len(reason) <= MAX_REASON_CHARS):
            words = f"reason must be text of at most {MAX_REASON_CHARS} characters, not {shown(reason)}"
            raise InvalidRequest("invalid_field", words, "reason")

        def paused(schedule: Schedule) -> Schedule:
            since = self._world.now() if schedule.paused is None else schedule.paused.since
            pause = Paused(by=asked.by, since=since, reason=reason)
            return schedule if pause == schedule.paused else _next(schedule, paused=pause)

        schedule = self._change(asked.name, paused)
        self._tell("schedule_paused", asked, reason=reason)
        return self._shown(schedule)

    def _resume(self, asked: AskSchedules) -> Json:
        """Fire times of the pause that nobody has counted yet are counted now, so that nothing of it is made up for."""
        fields_of(asked.body, ())

        def resumed(schedule: Schedule) -> Schedule:
            if schedule.paused is None:
                return schedule
            now = self._world.now()
            made = self._store.schedules.made(schedule.name, since=schedule.next_fire_at or now, until=now)
            look = look_at(schedule, now=now, living=(), room=0, make=_none, made=made)
            return _next(schedule if look is None else look.after(()), paused=None)

        schedule = self._change(asked.name, resumed)
        self._tell("schedule_resumed", asked)
        self._wake_for(schedule)
        return self._shown(schedule)

    def _run(self, asked: AskSchedules) -> Json:
        fields_of(asked.body, ())
        schedule = self._get(asked.name)
        self._check_room()
        job = scheduled_job(schedule, job_id=self._world.object_id(), now=self._world.now(), defaults=self._defaults())
        (answer,) = self._store.insert([[job]])
        if isinstance(answer, NotUnique):
            words = f"job {answer.job_id} holds the unique key {answer.key!r}"
            raise Conflict("not_unique", words, "job.unique", job_id=answer.job_id)
        if not isinstance(answer, Inserted):
            raise Unavailable("unavailable", "the job could not be stored; try again")
        self._tell("schedule_run", asked, job_id=answer.job_ids[0])
        self._wake([job.scheduled_at])
        told: dict[str, object] = {"job_id": answer.job_ids[0]}
        if job.unique_key is not None:
            told |= {"existing": bool(answer.existing), **({"replaced": True} if answer.replaced else {})}
        return as_json(told, 201 if answer.stored else 200)

    def _backfill(self, asked: AskSchedules) -> Json:
        schedule = self._get(asked.name)
        since, until, overlap = self._backfilled(asked.body)
        times = list(islice(_up_to(schedule, since, until), MAX_BACKFILL + 1))
        if len(times) > MAX_BACKFILL:
            words = f"there are more than {MAX_BACKFILL} fire times in that span; take a shorter one"
            raise InvalidRequest("invalid_field", words, "to")
        have_jobs = self._store.schedules.made(schedule.name, since=since, until=until)
        times = [at for at in times if at not in have_jobs]
        now, defaults = self._world.now(), self._defaults()
        fires = overlapping(
            schedule, times, self._store.schedules.living(schedule.name), now=now, overlap=overlap,
            make=lambda one, at: scheduled_job(one, job_id=self._world.object_id(), now=now, defaults=defaults),
        )  # fmt: skip
        self._check_room(len(fires.jobs))
        job_ids = self._store.schedules.add(fires)
        self._tell("schedule_backfilled", asked, jobs=len(job_ids))
        self._tell_cancelled([(job, change.after(job)) for job, change in fires.cancels])
        self._wake([now])
        return as_json({"job_ids": job_ids}, 201 if job_ids else 200)

    def _backfilled(self, body: bytes) -> tuple[datetime, datetime, str]:
        given = fields_of(body, ("from", "to", "overlap"))
        since, until = (checked(name, given.get(name), self._read_past) for name in ("from", "to"))
        overlap = given.get("overlap") or ALL
        if overlap not in OVERLAP:
            words = f"overlap must be one of {', '.join(OVERLAP)}, not {shown(overlap)}"
            raise InvalidRequest("invalid_field", words, "overlap")
        if until < since:
            raise InvalidRequest("invalid_field", "to must not be earlier than from", "to")
        return since, until, str(overlap)

    def _read_past(self, value: object) -> datetime:
        at = read_time(value)
        if at > self._world.now():
            raise ValueError("a time in the past")
        return at

    def _fires(self, asked: AskSchedules) -> Json:
        schedule = self._get(asked.name)
        after = self._world.now() if asked.after is None else asked.after
        return as_json([rfc3339(at) for at in islice(fires_after(schedule.asked.timing, after), asked.count)])

    def _preview(self, asked: AskSchedules) -> Json:
        now = self._world.now()
        wanted = definition.parse(asked.body, now=now, defaults=self._defaults(), time_zone=self._settings.time_zone)
        return as_json({"next_fires": [rfc3339(at) for at in islice(fires_after(wanted.timing, now), NEXT_FIRES)]})

    def _list(self, asked: AskSchedules) -> Json:
        defaults = self._defaults()
        return as_json([shown_schedule(one, shown_job(one, defaults)) for one in self._store.schedules.all()])

    # ----

    def _tell(self, event: str, asked: AskSchedules, **facts: object) -> None:
        """Tell the log who changed what."""
        self._log.info(event, schedule=asked.name, by=asked.by, request_id=asked.request_id, **facts)

    def _shown(self, schedule: Schedule, status: int = 200) -> Json:
        first = schedule.next_fire_at
        fires = [] if first is None else list(islice(fires_after(schedule.asked.timing, just_before(first)), NEXT_FIRES))
        return as_json(shown_schedule(schedule, shown_job(schedule, self._defaults()), fires), status)

    def _get(self, name: str) -> Schedule:
        schedule = self._store.schedules.find(definition.check_name(name))
        if schedule is None:
            raise _not_found(name)
        return schedule

    def _change(self, name: str, change: Callable[[Schedule], Schedule]) -> Schedule:
        for _ in range(GUARD_TRIES):
            stored = self._get(name)
            after = change(stored)
            if after is stored or self._store.schedules.save(after, was=stored.version):
                return after
        raise changing_too_quickly(f"schedule {name}")

    def _check_room(self, count: int = 1) -> None:
        waiting, limit = waiting_in(self._store.counts()), self._settings.max_pending
        if count and waiting + count > limit:
            raise too_many(waiting, limit)

    def _wake_for(self, schedule: Schedule) -> None:
        if schedule.next_fire_at is not None:
            self._wake([schedule.next_fire_at])


def _next(schedule: Schedule, **changes: Any) -> Schedule:
    return msgspec.structs.replace(schedule, **{"version": schedule.version + 1, **changes})


def _up_to(schedule: Schedule, since: datetime, until: datetime) -> Any:
    for at in fires_after(schedule.asked.timing, just_before(since)):
        if at > until:
            return
        yield at


def _none(schedule: Schedule, at: datetime) -> Job:
    raise AssertionError("a paused schedule makes no jobs")


def _not_found(name: str) -> NotFound:
    return NotFound("not_found", f"there is no schedule {shown(name)}", "name")
