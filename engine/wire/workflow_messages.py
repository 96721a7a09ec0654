"""The requests about groups and graphs; see `wire.messages`."""

from __future__ import annotations

from jobyard.engine.wire.message import Message


class FindGroup(Message, frozen=True):
    """Get one group; the reply is `Json` or `Refused`."""

    name: str


class ListGroups(Message, frozen=True):
    """Get the newest groups that live; the reply is `Json` (an array)."""


class GetGraph(Message, frozen=True):
    """Get the jobs that are connected with a job by waiting; the reply is `Json` or `Refused`."""

    job_id: str
