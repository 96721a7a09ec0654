"""The requests about groups and graphs; a scheduler answers them."""

from __future__ import annotations

from typing import Protocol

from flask import request

from jobyard.api.http.query import read_job_id, read_query
from jobyard.api.http.reply import Reply, message_reply
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.resource_messages import FindGroup, GetGraph, ListGroups


class SchedulerClient(Protocol):
    """The way to a scheduler."""

    def send(self, request: Message) -> Message:
        """The reply; raises `Unavailable`."""


class Workflows:
    """The views."""

    def __init__(self, scheduler: SchedulerClient) -> None:
        self._scheduler = scheduler

    def groups(self) -> Reply:
        """The newest groups that live."""
        read_query(request, ())
        return message_reply(self._scheduler.send(ListGroups()))

    def group(self, group: str) -> Reply:
        """One group."""
        read_query(request, ())
        return message_reply(self._scheduler.send(FindGroup(name=group)))

    def graph(self, job_id: str) -> Reply:
        """The jobs that are connected with this one."""
        read_query(request, ())
        return message_reply(self._scheduler.send(GetGraph(job_id=read_job_id(job_id))))
