"""Opens the store that the settings name: MongoDB if `MONGO_URI` is set, otherwise SQLite.

The MongoDB adapter is loaded only when `MONGO_URI` is set, so a server on SQLite needs no `pymongo`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

from jobyard.engine.config import Settings
from jobyard.engine.errors import CannotStart
from jobyard.engine.extras import MONGO, how_to_add, missing_from
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
    """Open this process's store. `durable`: a commit is on disk when the call returns (on MongoDB it always is).

    `waiting` is called before and after a wait for a lock or the database; `place`: the index of this claimer and their number.
    """
    if settings.mongo_uri is not None:
        store: Store = mongo().open_store(settings, waiting, holds=not durable, origin=origin_of(owner), place=place)
        return store
    return SqliteStore(settings.data_dir / DATABASE_FILE, durable=durable, waiting=waiting)


def hosts_of(store: Store) -> Hosts | None:
    """The same store as the place for hosts' heartbeats; None if only one host can use the database."""
    return store if isinstance(store, Hosts) else None


def feed_of(settings: Settings, *, owner: Owner, log: Log) -> Feed | None:
    """Notifications of jobs that other hosts accept, on a connection of its own; None if only one host can use the database."""
    if settings.mongo_uri is None:
        return None
    feed: Feed = mongo().open_feed(settings, origin=origin_of(owner), log=log)
    return feed


def origin_of(owner: Owner) -> str:
    """The name of one start of Jobyard, with which it marks the jobs that it accepts."""
    return f"{owner.host}:{owner.boot}"


def prepare_store(settings: Settings) -> str:
    """Create, migrate and check the database, once per start, before it is opened; returns a description. Raises `CannotStart`."""
    if settings.mongo_uri is not None:
        return str(mongo().prepare(settings))
    return prepare_file(settings.data_dir / DATABASE_FILE, by_queue=settings.queues is not None)


def examine_store(settings: Settings) -> str:
    """The same checks at any time, even while it is in use: nothing is created or changed. Raises `CannotStart`."""
    if settings.mongo_uri is not None:
        return str(mongo().examine(settings))
    return examine_file(settings.data_dir / DATABASE_FILE)


def load_adapter(settings: Settings) -> None:
    """Before the first fork, so that all processes share its code. Raises `CannotStart`."""
    if settings.mongo_uri is not None:
        mongo()


def mongo() -> ModuleType:
    """`databases.mongo`; raises `CannotStart` where `pymongo` is not installed, or in a version that does not fit."""
    if missing := missing_from(MONGO):
        raise CannotStart(f"MONGO_URI is set, and {how_to_add(MONGO, missing)}")
    return importlib.import_module("jobyard.engine.databases.mongo")
