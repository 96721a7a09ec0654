"""How long a query by filter goes on where the index does not decide."""

from __future__ import annotations

import mongomock
import pytest

from jobyard.engine.jobs.job import JobFilter, Status
from jobyard.engine.store.mongo import search
from jobyard.engine.store.mongo.search import PAGE_S, MongoSearch
from jobyard.engine.store.mongo.server import MongoServer
from jobyard.engine.store.mongo.store import MongoStore
from tests.support.builders import a_job
from tests.support.mongo import open_mock
from tests.support.world import FakeWorld

LOOK = 1 << 20


class SlowWorld(FakeWorld):
    """Whoever reads the clock finds that time has passed."""

    def monotonic(self) -> float:
        self.advance(PAGE_S)
        return super().monotonic()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> mongomock.MongoClient:
    monkeypatch.setattr(search, "RUN", 5)
    monkeypatch.setattr(search, "TEXT_RUN", 5)
    client = mongomock.MongoClient()
    store: MongoStore = open_mock(client)
    store.insert([[a_job(task="mail") for _ in range(12)]])
    return client


def search_in(client: mongomock.MongoClient, world: FakeWorld) -> MongoSearch:
    return MongoSearch(MongoServer(client, "jobs"), dict, world)


def pages(found_by: MongoSearch, wanted: JobFilter) -> int:
    """How many pages, all of them empty, lead to the end."""
    number, cursor = 0, None
    while number == 0 or cursor is not None:
        page = found_by.page(wanted, limit=100, cursor=cursor, max_bytes=1 << 20, whole=True, look=LOOK)
        assert page.jobs == []
        number, cursor = number + 1, page.cursor
    return number


@pytest.mark.parametrize("wanted", [JobFilter(status=Status.PENDING, task="none"), JobFilter(text="none")])
def test_a_slow_page_ends_after_the_run_that_took_long_and_goes_on_from_there(
    client: mongomock.MongoClient, wanted: JobFilter
) -> None:
    assert pages(search_in(client, SlowWorld()), wanted) == 3  # 12 jobs in runs of 5
    assert pages(search_in(client, FakeWorld()), wanted) == 1


def test_a_slow_count_says_that_it_is_not_exact(client: mongomock.MongoClient) -> None:
    wanted = JobFilter(status=Status.PENDING, task="mail")

    slow, quick = (search_in(client, world).count(wanted, look=LOOK) for world in (SlowWorld(), FakeWorld()))

    assert (slow.count, slow.is_exact) == (5, False)
    assert (quick.count, quick.is_exact) == (12, True)
