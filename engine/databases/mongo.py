"""The adapter of MongoDB, as `databases.open` uses it when there is one."""

from __future__ import annotations

from collections.abc import Callable

from jobyard.engine.config import Settings
from jobyard.engine.logs import Log
from jobyard.engine.store.mongo import server
from jobyard.engine.store.mongo.change_feed import MongoFeed
from jobyard.engine.store.mongo.store import MongoStore


def open_store(
    settings: Settings, waiting: Callable[[bool], None] = lambda waits: None, *, holds: bool, origin: str,
    place: tuple[int, int] = (0, 1),
) -> MongoStore:  # fmt: skip
    """Connects; see `databases.open.open_store`."""
    return MongoStore(server.connect(settings, waiting, holds=holds), origin=origin, place=place)


def open_feed(settings: Settings, *, origin: str, log: Log) -> MongoFeed:
    """Connects; see `databases.open.feed_of`."""
    return MongoFeed(server.connect(settings, holds=False), origin=origin, log=log)


def prepare(settings: Settings) -> str:
    """Makes what is missing; the database in words."""
    return server.prepare(settings)


def examine(settings: Settings) -> str:
    """Changes nothing; the database in words."""
    return server.examine(settings)
