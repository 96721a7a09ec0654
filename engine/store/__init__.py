"""The store that the settings ask for. Adapters are named here and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

from engine.config import Settings
from engine.errors import CannotStart
from engine.store.port import Store
from engine.store.sqlite import SqliteStore
from engine.store.sqlite_file import prepare_file

DATABASE_FILE = "jobyard.sqlite"


def open_store(settings: Settings, *, durable: bool, waiting: Callable[[bool], None] = lambda waits: None) -> Store:
    """This process's own. `durable`: what it commits is on the disk when it says so; `waiting` is told of waits for a lock."""
    return SqliteStore(settings.data_dir / DATABASE_FILE, durable=durable, waiting=waiting)


def prepare_store(settings: Settings) -> str:
    """Once at each start, before anybody opens it: make, migrate, check; what it is, in words. Raises `CannotStart`."""
    if settings.mongo_uri is not None:
        raise CannotStart("MONGO_URI is set, but this version has no MongoDB store yet: unset it to use the embedded database")
    return prepare_file(settings.data_dir / DATABASE_FILE)
