"""Answers requests about hooks: stores, shows, tests and rotates them, and delivers past events again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from jobyard.engine.errors import InvalidRequest, NotFound, changing_too_quickly
from jobyard.engine.hooks import hook as hooks
from jobyard.engine.hooks.events import MARK, is_from_hook, job_of, limit_of
from jobyard.engine.hooks.hook import WEBHOOK, Hook
from jobyard.engine.jobs.job import Job, JobFilter
from jobyard.engine.jobs.request_fields import checked, fields_of
from jobyard.engine.jobs.strict_json import shown
from jobyard.engine.jobs.submission import Defaults
from jobyard.engine.jobs.times import read_time
from jobyard.engine.limits.limit import Numbers
from jobyard.engine.logs import Log
from jobyard.engine.schedules.schedule import API
from jobyard.engine.store.declare_limit import declare_limit
from jobyard.engine.store.named_port import NamedRow
from jobyard.engine.store.port import Store
from jobyard.engine.tasks.webhook import new_secret
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.wire.hook_messages import AskHooks, HookVerb
from jobyard.engine.wire.json_reply import as_json
from jobyard.engine.wire.messages import Json
from jobyard.engine.world import World

GUARD_TRIES = 20
ROTATION = timedelta(hours=24)
A_PAGE = 500
MOST_LOOKED_AT = 20_000
TEST = "hook.test"
AT_ONCE = 4
"""So many deliveries of a hook run at once, unless its limit is changed."""


class Hooks:
    """The hooks as one scheduler answers for them."""

    def __init__(
        self, *, world: World, store: Store, log: Log, defaults: Callable[[], Defaults], wake: Callable[[list[datetime]], None]
    ) -> None:  # fmt: skip
        self._world = world
        self._store = store
        self._log = log
        self._defaults = defaults
        self._wake = wake
        self._answers: dict[HookVerb, Callable[[AskHooks], Json]] = {
            HookVerb.LIST: self._list, HookVerb.FIND: lambda asked: as_json(self._get(asked.name).shown()),
            HookVerb.PUT: self._put, HookVerb.DELETE: self._delete, HookVerb.TEST: self._test, HookVerb.ROTATE: self._rotate,
            HookVerb.REPLAY: self._replay,
        }  # fmt: skip

    def answer(self, asked: AskHooks) -> Json:
        """The reply; raises `Rejected` or `Unavailable`."""
        return self._answers[asked.verb](asked)

    def _list(self, asked: AskHooks) -> Json:
        return as_json([_decode(row.body).shown() for row in self._store.hooks.all()])

    def _put(self, asked: AskHooks) -> Json:
        """The same again changes nothing, but that it enables the hook. A secret that is not given stays, or is made."""
        name = hooks.check_name(asked.name)
        wanted = hooks.parse(name, asked.body, now=self._world.now(), defaults=self._defaults())
        for _ in range(GUARD_TRIES):
            row = self._store.hooks.find(name)
            before = None if row is None else _decode(row.body)
            after = _merged(wanted, before)
            if before is None or not _is_same(before, after):
                if before is None:
                    declare_limit(self._store.limits, limit_of(name), Numbers(max_running=AT_ONCE), origin=API)
                if not self._save(after, None if row is None else row.version):
                    continue
                self._log.info("hook_stored", hook=name, by=asked.by, request_id=asked.request_id)
            told = after.shown()
            return as_json(told, 200) if before is not None else as_json(told | {"secret": after.secret}, 201)
        raise changing_too_quickly(f"hook {name}")

    def _delete(self, asked: AskHooks) -> Json:
        if not self._store.hooks.delete(hooks.check_name(asked.name)):
            raise _not_found(asked.name)
        self._store.limits.delete(limit_of(asked.name))
        self._log.info("hook_deleted", hook=asked.name, by=asked.by, request_id=asked.request_id)
        return Json(body=b"", status=204)

    def _rotate(self, asked: AskHooks) -> Json:
        """The old secret signs along for a day."""
        fields_of(asked.body, ())
        for _ in range(GUARD_TRIES):
            before = self._get(asked.name)
            after = msgspec.structs.replace(
                before, secret=new_secret(), old_secret=before.secret, old_until=self._world.now() + ROTATION,
                version=before.version + 1,
            )  # fmt: skip
            if self._save(after, before.version):
                self._log.info("hook_rotated", hook=after.name, by=asked.by, request_id=asked.request_id)
                return as_json(after.shown() | {"secret": after.secret})
        raise changing_too_quickly(f"hook {asked.name}")

    def _test(self, asked: AskHooks) -> Json:
        fields_of(asked.body, ())
        hook, now = self._get(asked.name), self._world.now()
        event = {"type": TEST, "timestamp": rfc3339(now), "data": {"hook": hook.name}}
        job = job_of(hook, self._new_id(), event, now=now)
        self._insert([job])
        return as_json({"job_id": job.job_id}, 201)

    def _replay(self, asked: AskHooks) -> Json:
        """Each past delivery as a new job, so that it is delivered again."""
        hook = self._get(asked.name)
        since, until = self._span(asked.body)
        now = self._world.now()
        jobs = [job_of(hook, self._new_id(), event, now=now) for event in self._past(hook, since, until)]
        for start in range(0, len(jobs), A_PAGE):
            self._insert(jobs[start : start + A_PAGE])
        self._log.info("hook_replayed", hook=hook.name, jobs=len(jobs), by=asked.by, request_id=asked.request_id)
        return as_json({"job_ids": [job.job_id for job in jobs]}, 201 if jobs else 200)

    def _past(self, hook: Hook, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
        """The events in that span that the hook has delivered, oldest first, as far as their jobs are stored; each once."""
        task = WEBHOOK if hook.template is None else hook.template.task
        wanted, cursor, looked = JobFilter(task=task, created_after=since), None, 0
        found: dict[bytes, dict[str, Any]] = {}
        while looked < MOST_LOOKED_AT:
            page = self._store.list_jobs(wanted, limit=A_PAGE, cursor=cursor)
            looked += len(page.jobs)
            for job in page.jobs:
                event = _event_in(job, hook)
                if event is not None and since <= read_time(event["timestamp"]) <= until and event["type"] != TEST:
                    found[msgspec.json.encode(event)] = event
            cursor = page.cursor
            if cursor is None:
                break
        yield from reversed(found.values())

    def _span(self, body: bytes) -> tuple[datetime, datetime]:
        given = fields_of(body, ("from", "to"))
        since, until = (checked(name, given.get(name), read_time) for name in ("from", "to"))
        if until < since:
            raise InvalidRequest("invalid_field", "to must not be earlier than from", "to")
        return since, until

    def _get(self, name: str) -> Hook:
        row = self._store.hooks.find(hooks.check_name(name))
        if row is None:
            raise _not_found(name)
        return msgspec.structs.replace(_decode(row.body), version=row.version)

    def _save(self, hook: Hook, was: int | None) -> bool:
        return self._store.hooks.save(NamedRow(hook.name, hook.version, msgspec.json.encode(hook)), was=was)

    def _insert(self, jobs: list[Job]) -> None:
        self._store.insert([[job] for job in jobs])
        self._wake([job.scheduled_at for job in jobs])

    def _new_id(self) -> str:
        return MARK + self._world.object_id()[-16:]


def _merged(wanted: Hook, before: Hook | None) -> Hook:
    if before is None:
        return msgspec.structs.replace(wanted, secret=wanted.secret or new_secret())
    if wanted.secret in ("", before.secret):
        kept = {"secret": before.secret, "old_secret": before.old_secret, "old_until": before.old_until}
    else:
        kept = {"secret": wanted.secret}
    return msgspec.structs.replace(wanted, version=before.version + 1, **kept)


def _is_same(before: Hook, after: Hook) -> bool:
    """Whether a PUT changes nothing; the template of its job, which has the time in it, follows from the job."""
    return msgspec.structs.replace(before, version=0, template=None) == msgspec.structs.replace(after, version=0, template=None)


def _event_in(job: Job, hook: Hook) -> dict[str, Any] | None:
    if not is_from_hook(job.job_id):
        return None
    payload = msgspec.json.decode(job.payload)
    return payload.get("event") if hook.template is not None or payload.get("hook") == hook.name else None


def _not_found(name: str) -> NotFound:
    return NotFound("not_found", f"there is no hook {shown(name)}", "name")


_decode = msgspec.json.Decoder(Hook).decode
