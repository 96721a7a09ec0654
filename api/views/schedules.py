"""The requests about schedules; a scheduler reads their bodies and answers them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from flask import request

from jobyard.api.http.body import JSON, media_type, read_body, read_optional_body
from jobyard.api.http.guards import client_of
from jobyard.api.http.query import FIRES_QUERY, read_query
from jobyard.api.http.reply import Reply, message_reply
from jobyard.api.http.request_metrics import request_id_of
from jobyard.engine.schedules.verbs import ScheduleVerb
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import AskSchedules


class SchedulerClient(Protocol):
    """The way to a scheduler."""

    def send(self, request: Message) -> Message:
        """The reply; raises `Unavailable`."""


class Schedules:
    """The views."""

    def __init__(self, scheduler: SchedulerClient) -> None:
        self._scheduler = scheduler

    def list(self) -> Reply:
        """All of them."""
        return self._ask(ScheduleVerb.LIST)

    def show(self, schedule: str) -> Reply:
        """One of them."""
        return self._ask(ScheduleVerb.FIND, schedule)

    def put(self, schedule: str) -> Reply:
        """Make or change one."""
        return self._ask(ScheduleVerb.PUT, schedule, body=_body())

    def delete(self, schedule: str) -> Reply:
        """Remove one."""
        return self._ask(ScheduleVerb.DELETE, schedule)

    def pause(self, schedule: str) -> Reply:
        """Make it fire no more."""
        return self._ask(ScheduleVerb.PAUSE, schedule, body=read_optional_body(request.environ))

    def resume(self, schedule: str) -> Reply:
        """Let it fire again."""
        return self._ask(ScheduleVerb.RESUME, schedule, body=read_optional_body(request.environ))

    def run(self, schedule: str) -> Reply:
        """Make its job now."""
        return self._ask(ScheduleVerb.RUN, schedule, body=read_optional_body(request.environ))

    def backfill(self, schedule: str) -> Reply:
        """Make the jobs of past fire times."""
        return self._ask(ScheduleVerb.BACKFILL, schedule, body=_body())

    def fires(self, schedule: str) -> Reply:
        """Its fire times."""
        query = read_query(request, FIRES_QUERY)
        after = query.get("after")
        more: dict[str, Any] = {"count": query.get("count", 5), "after": after if isinstance(after, datetime) else None}
        return self._send(AskSchedules(verb=ScheduleVerb.FIRES, name=schedule, **more))

    def preview(self) -> Reply:
        """When a schedule would fire."""
        return self._ask(ScheduleVerb.PREVIEW, body=_body())

    def _ask(self, verb: ScheduleVerb, name: str = "", *, body: bytes = b"") -> Reply:
        read_query(request, ())
        environ = request.environ
        return self._send(AskSchedules(verb=verb, name=name, body=body, by=client_of(environ), request_id=request_id_of(environ)))

    def _send(self, asked: AskSchedules) -> Reply:
        return message_reply(self._scheduler.send(asked))


def _body() -> bytes:
    media_type(request.environ, (JSON,))
    return read_body(request.environ)

