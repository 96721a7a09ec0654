"""The stores, each by a function that opens one more connection to the same database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mongomock
import pytest

from jobyard.engine.store.mongo.server import connect, prepare
from jobyard.engine.store.mongo.store import MongoStore
from jobyard.engine.store.port import Store
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from tests.support.memory_store import MemoryStore
from tests.support.mongo import a_database, any_server, open_mock, settings_for

Open = Callable[[], Store]


def open_sqlite(folder: Path) -> Open:
    prepare_file(folder / "jobs.sqlite")
    return lambda: SqliteStore(folder / "jobs.sqlite", durable=False, waiting=lambda waits: None)


def open_memory(folder: Path) -> Open:
    """The store of the unit tests keeps to the contract too."""
    store = MemoryStore()
    return lambda: store


def open_mongomock(folder: Path) -> Open:
    """MongoDB's adapter on the mock: fast, but of one process, and without the rules of a real server."""
    client = mongomock.MongoClient()
    return lambda: open_mock(client)


STORES: dict[str, Callable[[Path], Open]] = {"sqlite": open_sqlite, "memory": open_memory, "mongomock": open_mongomock}
"""Those that need nothing but a folder; `mongo` is the adapter on a real server."""


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with any_server(tmp_path_factory.mktemp("mongo")) as uri:
        yield uri


@contextmanager
def opener(name: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Open]:
    if name != "mongo":
        yield STORES[name](folder)
        return
    uri = request.getfixturevalue("mongo_uri")
    with a_database(uri) as database:
        settings = settings_for(uri, database)
        prepare(settings)
        yield lambda: MongoStore(connect(settings))


@pytest.fixture(params=[*sorted(STORES), "mongo"])
def open_another(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens one more connection to the test's database."""
    opened: list[Store] = []
    with opener(request.param, tmp_path, request) as open_one:

        def open_and_note() -> Store:
            opened.append(open_one())
            return opened[-1]

        yield open_and_note
        for store in opened:
            store.close()


@pytest.fixture
def store(open_another: Open) -> Store:
    return open_another()
