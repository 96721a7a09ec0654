"""What the claims ask of MongoDB costs no more the more jobs wait: by the rule of its planner for reading an index in order.

The server of the tests knows no such rule, so it is written down here: of an index, the first fields that have one value or a
list of them each are read as so many stretches, 200 at most; what follows must begin with the order that is asked for. Otherwise
everything that matches is read and sorted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pymongo
import pytest
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from jobyard.engine.store.mongo.server import INDEXES, MongoServer, prepare
from jobyard.engine.store.mongo.store import MongoStore
from jobyard.engine.store.port import Served
from tests.support.builders import a_job
from tests.support.claims import claim
from tests.support.mongo import a_database, settings_for
from tests.support.world import START

MOST_STRETCHES = 200
KEYS = {index.document["name"]: list(index.document["key"].items()) for index in INDEXES["jobs"]}


@dataclass
class Heard(CommandListener):
    """The questions that were sent."""

    finds: list[dict[str, Any]] = field(default_factory=list)

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "find" and event.command["find"] == "jobs":
            self.finds.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Not of interest."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Not of interest."""


def values_of(condition: Any) -> int | None:
    """How many values a field may have; None: a range of them, or any."""
    if isinstance(condition, dict):
        return len(condition["$in"]) if set(condition) == {"$in"} else None
    return None if condition is None else 1


def stretches(find: dict[str, Any]) -> int:
    """In how many the index is read."""
    keys = KEYS[find["hint"]]
    counts = [values_of(find["filter"].get(name)) for name, _ in keys]
    points = counts.index(None) if None in counts else len(keys)
    order = list(find["sort"].items())
    assert keys[points:][: len(order)] == order, f"everything is sorted: {find}"
    return math.prod(count for count in counts[:points] if count is not None)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def store(mongo_uri: str, heard: Heard) -> Iterator[MongoStore]:
    with a_database(mongo_uri) as name, pymongo.MongoClient(mongo_uri, event_listeners=[heard]) as client:
        prepare(settings_for(mongo_uri, name))
        yield MongoStore(MongoServer(client, name), place=(0, 3))


def named(kind: str, count: int) -> tuple[str, ...]:
    return tuple(f"{kind}-{number}" for number in range(count))


@pytest.mark.parametrize(
    "served",
    [
        Served(tasks=("echo",)), Served(tasks=named("task", 3)), Served(tasks=named("task", 450)),
        Served(tasks=named("task", 30), queues=named("queue", 30)), Served(tasks=("echo",), queues=named("queue", 450)),
    ],
    ids=lambda served: f"{len(served.tasks)} tasks, {len(served.queues or ())} queues",
)  # fmt: skip
def test_claims_read_indexes_in_order(store: MongoStore, heard: Heard, served: Served) -> None:
    assert served.tasks is not None
    task, queue = served.tasks[-1], served.queues[-1] if served.queues else "default"
    store.insert([[a_job(task=task, queue=queue, priority=9)]])

    first = store.next_due(served=served)
    due = store.due(now=START, limit=10, served=served)
    claimed = claim(store, served=served)

    assert (first, len(due), len(claimed)) == (START, 1, 1)
    assert heard.finds
    assert all(stretches(find) <= MOST_STRETCHES for find in heard.finds)
