"""The requests about limits; a scheduler reads their bodies and answers them."""

from __future__ import annotations

from typing import Protocol

from flask import request
from werkzeug.exceptions import MethodNotAllowed

from jobyard.api.http.body import read_optional_body, required_body
from jobyard.api.http.guards import client_of
from jobyard.api.http.query import read_query
from jobyard.api.http.reply import Reply, message_reply
from jobyard.api.http.request_metrics import request_id_of
from jobyard.engine.limits.verbs import LimitVerb
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import AskLimits

VERBS = ("/pause", "/resume", "/hold")


class SchedulerClient(Protocol):
    """The way to a scheduler."""

    def send(self, request: Message) -> Message:
        """The reply; raises `Unavailable`."""


class Limits:
    """The views."""

    def __init__(self, scheduler: SchedulerClient) -> None:
        self._scheduler = scheduler

    def list(self) -> Reply:
        """All of them."""
        return self._ask(LimitVerb.LIST)

    def show(self, limit: str) -> Reply:
        """One of them."""
        _refuse_verb()
        return self._ask(LimitVerb.FIND, limit)

    def put(self, limit: str) -> Reply:
        """Make or change one."""
        _refuse_verb()
        return self._ask(LimitVerb.PUT, limit, body=read_optional_body(request.environ))

    def delete(self, limit: str) -> Reply:
        """Remove one."""
        _refuse_verb()
        return self._ask(LimitVerb.DELETE, limit)

    def pause(self, limit: str) -> Reply:
        """Let no job of it begin."""
        return self._ask(LimitVerb.PAUSE, limit, body=read_optional_body(request.environ))

    def resume(self, limit: str) -> Reply:
        """Let its jobs begin again."""
        return self._ask(LimitVerb.RESUME, limit, body=read_optional_body(request.environ))

    def hold(self, limit: str) -> Reply:
        """Let no job of it begin for a while."""
        return self._ask(LimitVerb.HOLD, limit, body=required_body(request.environ))

    def _ask(self, verb: LimitVerb, name: str = "", *, body: bytes = b"") -> Reply:
        read_query(request, ())
        environ = request.environ
        asked = AskLimits(verb=verb, name=name, body=body, by=client_of(environ), request_id=request_id_of(environ))
        return message_reply(self._scheduler.send(asked))


def _refuse_verb() -> None:
    """The name of a task, and so of a limit, may have slashes: only the path as it was sent tells `/pause` from `%2Fpause`."""
    if request.environ.get("RAW_URI", "").partition("?")[0].endswith(VERBS):
        raise MethodNotAllowed(valid_methods=["POST"])
