"""A database file of a test, and other processes that use it.

Whatever opens or reads the file beside our stores does so in another process, or when they are closed: locks belong to a
process, and whoever closes the file drops all that his process has on it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobyard.engine.jobs.job import JobFilter, Status
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from jobyard.engine.world import World

SOON_S = 0.3
Waiting = Callable[[bool], None]


class Open:
    """Opens one more store on the test's file; `close` ends them all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: list[SqliteStore] = []

    def __call__(self, *, durable: bool = True, waiting: Waiting = lambda waits: None) -> SqliteStore:
        self._opened.append(SqliteStore(self._path, durable=durable, waiting=waiting))
        return self._opened[-1]

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database will be."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "jobs.sqlite"


@pytest.fixture
def made(path: Path) -> Path:
    """Where it is."""
    prepare_file(path)
    return path


@pytest.fixture
def open_store(path: Path) -> Iterator[Open]:
    opener = Open(path)
    yield opener
    opener.close()


def die_at_once() -> None:
    """As a process dies that somebody kills."""
    os.kill(os.getpid(), signal.SIGKILL)


def in_another_process(do: Callable[[], object]) -> int:
    """Done and left; the status with which it ended."""
    world = World()
    return world.wait(world.fork(lambda: 0 if do() is not False else 1))


def foreign(path: Path, *statements: str) -> None:
    """Another program's work: the standard library's SQLite, with its own idea of everything."""

    def work() -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    assert in_another_process(work) == 0


class Stranger:
    """Another program in the middle of its work; what it has not committed is gone when it leaves."""

    def __init__(self, path: Path, *statements: str) -> None:
        self._world = World()
        leave_read, self._leave = os.pipe()
        ready_read, ready = os.pipe()

        def work() -> int:
            os.close(self._leave)
            connection = sqlite3.connect(path, isolation_level=None)
            for statement in statements:
                connection.execute(statement).fetchall()
            os.write(ready, b"!")
            if os.read(leave_read, 1):
                time.sleep(SOON_S)
            return 0

        self._pid = self._world.fork(work)
        os.close(leave_read), os.close(ready)
        assert os.read(ready_read, 1), "it could not do its work"
        os.close(ready_read)

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()

    def leave_soon(self) -> None:
        """It ends by itself while we do something else."""
        os.write(self._leave, b"!")

    def leave(self) -> None:
        """It ends; a second time does nothing."""
        if self._leave >= 0:
            os.close(self._leave)
            self._leave = -1
            self._world.wait(self._pid)


def recount(store: SqliteStore) -> dict[Status, int]:
    """The jobs by status, counted one by one."""
    counted: Counter[Status] = Counter()
    cursor = None
    while True:
        page = store.list_jobs(JobFilter(), limit=1000, cursor=cursor)
        counted.update(job.status for job in page.jobs)
        cursor = page.cursor
        if cursor is None:
            return {status: counted[status] for status in Status}
