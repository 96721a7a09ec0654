"""The base class of messages between processes; see `wire.messages`."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Base class of everything that is sent between processes."""
