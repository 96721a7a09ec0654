"""A MongoDB store whose every single command is preceded by a call, so that a test can let anything happen in between.

A bulk write is sent as the single writes that it consists of: a server applies them one by one, and others come in between.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from jobyard.engine.store.mongo.server import MongoServer

Before = Callable[[str, str], None]
"""Called with the names of the collection and of the command."""
COMMANDS = (
    "count_documents", "delete_many", "delete_one", "distinct", "find", "find_one", "find_one_and_update", "insert_many",
    "insert_one", "replace_one", "update_many", "update_one",
)  # fmt: skip
COLLECTIONS = ("jobs", "executions", "outputs", "batches", "limits", "limit_state", "parts", "lanes")
COUNTED = ("matched_count", "modified_count", "upserted_count", "deleted_count", "inserted_count")


class Stepwise:
    """One collection."""

    def __init__(self, collection: Any, before: Before) -> None:
        self._collection = collection
        self._before = before

    def __getattr__(self, name: str) -> Any:
        command = getattr(self._collection, name)
        if name not in COMMANDS:
            return command

        def with_step(*words: Any, **more: Any) -> Any:
            self._before(self._collection.name, name)
            return command(*words, **more)

        return with_step

    def bulk_write(self, writes: Any, **more: Any) -> Any:
        """The writes one by one; the counts of all."""
        done = []
        for write in writes:
            self._before(self._collection.name, "bulk_write")
            done.append(self._collection.bulk_write([write], **more))
        return SimpleNamespace(**{name: sum(getattr(one, name) for one in done) for name in COUNTED})


def make_stepwise(server: MongoServer, before: Before) -> None:
    """Let `before` precede every command of this server's store; to be called before the store is made."""
    for name in COLLECTIONS:
        setattr(server, name, Stepwise(getattr(server, name), before))
