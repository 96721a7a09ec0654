"""The change stream's thread: rings for what is new, outlives faults, ends where there are no change streams."""

from __future__ import annotations

import queue
import select
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

from pymongo.errors import AutoReconnect, OperationFailure

from jobyard.engine.store.mongo.change_feed import MongoFeed
from tests.support.builders import a_log
from tests.support.waiting import LIMIT_S

LOST = OperationFailure("the resume point is no longer in the oplog", 286, {"errmsg": "no longer in the oplog"})
NONE_HERE = OperationFailure("only on replica sets", 40573, {"errmsg": "only on replica sets"})


class Streams:
    """A server whose change streams do what they are told, one after the other."""

    def __init__(self, *turns: list[Exception]) -> None:
        self._turns = list(turns)
        self.database = SimpleNamespace(watch=self._watch)
        self.opened = 0
        self.closed: queue.Queue[bool] = queue.Queue()

    @contextmanager
    def _watch(self, *words: object, **more: object) -> Iterator[Iterator[object]]:
        turn = self._turns.pop(0)
        if turn[0] is NONE_HERE:
            raise NONE_HERE
        self.opened += 1
        yield self._changes(turn)

    def _changes(self, turn: list[Exception]) -> Iterator[object]:
        yield {}
        raise turn[0]

    def close(self) -> None:
        self.closed.put(True)


def test_a_stream_that_breaks_is_opened_again_and_one_that_is_not_offered_ends_the_feed() -> None:
    streams = Streams([AutoReconnect("away")], [LOST], [AutoReconnect("away")], [NONE_HERE])
    feed = MongoFeed(streams, origin="here", log=a_log(), again_s=0.0)  # type: ignore[arg-type]

    assert streams.closed.get(timeout=LIMIT_S)

    assert streams.opened == 3
    assert select.select([feed.fd], [], [], 0)[0] == [feed.fd]
    feed.clear()
    assert select.select([feed.fd], [], [], 0)[0] == []
