"""The stores, each by a function that opens one more connection to the same database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.store.port import Store
from engine.store.sqlite import SqliteStore
from engine.store.sqlite_file import prepare_file
from tests.support.memory_store import MemoryStore

Open = Callable[[], Store]


def open_sqlite(folder: Path) -> Open:
    prepare_file(folder / "jobs.sqlite")
    return lambda: SqliteStore(folder / "jobs.sqlite", durable=False, waiting=lambda waits: None)


def open_memory(folder: Path) -> Open:
    """The store of the unit tests keeps to the contract too."""
    store = MemoryStore()
    return lambda: store


STORES: dict[str, Callable[[Path], Open]] = {"sqlite": open_sqlite, "memory": open_memory}


@pytest.fixture(params=sorted(STORES))
def open_another(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens one more connection to the test's database."""
    opened: list[Store] = []
    open_one = STORES[request.param](tmp_path)

    def open_and_note() -> Store:
        opened.append(open_one())
        return opened[-1]

    yield open_and_note
    for store in opened:
        store.close()


@pytest.fixture
def store(open_another: Open) -> Store:
    return open_another()
