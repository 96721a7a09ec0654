"""The store that the settings ask for: MongoDB where there is one, else SQLite. Adapters are named here and nowhere else."""

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
    """This process's own. `durable`: what it commits is on the disk when it says so (on MongoDB it always is).

    `waiting` is told of waits for a lock, or for the database; `place`: which of how many claimers on this host asks.
    """
    if settings.mongo_uri is not None:
        return MongoStore(mongo_server.connect(settings, waiting, holds=not durable), origin=origin_of(owner), place=place)
    return SqliteStore(settings.data_dir / DATABASE_FILE, durable=durable, waiting=waiting)


def hosts_of(store: Store) -> Hosts | None:
    """The same store as the place where hosts give their signs of life; None where there is one host only."""
    return store if isinstance(store, MongoStore) else None


def feed_of(settings: Settings, *, owner: Owner, log: Log) -> Feed | None:
    """News of jobs that other hosts accept, on a line of its own; None where there is one host only."""
    if settings.mongo_uri is None:
        return None
    return MongoFeed(mongo_server.connect(settings, holds=False), origin=origin_of(owner), log=log)


def origin_of(owner: Owner) -> str:
    """A start of Jobyard, as the jobs that it accepts are marked."""
    return f"{owner.host}:{owner.boot}"


def prepare_store(settings: Settings) -> str:
    """Once at each start, before anybody opens it: make, migrate, check; what it is, in words. Raises `CannotStart`."""
    if settings.mongo_uri is not None:
        return mongo_server.prepare(settings)
    return prepare_file(settings.data_dir / DATABASE_FILE)


def examine_store(settings: Settings) -> str:
    """The same look at any time, whoever uses it: nothing is made or changed. Raises `CannotStart`."""
    if settings.mongo_uri is not None:
        return mongo_server.examine(settings)
    return examine_file(settings.data_dir / DATABASE_FILE)
