"""MongoDB for tests: a mock in this process, and a real server over a real socket that tests can stop and start.

If `MONGO_TEST_URI` names a server (a real replica set), the integration tests use it; otherwise they start the
MongoDB-compatible server of the test extras.
"""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mongomock
import mongomock.collection
import pymongo
from bson import ObjectId

from jobyard.engine.config import Settings, read_settings
from jobyard.engine.store.mongo.server import MongoServer
from jobyard.engine.store.mongo.store import MongoStore
from tests.support.mongo_steps import Before, make_stepwise
from tests.support.waiting import wait_for

STOP_S = 8.0
"""Then it is killed; a test that wants it to end in order asks for that by itself."""


class MongoProcess:
    """A server process with its own folder, on a port of the loopback address."""

    def __init__(self, folder: Path, *, standalone: bool = False, host: str = "127.0.0.1") -> None:
        self.port = _free_port()
        self._folder = folder
        self._words = ["--host", host, *(["--standalone"] if standalone else [])]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """The server's URI."""
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> MongoProcess:
        """Start the server, and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("secantusd-py")), "--port", str(self.port), "--storage-path",
                    str(self._folder / "data"), "--log-level", "ERROR", *self._words,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(self._answers, told="a MongoDB server")
        return self

    def stop(self) -> None:
        """Stop the server by SIGTERM, which may take some seconds."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """Kill the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> MongoProcess:
        return self.start()

    def __exit__(self, *ignored: object) -> None:
        self.kill()

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "it ended"
        with pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=200) as client:
            try:
                return bool(client.admin.command("ping")["ok"])
            except pymongo.errors.PyMongoError:
                return False


@contextmanager
def any_server(folder: Path) -> Iterator[str]:
    """The URI of the server that integration tests use."""
    given = os.environ.get("MONGO_TEST_URI")
    if given:
        yield given
        return
    with MongoProcess(folder) as server:
        yield server.uri


@contextmanager
def a_database(uri: str) -> Iterator[str]:
    """The name of a database for one test, which is dropped afterwards."""
    name = f"jobyard_test_{ObjectId()}"
    yield name
    with pymongo.MongoClient(uri, serverSelectionTimeoutMS=2000) as client:
        client.drop_database(name)


def settings_for(uri: str, database: str, **more: object) -> Settings:
    """Settings for this database."""
    return read_settings({"MONGO_URI": uri, "MONGO_DB": database} | {name: str(value) for name, value in more.items()})


def open_mock(client: mongomock.MongoClient, *, before: Before | None = None, **options: object) -> MongoStore:
    """A store on the mock, with the one unique index that matters there; `before` precedes every command."""
    _accept_sort()
    server = MongoServer(client, "jobs")
    if before is not None:
        make_stepwise(server, before)
    server.jobs.create_index("idempotency_key", unique=True, sparse=True)
    return MongoStore(server, **options)  # type: ignore[arg-type]


@functools.cache
def _accept_sort() -> None:
    """The mock's bulk writes do not know an argument that the driver passes since 4.11 (None by default)."""
    builder = mongomock.collection.BulkOperationBuilder
    for name in ("add_update", "add_replace"):
        original = getattr(builder, name)

        @functools.wraps(original)
        def without_sort(self: object, *words: object, original=original, sort: object = None, **more: object) -> object:  # type: ignore[no-untyped-def]
            assert sort is None
            return original(self, *words, **more)

        setattr(builder, name, without_sort)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
