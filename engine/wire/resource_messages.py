"""Requests to a scheduler about schedules, limits and groups; see `wire.messages`."""

from __future__ import annotations

from datetime import datetime

from jobyard.engine.limits.verbs import LimitVerb
from jobyard.engine.schedules.verbs import ScheduleVerb
from jobyard.engine.wire.message import Message


class AskSchedules(Message, frozen=True):
    """Ask something of the schedules; the reply is `Json` or `Refused`. `by`: the name of the client's token.

    `body`: that of the request, read by the scheduler; `count` and `after`: which fire times are listed.
    """

    verb: ScheduleVerb
    name: str = ""
    body: bytes = b""
    by: str = "api"
    count: int = 5
    after: datetime | None = None
    request_id: str = ""


class AskLimits(Message, frozen=True):
    """Ask something of the limits; the reply is `Json` or `Refused`. `by`: the name of the client's token.

    `body`: that of the request, read by the scheduler.
    """

    verb: LimitVerb
    name: str = ""
    body: bytes = b""
    by: str = "api"
    request_id: str = ""


class FindGroup(Message, frozen=True):
    """Get one group; the reply is `Json` or `Refused`."""

    name: str


class ListGroups(Message, frozen=True):
    """Get the newest groups that live; the reply is `Json` (an array)."""


class GetGraph(Message, frozen=True):
    """Get the jobs that are connected with a job by waiting; the reply is `Json` or `Refused`."""

    job_id: str
