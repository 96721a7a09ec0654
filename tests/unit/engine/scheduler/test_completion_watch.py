"""Who waits for jobs is told of their ends; who only waits costs next to nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job
from jobyard.engine.scheduler.completion_watch import AWAY_S, LOOK_S, SHARE, SLOW_LOOK_S, CompletionWatch
from jobyard.engine.wire.messages import Ended, WatchCompletion
from tests.support.builders import a_job
from tests.support.memory_store import MemoryStore
from tests.support.network import FakePeer
from tests.support.world import START, FakeWorld


class WatchedStore(MemoryStore):
    """Knows what it was asked; a look may take its time, and a version need not be known."""

    def __init__(self, world: FakeWorld) -> None:
        super().__init__()
        self.world = world
        self.looks: list[list[str]] = []
        self.versions = 0
        self.look_takes_s = 0.0
        self.can_tell = True

    def ended(self, job_ids: Sequence[str]) -> list[str]:
        self.looks.append(list(job_ids))
        self.world.advance(self.look_takes_s)
        return super().ended(job_ids)

    def version(self) -> object | None:
        self.versions += 1
        return super().version() if self.can_tell else None


class Bench:
    def __init__(self) -> None:
        self.world = FakeWorld()
        self.store = WatchedStore(self.world)
        self.completion_watch = CompletionWatch(self.store, self.world)
        self.front = FakePeer()

    def put(self, count: int = 1) -> list[Job]:
        jobs = [a_job() for _ in range(count)]
        self.store.insert([jobs])
        return jobs

    def end(self, job: Job) -> None:
        self.store.apply([lifecycle.cancel(job, now=START)])

    def wait_for(self, *jobs: Job, front: FakePeer | None = None) -> None:
        self.completion_watch.take(front or self.front, WatchCompletion(job_ids=[job.job_id for job in jobs]))

    def look(self, after_s: float = LOOK_S) -> list[str]:
        """Of what the front is told."""
        self.world.advance(after_s)
        self.completion_watch.look()
        return [job_id for told in self.front.take(Ended) for job_id in told.job_ids]  # type: ignore[attr-defined]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_end_is_told_once_to_everybody_who_waits_for_it(bench: Bench) -> None:
    mine, other = bench.put(2)
    second = FakePeer()
    bench.wait_for(mine, other)
    bench.wait_for(mine, front=second)
    assert bench.look() == []

    bench.end(mine)

    assert bench.look() == [mine.job_id]
    assert second.take(Ended) == [Ended(job_ids=[mine.job_id])]
    assert bench.look() == []


def test_what_ended_before_it_was_waited_for_is_told_at_once_and_what_is_not_there_too(bench: Bench) -> None:
    (job,) = bench.put()
    bench.end(job)
    bench.look()

    bench.completion_watch.take(bench.front, WatchCompletion(job_ids=[job.job_id, "f" * 24]))

    assert sorted(bench.look(after_s=0)) == sorted([job.job_id, "f" * 24])


def test_while_nobody_waits_the_store_is_asked_nothing(bench: Bench) -> None:
    (job,) = bench.put()
    bench.look()
    bench.wait_for(job)
    bench.look()
    bench.completion_watch.take(bench.front, WatchCompletion(job_ids=[], no_longer=[job.job_id]))
    asked = bench.store.versions

    bench.look()

    assert bench.store.versions == asked and bench.completion_watch.next_look_s() == float("inf")


def test_while_nothing_is_committed_nothing_is_read(bench: Bench) -> None:
    bench.wait_for(*bench.put(3))
    bench.look()

    for _ in range(5):
        bench.look()

    assert bench.store.versions == 6
    assert len(bench.store.looks) == 2, "when they came, and for the first version"


def test_a_look_that_takes_long_is_followed_by_a_pause_that_is_longer(bench: Bench) -> None:
    (job,) = bench.put()
    bench.store.look_takes_s = 0.1
    bench.wait_for(job)

    bench.look()

    assert bench.completion_watch.next_look_s() == pytest.approx(0.1 * SHARE)


def test_who_comes_is_looked_for_alone_however_much_is_committed(bench: Bench) -> None:
    bench.wait_for(*bench.put(100))
    bench.look()
    bench.store.looks.clear()

    for _ in range(20):
        (job,) = bench.put()
        bench.wait_for(job)
        bench.look(after_s=0)

    assert [len(look) for look in bench.store.looks] == [1] * 20


def test_a_store_that_cannot_tell_is_read_less_often(bench: Bench) -> None:
    (job,) = bench.put()
    bench.store.can_tell = False
    bench.wait_for(job)
    bench.look()

    assert bench.completion_watch.next_look_s() == pytest.approx(SLOW_LOOK_S)
    bench.end(job)
    assert bench.look() == []
    assert bench.look(SLOW_LOOK_S) == [job.job_id]


def test_a_store_that_is_away_is_asked_again_later_and_nothing_is_missed(bench: Bench) -> None:
    (job,) = bench.put()
    bench.wait_for(job)
    bench.look()
    bench.end(job)
    bench.store.is_down = True
    assert bench.look() == []

    bench.store.is_down = False

    assert bench.completion_watch.next_look_s() == pytest.approx(AWAY_S)
    assert bench.look(AWAY_S) == [job.job_id]


def test_nobody_looks_for_a_front_that_is_gone(bench: Bench) -> None:
    bench.wait_for(*bench.put(2))
    bench.look()

    bench.completion_watch.drop(bench.front)

    assert bench.completion_watch.next_look_s() == float("inf")
