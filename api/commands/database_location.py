"""The source and target of a migration: which database an argument names, opening it, and checking that nothing runs on it."""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobyard.engine.config import Settings, read_settings
from jobyard.engine.databases.migration import Copyable
from jobyard.engine.databases.open import hosts_of, mongo
from jobyard.engine.errors import CannotStart
from jobyard.engine.hosts.host_lease import heartbeat_every_s
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from jobyard.engine.supervisor.data_dir import DataDir
from jobyard.engine.world import World

LONGEST_LOOK_S = 12.0
SLACK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseLocation:
    """Where a database is: in a file, or on a MongoDB."""

    file: Path | None
    settings: Settings

    def __str__(self) -> str:
        """Without the address, which may hold a password."""
        return str(self.file) if self.file is not None else f"database {self.settings.mongo_db} on MongoDB"

    @staticmethod
    def of(words: str, *, mongo_db: str, mongo_uri: str | None) -> DatabaseLocation:
        """The database that FROM or TO names. Raises `CannotStart`."""
        if words == "mongodb":
            if not mongo_uri:
                raise CannotStart("the word mongodb stands for MONGO_URI, which is not set")
            words = mongo_uri
        if "://" in words and not words.startswith(("mongodb://", "mongodb+srv://")):
            raise CannotStart("a database is a file, or an address that begins with mongodb://")
        is_mongo = "://" in words
        settings = read_settings({"MONGO_URI": words, "MONGO_DB": mongo_db} if is_mongo else {})
        return DatabaseLocation(file=None if is_mongo else Path(words).absolute(), settings=settings)


@contextmanager
def open_database(place: DatabaseLocation) -> Iterator[Copyable]:
    """Open the database; a file is locked exclusively meanwhile, as a start would lock it. Raises `CannotStart`."""
    with ExitStack() as exit_stack:
        if place.file is None:
            mongo().prepare(place.settings)
            store: Copyable = mongo().open_store(place.settings, holds=False, origin="migration")
        else:
            folder = DataDir(place.file.parent)
            folder.make()
            folder.take("migrate", alone=True)
            exit_stack.callback(folder.release)
            prepare_file(place.file)
            store = SqliteStore(place.file, durable=True, waiting=lambda waits: None)
        exit_stack.callback(store.close)
        yield store


def refuse_running(place: DatabaseLocation, store: Copyable, world: World, *, assume_stopped: bool) -> None:
    """Raises `CannotStart` when a host's heartbeat on the MongoDB is renewed within the time in which it must be."""
    hosts = hosts_of(store)
    if hosts is None or assume_stopped or not (before := {sign.boot: sign for sign in hosts.hosts()}):
        return
    look_s = max(heartbeat_every_s(sign.lease_s) for sign in before.values()) + SLACK_S
    if look_s > LONGEST_LOOK_S:
        raise CannotStart(
            f"hosts on the MongoDB send a heartbeat only every {look_s:.0f} s: make sure that none runs, and pass --stopped"
        )
    ends_at = world.monotonic() + look_s
    while world.monotonic() < ends_at:
        select.select([], [], [], 0.2)
        for sign in hosts.hosts():
            if sign.boot not in before or sign.renewal != before[sign.boot].renewal:
                raise CannotStart(f"a Jobyard runs on the MongoDB (host {sign.host}, start {sign.boot}): stop it first")
