"""Running systems that are shared by tests that do not disturb them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mongo import a_database, any_server
from tests.support.notes import Notes
from tests.support.system import Jobyard

RETRY_BASE_S = 0.1
TASKS = "system_tasks"


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    """The notes that the tasks of this test write."""
    return Notes(tmp_path)


@pytest.fixture(scope="session", params=["sqlite", "mongo"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings of a database."""
    if request.param == "sqlite":
        yield {}
        return
    with any_server(tmp_path_factory.mktemp("mongo")) as uri, a_database(uri) as name:
        yield {"MONGO_URI": uri, "MONGO_DB": name}


@pytest.fixture(scope="session")
def jobyard(tmp_path_factory: pytest.TempPathFactory, database: dict[str, str]) -> Iterator[Jobyard]:
    """The default topology, on each database. Tests may fill its slots for a moment, and may kill only tasks."""
    with Jobyard(tmp_path_factory.mktemp("shared"), TASKS=TASKS, RETRY_BASE_S=RETRY_BASE_S, **database) as jobyard:
        yield jobyard


@pytest.fixture(scope="session")
def one_slot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobyard]:
    """One worker that runs one job at a time."""
    settings = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 1}
    with Jobyard(tmp_path_factory.mktemp("narrow"), TASKS=TASKS, RETRY_BASE_S=RETRY_BASE_S, **settings) as jobyard:
        yield jobyard


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobyard]:
    """Two schedulers and one of each other component, for tests that concern HTTP only."""
    settings = {"SCHEDULERS": 2, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 1}
    with Jobyard(tmp_path_factory.mktemp("small"), TASKS=TASKS, RETRY_BASE_S=RETRY_BASE_S, **settings) as jobyard:
        yield jobyard
