"""The message about hooks, from the front to a scheduler; see `wire.messages`."""

from __future__ import annotations

from enum import StrEnum

from jobyard.engine.wire.message import Message


class HookVerb(StrEnum):
    """What is asked of the hooks."""

    LIST = "list"
    FIND = "find"
    PUT = "put"
    DELETE = "delete"
    TEST = "test"
    ROTATE = "rotate"
    REPLAY = "replay"


class AskHooks(Message, frozen=True):
    """Ask something of the hooks; the reply is `Json` or `Refused`. `by`: the name of the client's token."""

    verb: HookVerb
    name: str = ""
    body: bytes = b""
    by: str = "api"
    request_id: str = ""
