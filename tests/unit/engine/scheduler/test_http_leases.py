"""What a scheduler does for HTTP workers: who is leased what, when it looks, what it does when a client or the database is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobyard.engine.jobs.job import Status
from jobyard.engine.scheduler.lease_grants import LOOK_S, QUIET_LOOK_S
from jobyard.engine.tasks.catalog import write_catalog
from jobyard.engine.tasks.registry import TaskOptions
from jobyard.engine.wire.lease_messages import (
    AwaitLeases,
    DeclareTask,
    Granted,
    JobsLeased,
    LeaseJobs,
    LeasesGranted,
    ReturnLeases,
    SettleLeases,
)
from jobyard.engine.wire.messages import Accepted, Refused
from tests.support.builders import a_job
from tests.support.memory_store import MemoryStore
from tests.support.network import FakePeer
from tests.unit.engine.scheduler.test_scheduler import Bench as SchedulerBench


class Bench(SchedulerBench):
    """A scheduler, and a front whose requests wait there; the task `draw` is declared."""

    def __init__(self, folder: Path, **asked: str) -> None:
        super().__init__(folder, **asked)
        self.ask(DeclareTask(name="draw", body=b"{}"))
        self.front = FakePeer()

    def wait(self, *numbers: int, no_longer: tuple[int, ...] = (), **fields: Any) -> None:
        bodies = [(number, self.body(worker=f"w{number}", **fields)) for number in numbers]
        self.tick(AwaitLeases(bodies=bodies, no_longer=list(no_longer)))

    def body(self, **fields: Any) -> bytes:
        return json.dumps({"worker": "w", "tasks": ["draw"], "wait_s": 9, **fields}).encode()

    def tick(self, *messages: Any) -> float:
        return self.scheduler.tick([self.front.says(message) for message in messages])

    def granted(self) -> list[tuple[int, int]]:
        """Whose requests were granted how many jobs since the last look."""
        return [(each.number, len(each.leased.tokens)) for each in self.front.take(Granted)]  # type: ignore[attr-defined]

    def put(self, count: int = 1, task: str = "draw", **fields: Any) -> list[str]:
        """Somebody else stores jobs."""
        jobs = [a_job(task=task, **fields) for _ in range(count)]
        self.store.insert([jobs])
        return [job.job_id for job in jobs]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_is_due_is_leased_at_once_and_nothing_is_an_answer_too(bench: Bench) -> None:
    (job_id,) = bench.put()

    (some,) = bench.ask(LeaseJobs(body=bench.body()))
    (none,) = bench.ask(LeaseJobs(body=bench.body()))

    assert isinstance(some, JobsLeased) and some.tokens == [(job_id, 2)]
    assert none == JobsLeased(body=b"[]", wait_s=9)
    assert any(isinstance(hint, LeasesGranted) for _, hint in bench.network.hints)


def test_requests_that_wait_are_served_in_the_order_in_which_they_came(bench: Bench) -> None:
    bench.wait(1, 2, count=2)
    bench.put(3)
    bench.world.advance(QUIET_LOOK_S)
    bench.tick()

    assert bench.granted() == [(1, 2), (2, 1)]


def test_what_this_scheduler_stores_is_leased_in_the_same_turn(bench: Bench) -> None:
    bench.wait(1)
    bench.tick()

    (answer,) = bench.ask(bench.submit({"task": "draw"}))

    assert isinstance(answer, Accepted)
    assert bench.granted() == [(1, 1)]


def test_a_request_that_waits_no_longer_gets_nothing(bench: Bench) -> None:
    bench.wait(1, 2)
    bench.wait(no_longer=(1,))
    bench.put()
    bench.world.advance(QUIET_LOOK_S)
    bench.tick()
    assert bench.granted() == [(2, 1)]

    bench.wait(3)
    bench.scheduler.tick([bench.front.hangs_up()])
    (job_id,) = bench.put()
    bench.world.advance(QUIET_LOOK_S)
    bench.scheduler.tick([])
    assert bench.store.find([job_id])[0].status is Status.PENDING  # type: ignore[union-attr]


def test_while_nothing_is_committed_the_store_is_not_looked_into(bench: Bench) -> None:
    bench.wait(1)
    bench.world.advance(9)
    bench.tick()
    commits = bench.store.commits

    sleep_s = bench.tick()
    bench.store._jobs.clear()
    bench.world.advance(QUIET_LOOK_S)
    bench.tick()

    assert sleep_s == pytest.approx(QUIET_LOOK_S)
    assert bench.store.commits == commits


def test_it_looks_more_often_while_something_is_committed(bench: Bench) -> None:
    bench.wait(1)
    bench.put(task="other")
    bench.world.advance(QUIET_LOOK_S)
    bench.tick()

    assert bench.tick() == pytest.approx(LOOK_S)


def test_it_wakes_when_a_job_becomes_due(bench: Bench) -> None:
    bench.wait(1)
    bench.ask(bench.submit({"task": "draw", "delay_s": 0.1}))

    assert bench.tick() <= 0.1
    bench.world.advance(0.1)
    bench.tick()

    assert bench.granted() == [(1, 1)]


def test_leases_that_no_client_received_are_due_again(bench: Bench) -> None:
    (job_id,) = bench.put()
    bench.ask(LeaseJobs(body=bench.body()))

    bench.ask(ReturnLeases(tokens=[(job_id, 2)]), ReturnLeases(tokens=[(job_id, 2)]))

    job = bench.store.find([job_id])[0]
    assert job is not None and (job.status, job.attempt, job.epoch) == (Status.PENDING, 0, 3)


def test_what_cannot_be_sent_is_returned_at_once(bench: Bench) -> None:
    (job_id,) = bench.put()
    bench.front.open = False

    bench.tick(LeaseJobs(body=bench.body()))

    job = bench.store.find([job_id])[0]
    assert job is not None and job.status is Status.PENDING


def test_a_scheduler_that_stops_leases_nothing(bench: Bench) -> None:
    bench.wait(1)
    bench.scheduler.drain()
    bench.put()
    bench.world.advance(9)

    (answer,) = bench.ask(LeaseJobs(body=bench.body()))

    assert isinstance(answer, Refused) and answer.code == "unavailable"
    assert (bench.granted(), bench.scheduler.drained) == ([], True)


def test_without_a_database_who_does_not_wait_is_refused_and_who_waits_is_served_later(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.wait(1)
    bench.store.is_down = True
    bench.world.advance(QUIET_LOOK_S)

    (answer,) = bench.ask(LeaseJobs(body=bench.body()))
    assert isinstance(answer, Refused) and answer.code == "database_unavailable"
    (told,) = bench.ask(SettleLeases(do="complete", job_id="0" * 24, body=b'{"epoch": 1}'))
    assert isinstance(told, Refused) and told.code == "database_unavailable"

    bench.store.is_down = False
    bench.put()
    bench.world.advance(9)
    bench.tick()
    assert bench.granted() == [(1, 1)]


def test_a_task_that_a_module_defines_later_is_taken_over(bench: Bench) -> None:
    bench.put()
    write_catalog(bench.run_dir, {"echo": TaskOptions(), "draw": TaskOptions(max_retries=0)})

    (answer,) = bench.ask(LeaseJobs(body=bench.body()))

    assert isinstance(answer, Refused) and (answer.code, answer.field) == ("conflict", "tasks")
    assert isinstance(bench.store, MemoryStore)


def test_a_task_that_another_scheduler_has_declared_is_known_at_its_first_job(bench: Bench) -> None:
    other = Bench.__new__(Bench)
    SchedulerBench.__init__(other, bench.run_dir.path, store=bench.store)

    assert isinstance(other.ask(other.submit({"task": "draw"}))[0], Accepted)
    assert isinstance(other.ask(other.submit({"task": "nobody"}))[0], Refused)
