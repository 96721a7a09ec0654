"""Answers requests about limits: stores, shows, pauses and holds them. The store decides by them when it claims."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime

from jobyard.engine.errors import Conflict, NotFound
from jobyard.engine.jobs.request_fields import fields_of
from jobyard.engine.jobs.strict_json import shown
from jobyard.engine.limits import definition
from jobyard.engine.limits.limit import API, Limit, Paused, Usage, hold_of
from jobyard.engine.limits.limit import shown as shown_limit
from jobyard.engine.limits.rules import is_implicit
from jobyard.engine.limits.verbs import LimitVerb
from jobyard.engine.logs import Log
from jobyard.engine.store.declare_limit import change_limit, declare_limit, replaced
from jobyard.engine.store.port import Store
from jobyard.engine.timestamps import rfc3339
from jobyard.engine.wire.json_reply import as_json
from jobyard.engine.wire.messages import AskLimits, Json
from jobyard.engine.world import World

HOOK = "hook:"
LANES_AT_ONCE = 2_000


class Limits:
    """The limits as one scheduler answers for them."""

    def __init__(self, *, world: World, store: Store, log: Log, wake: Callable[[list[datetime]], None]) -> None:
        self._world = world
        self._store = store
        self._log = log
        self._wake = wake
        self._answers: dict[LimitVerb, Callable[[AskLimits], Json]] = {
            LimitVerb.LIST: self._list, LimitVerb.FIND: lambda asked: self._shown(self._get(asked.name)),
            LimitVerb.PUT: self._put, LimitVerb.DELETE: self._delete, LimitVerb.PAUSE: self._pause,
            LimitVerb.RESUME: self._resume, LimitVerb.HOLD: self._hold,
        }  # fmt: skip

    def answer(self, asked: AskLimits) -> Json:
        """The reply; raises `Rejected` or `Unavailable`."""
        return self._answers[asked.verb](asked)

    def lookup(self) -> Callable[[str], bool]:
        """Whether there is a limit of a name; each name is asked for once."""
        return functools.cache(lambda name: self._store.limits.find(name) is not None)

    def _put(self, asked: AskLimits) -> Json:
        definition.check_name(asked.name)
        numbers = definition.parse(asked.body)
        if asked.name.startswith(HOOK):
            self._get(asked.name)
        after, before = declare_limit(self._store.limits, asked.name, numbers, origin=API)
        if after is not before:
            self._log.info("limit_stored", limit=after.name, by=asked.by, request_id=asked.request_id)
            self._follow(after.name)
        return self._shown(after, 201 if before is None else 200)

    def _delete(self, asked: AskLimits) -> Json:
        limit = self._get(asked.name)
        if limit.name.startswith(HOOK) and self._store.hooks.find(limit.name.removeprefix(HOOK)) is not None:
            told = f"limit {shown(limit.name)} goes with its hook: change its numbers, or delete the hook"
            raise Conflict("conflict", told, "name")
        if not self._store.limits.delete(limit.name):
            raise _not_found(asked.name)
        self._log.info("limit_deleted", limit=limit.name, by=asked.by, request_id=asked.request_id)
        self._follow(limit.name)
        return Json(body=b"", status=204)

    def _pause(self, asked: AskLimits) -> Json:
        now = self._world.now()
        wanted = definition.parse_pause(asked.body, now)
        paused = Paused(by=asked.by, since=now, reason=wanted.reason, until=wanted.until)
        after = self._change_or_make(asked, lambda limit: replaced(limit, paused=paused))
        self._log.info("limit_paused", limit=after.name, by=paused.by, reason=paused.reason, request_id=asked.request_id)
        return self._shown(after, effective_within_s=self._store.limits.effective_within_s)

    def _resume(self, asked: AskLimits) -> Json:
        fields_of(asked.body, ())
        limit = self._get(asked.name)
        after, _ = change_limit(
            self._store.limits, limit.name, lambda one: one if one.paused is None else replaced(one, paused=None), new=limit
        )
        self._log.info("limit_resumed", limit=after.name, by=asked.by, request_id=asked.request_id)
        self._follow(after.name)
        return self._shown(after)

    def _hold(self, asked: AskLimits) -> Json:
        now = self._world.now()
        until = definition.parse_hold(asked.body, now)

        def held(limit: Limit) -> Limit:
            stands = hold_of(limit, now)
            return limit if stands is not None and stands >= until else replaced(limit, hold_until=until)

        after = self._change_or_make(asked, held)
        self._log.info("limit_held", limit=after.name, until=rfc3339(after.hold_until), by=asked.by, request_id=asked.request_id)
        return self._shown(after)

    def _list(self, asked: AskLimits) -> Json:
        now = self._world.now()
        listed = [shown_limit(limit, self._usage(limit, False), now, is_whole=False) for limit in self._store.limits.all()]
        return as_json(listed)

    # ----

    def _change_or_make(self, asked: AskLimits, change: Callable[[Limit], Limit]) -> Limit:
        name = definition.check_name(asked.name)
        if name.startswith(HOOK):
            self._get(name)
        after, before = change_limit(self._store.limits, name, change, new=Limit(name=name))
        if before is None:
            self._follow(name)
        return after

    def _follow(self, name: str) -> None:
        """What few jobs need is done at once, the rest by the watchers; one of them looks now."""
        if is_implicit(name):
            self._store.limits.relane(now=self._world.now(), limit=LANES_AT_ONCE)
        self._wake([self._world.now()])

    def _shown(self, limit: Limit, status: int = 200, **more: object) -> Json:
        body = shown_limit(limit, self._usage(limit, True), self._world.now(), is_whole=True)
        return as_json(body | more, status)

    def _usage(self, limit: Limit, is_whole: bool) -> Usage:
        return self._store.limits.usage(limit, now=self._world.now(), is_whole=is_whole)

    def _get(self, name: str) -> Limit:
        limit = self._store.limits.find(definition.check_name(name))
        if limit is None:
            raise _not_found(name)
        return limit


def _not_found(name: str) -> NotFound:
    return NotFound("not_found", f"there is no limit {shown(name)}", "name")
