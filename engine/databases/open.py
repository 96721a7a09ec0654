"""Opens the store that the settings name: MongoDB if `MONGO_URI` is set, otherwise SQLite. Only this module names the adapters."""

from __future__ import annotations

from collections.abc import Callable

from jobyard.engine.config import Settings
from jobyard.engine.jobs.owners import Owner
from jobyard.engine.logs import Log
from jobyard.engine.store.mongo import server as mongo_server
from jobyard.engine.store.mongo.change_feed import MongoFeed
from jobyard.engine.store.mongo.store import MongoStore
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
        return MongoStore(mongo_server.connect(settings, waiting, holds=not durable), origin=origin_of(owner), place=place)
    return SqliteStore(settings.data_dir / DATABASE_FILE, durable=durable, waiting=waiting)


def hosts_of(store: Store) -> Hosts | None:
    """The same store as the place for hosts' heartbeats; None if only one host can use the database."""
    return store if isinstance(store, MongoStore) else None


def feed_of(settings: Settings, *, owner: Owner, log: Log) -> Feed | None:
    """Notifications of jobs that other hosts accept, on a connection of its own; None if only one host can use the database."""
    if settings.mongo_uri is None:
        return None
    return MongoFeed(mongo_server.connect(settings, holds=False), origin=origin_of(owner), log=log)


def origin_of(owner: Owner) -> str:
    """The name of one start of Jobyard, with which it marks the jobs that it accepts."""
    return f"{owner.host}:{owner.boot}"


def prepare_store(settings: Settings) -> str:
    """Create, migrate and check the database, once per start, before it is opened; returns a description. Raises `CannotStart`."""
    if settings.mongo_uri is not None:
        return mongo_server.prepare(settings)
    return prepare_file(settings.data_dir / DATABASE_FILE)


def examine_store(settings: Settings) -> str:
    """The same checks at any time, even while it is in use: nothing is created or changed. Raises `CannotStart`."""
    if settings.mongo_uri is not None:
        return mongo_server.examine(settings)
    return examine_file(settings.data_dir / DATABASE_FILE)
