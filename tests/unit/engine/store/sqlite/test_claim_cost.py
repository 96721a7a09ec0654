"""A claim costs the same however many due jobs lie before it that nobody here serves: counted in steps of SQLite's machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from jobyard.engine.store.port import Candidate, Served
from jobyard.engine.store.sqlite.file import prepare_file
from jobyard.engine.store.sqlite.store import SqliteStore
from tests.support.builders import a_job
from tests.support.world import START

WATCHER, WORKER = "box:b00t:watcher-9001:1", "box:b00t:worker-7001:1"
EARLIER = START - timedelta(hours=1)
FEW, MANY = 20, 5_000
MINE = 10
TASKS = Served(tasks=("echo", "http"))
QUEUES = Served(tasks=("echo", "http"), queues=("default", "mail"))


class Room:
    """Room for so many jobs at one worker."""

    def __init__(self, most: int) -> None:
        self.most = most

    def place(self, candidate: Candidate) -> str:
        self.most -= 1
        return WORKER


class Bench:
    """A store with some jobs to claim behind due jobs that nobody serves."""

    def __init__(self, folder: Path, served: Served, unserved: int) -> None:
        folder.mkdir()
        prepare_file(folder / "jobs.sqlite", by_queue=served.queues is not None)
        self.store = SqliteStore(folder / "jobs.sqlite", durable=False, waiting=lambda waits: None)
        self.served = served
        foreign = {"task": "gone"} if served.queues is None else {"queue": "other"}
        self.store.insert([[a_job(scheduled_at=EARLIER, **foreign) for _ in range(unserved)]])
        self.mine = [a_job() for _ in range(MINE)]
        self.store.insert([self.mine])

    def claim(self) -> list[str]:
        claimed = self.store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=Room(100), served=self.served)
        return [job.job_id for job in claimed.jobs]

    def claim_one(self) -> None:
        claimed = self.store.claim_due(owner=WATCHER, now=START, lease_s=30, allocation=Room(1), served=self.served)
        assert len(claimed.jobs) == 1

    def steps(self, act: Callable[[], object]) -> int:
        """In hundreds."""
        seen: list[None] = []
        self.store._connection.set_progress_handler(lambda: seen.append(None), 100)
        act()
        self.store._connection.set_progress_handler(None, 0)
        return len(seen)


@pytest.mark.parametrize("served", [TASKS, QUEUES], ids=["a task that is gone", "QUEUES"])
def test_due_jobs_that_nobody_serves_cost_a_claim_nothing(tmp_path: Path, served: Served) -> None:
    few, many = (Bench(tmp_path / str(number), served, number) for number in (FEW, MANY))
    asked = [
        lambda bench: bench.store.next_due(served=served), lambda bench: bench.store.due(now=START, limit=100, served=served),
        lambda bench: bench.store.count_due(now=START, served=served),
        lambda bench: bench.store.count_ahead(bench.mine[-1], now=START, served=served), Bench.claim, Bench.claim,
    ]  # fmt: skip

    for act in asked:
        assert many.steps(lambda act=act: act(many)) <= few.steps(lambda act=act: act(few)) + 2  # type: ignore[misc]


@pytest.mark.parametrize("served", [TASKS, QUEUES])
def test_a_claim_costs_the_same_however_many_jobs_are_due(tmp_path: Path, served: Served) -> None:
    few, many = (Bench(tmp_path / str(number), served, 0) for number in (FEW, MANY))
    for bench, number in ((few, FEW), (many, MANY)):
        bench.store.insert([[a_job(scheduled_at=EARLIER, priority=5 - index % 2) for index in range(number)]])
    asked = [lambda bench: bench.store.next_due(served=served), lambda bench: bench.claim_one()]

    for act in asked:
        assert many.steps(lambda act=act: act(many)) <= few.steps(lambda act=act: act(few)) + 2  # type: ignore[misc]


@pytest.mark.parametrize("served", [TASKS, QUEUES])
def test_what_is_served_is_claimed_and_counted_behind_what_is_not(tmp_path: Path, served: Served) -> None:
    bench = Bench(tmp_path / "data", served, FEW)

    assert bench.store.count_due(now=START, served=served).counts[5] == MINE
    assert bench.store.count_ahead(bench.mine[-1], now=START, served=served).count == MINE - 1
    assert [job.job_id for job in bench.store.due(now=START, limit=3, served=served)] == [job.job_id for job in bench.mine[:3]]
    assert bench.claim() == [job.job_id for job in bench.mine]
    assert bench.claim() == []


def test_the_index_of_queues_is_there_only_while_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    indexes = []
    for by_queue in (False, True, True, False):
        prepare_file(path, by_queue=by_queue)
        store = SqliteStore(path, durable=False, waiting=lambda waits: None)
        indexes.append(store._claims._has_queue_index)
        store.close()

    assert indexes == [False, True, True, False]
