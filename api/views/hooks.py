"""The requests about hooks; a scheduler reads their bodies and answers them."""

from __future__ import annotations

from typing import Protocol

from flask import request

from jobyard.api.http.body import JSON, media_type, read_body, read_optional_body
from jobyard.api.http.guards import client_of
from jobyard.api.http.query import read_query
from jobyard.api.http.reply import Reply, message_reply
from jobyard.api.http.request_metrics import request_id_of
from jobyard.engine.wire.hook_messages import AskHooks, HookVerb
from jobyard.engine.wire.message import Message


class SchedulerClient(Protocol):
    """The way to a scheduler."""

    def send(self, request: Message) -> Message:
        """The reply; raises `Unavailable`."""


class Hooks:
    """The views."""

    def __init__(self, scheduler: SchedulerClient) -> None:
        self._scheduler = scheduler

    def list(self) -> Reply:
        """All of them."""
        return self._ask(HookVerb.LIST)

    def show(self, hook: str) -> Reply:
        """One of them."""
        return self._ask(HookVerb.FIND, hook)

    def put(self, hook: str) -> Reply:
        """Make or change one."""
        return self._ask(HookVerb.PUT, hook, body=_body())

    def delete(self, hook: str) -> Reply:
        """Remove one."""
        return self._ask(HookVerb.DELETE, hook)

    def test(self, hook: str) -> Reply:
        """Deliver a test event."""
        return self._ask(HookVerb.TEST, hook, body=read_optional_body(request.environ))

    def rotate(self, hook: str) -> Reply:
        """Make a new secret."""
        return self._ask(HookVerb.ROTATE, hook, body=read_optional_body(request.environ))

    def replay(self, hook: str) -> Reply:
        """Deliver past events again."""
        return self._ask(HookVerb.REPLAY, hook, body=_body())

    def _ask(self, verb: HookVerb, name: str = "", *, body: bytes = b"") -> Reply:
        read_query(request, ())
        environ = request.environ
        asked = AskHooks(verb=verb, name=name, body=body, by=client_of(environ), request_id=request_id_of(environ))
        return message_reply(self._scheduler.send(asked))


def _body() -> bytes:
    media_type(request.environ, (JSON,))
    return read_body(request.environ)
