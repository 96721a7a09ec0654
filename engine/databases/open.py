"""The store that the settings ask for: MongoDB where there is one, else SQLite.

The adapter of MongoDB is loaded only when `MONGO_URI` is set, so that a server without it needs no `pymongo`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

from jobyard.engine.config import Settings
from jobyard.engine.errors import CannotStart
from jobyard.engine.extras import MONGO, extra_of, how_to_add
from jobyard.engine.jobs.owners import Owner
from jobyard.engine.logs import Log
from jobyard.engine.store.port import Feed, Hosts, Store
from jobyard.engine.store.sqlite.file import examine_file, prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore

DATABASE_FILE = "jobyard.sqlite"


def open_store(
    settings: Settings, *, owner: Owner, durable: bool, waiting: Callable[[bool], None] = lambda waits: None,
    place: tuple[int, int] = (0, 1),
) -> Store:  # fmt: skip
    """This process's own. `durable`: what it commits is on the disk when it says so (on MongoDB it always is).

    `waiting` is told of waits for a lock, or for the database; `place`: which of how many claimers on this host asks.
    """
    if settings.mongo_uri is not None:
        store: Store = mongo().open_store(settings, waiting, holds=not durable, origin=origin_of(owner), place=place)
        return store
    return SqliteStore(settings.data_dir / DATABASE_FILE, durable=durable, waiting=waiting)


def hosts_of(store: Store) -> Hosts | None:
    """The same store as the place where hosts give their signs of life; None where there is one host only."""
    return store if isinstance(store, Hosts) else None


def feed_of(settings: Settings, *, owner: Owner, log: Log) -> Feed | None:
    """News of jobs that other hosts accept, on a line of its own; None where there is one host only."""
    if settings.mongo_uri is None:
        return None
    feed: Feed = mongo().open_feed(settings, origin=origin_of(owner), log=log)
    return feed


def origin_of(owner: Owner) -> str:
    """A start of Jobyard, as the jobs that it accepts are marked."""
    return f"{owner.host}:{owner.boot}"


def prepare_store(settings: Settings) -> str:
    """Once at each start, before anybody opens it: make, migrate, check; what it is, in words. Raises `CannotStart`."""
    if settings.mongo_uri is not None:
        return str(mongo().prepare(settings))
    return prepare_file(settings.data_dir / DATABASE_FILE)


def examine_store(settings: Settings) -> str:
    """The same look at any time, whoever uses it: nothing is made or changed. Raises `CannotStart`."""
    if settings.mongo_uri is not None:
        return str(mongo().examine(settings))
    return examine_file(settings.data_dir / DATABASE_FILE)


def load_adapter(settings: Settings) -> None:
    """Before the first fork, so that all processes share its code. Raises `CannotStart`."""
    if settings.mongo_uri is not None:
        mongo()


def mongo() -> ModuleType:
    """`databases.mongo`; raises `CannotStart` where `pymongo` is not installed."""
    try:
        return importlib.import_module("jobyard.engine.databases.mongo")
    except ModuleNotFoundError as missing:
        if extra_of(missing.name) != MONGO:
            raise
        raise CannotStart(f"MONGO_URI is set, and {how_to_add(MONGO, ['pymongo'])}") from missing
