"""The views on a component's own port: its counters and health, and the contents of the queue."""

from __future__ import annotations

from flask import request

from jobyard.api.http.query import DEFAULT_LIMIT, read_query
from jobyard.api.http.reply import Reply, error_reply, json_reply, unexpected, value_reply
from jobyard.api.views.shown import shown_stats
from jobyard.engine.control.snapshot import Snapshots
from jobyard.engine.errors import Unavailable
from jobyard.engine.wire.caller import SILENT_S, Caller, NoAnswer
from jobyard.engine.wire.message import Message
from jobyard.engine.wire.messages import GetItems, Json, Ping, Refused
from jobyard.engine.world import World

ANSWER_S = SILENT_S


class Component:
    """The views of one component."""

    def __init__(self, caller: Caller, name: str, *, snapshots: Snapshots, world: World) -> None:
        self._caller = caller
        self._name = name
        self._snapshots = snapshots
        self._world = world

    def stats(self) -> Reply:
        """The counters that it last published."""
        read_query(request, ())
        component = self._snapshots.take().components.get(self._name)
        if component is None:
            raise Unavailable("unavailable", f"{self._name} has not published its counters yet")
        return value_reply(shown_stats(component, self._world))

    def health(self) -> Reply:
        """Whether it is healthy."""
        read_query(request, ())
        return self._ask(Ping())

    def items(self) -> Reply:
        """The items in the queue."""
        query = read_query(request, ("limit",))
        return self._ask(GetItems(limit=int(str(query.get("limit", DEFAULT_LIMIT)))))

    def _ask(self, question: Message) -> Reply:
        try:
            answer = self._caller.call(self._name, question, timeout_s=ANSWER_S)
        except NoAnswer:
            raise Unavailable("unavailable", f"{self._name} does not answer") from None
        if isinstance(answer, Refused):
            return error_reply(answer)
        return json_reply(answer.body) if isinstance(answer, Json) else unexpected(answer)
