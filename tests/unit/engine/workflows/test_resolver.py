"""The resolver dies at any point, and whoever looks next does the rest: nothing is lost, nothing happens twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Dependency, ExecutionStatus, Job, Outcome, Status
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.workflows.resolver import Resolver
from tests.support.builders import a_job
from tests.support.claims import claim
from tests.support.memory_store import MemoryStore
from tests.support.world import START


class Mortal:
    """A store whose user dies after so many writes."""

    def __init__(self, store: MemoryStore, lives: int) -> None:
        self._store = store
        self._lives = lives
        self.workflows: Any = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store.workflows, name)

    def find(self, job_ids: Sequence[str], *, whole: bool = True) -> list[Job | None]:
        return self._store.find(job_ids, whole=whole)

    def free_key(self, key: str, *, now: datetime) -> Job | None:
        return self._store.free_key(key, now=now)

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        self._die()
        return self._store.apply(changes)

    def resolved(self, jobs: Any) -> None:
        self._die()
        self._store.workflows.resolved(jobs)

    def await_all(self, job_ids: Sequence[str]) -> None:
        self._die()
        self._store.workflows.await_all(job_ids)

    def _die(self) -> None:
        self._lives -= 1
        if self._lives < 0:
            raise StoreUnavailable("it died")


def after(*jobs: Job, **fields: object) -> Job:
    return a_job(after=tuple(Dependency(job_id=job.job_id) for job in jobs), **{"run_if": "completed", **fields})


def status(store: MemoryStore, job: Job) -> Status:
    (found,) = store.find([job.job_id])
    assert found is not None
    return found.status


def end(store: MemoryStore, job: Job, *, failing: bool = False) -> None:
    begun = {one.job_id: one for one in claim(store)}[job.job_id]
    outcome = Outcome(status=ExecutionStatus.FAILED if failing else ExecutionStatus.SUCCESS, unrecoverable=True)
    store.apply([lifecycle.settle(begun, outcome, now=START, retry_base_s=1)])


def resolve(store: Any) -> None:
    resolver = Resolver(store, lambda: START)
    for _ in range(100):
        if not resolver.resolve().looked_at:
            return
    raise AssertionError("there is always something left")


@pytest.mark.parametrize("lives", range(8))
def test_a_death_between_any_two_writes_loses_no_dependent(lives: int) -> None:
    store = MemoryStore()
    a = a_job()
    b, c = after(a), after(a, run_if="failed")
    d = after(b, c, run_if="ended")
    store.insert([[a, b, c, d]])
    end(store, a, failing=True)

    for _ in range(2):
        try:
            resolve(Mortal(store, lives))
        except StoreUnavailable:
            pass
    resolve(store)

    assert [status(store, job) for job in (b, c, d)] == [Status.CANCELLED, Status.PENDING, Status.BLOCKED]
    end(store, c)
    resolve(store)
    assert status(store, d) is Status.PENDING


@pytest.mark.parametrize("lives", range(8))
def test_a_death_during_a_restoration_loses_none(lives: int) -> None:
    store = MemoryStore()
    a = a_job()
    b = after(a)
    c = after(b)
    store.insert([[a, b, c]])
    end(store, a, failing=True)
    resolve(store)
    (failed,) = store.find([a.job_id])
    assert failed is not None
    store.apply([lifecycle.retry(failed, now=START)])

    try:
        resolve(Mortal(store, lives))
    except StoreUnavailable:
        pass
    end(store, a)
    resolve(store)

    assert [status(store, job) for job in (a, b, c)] == [Status.COMPLETED, Status.PENDING, Status.BLOCKED]


def test_of_two_that_resolve_at_once_one_unblocks() -> None:
    store = MemoryStore()
    a = a_job()
    b = after(a)
    store.insert([[a, b]])
    end(store, a)
    first, second = Resolver(store, lambda: START), Resolver(store, lambda: START)

    told = [first.look_over([job for job in store.find([b.job_id]) if job is not None]), second.resolve()]

    assert sum(one.unblocked for one in told) == 1
    assert store.find([b.job_id])[0].epoch == 1  # type: ignore[union-attr]


def test_many_dependents_are_brought_forward_in_slices() -> None:
    store = MemoryStore()
    a = a_job()
    dependents = [after(a) for _ in range(1_100)]
    store.insert([[a, *dependents]])
    end(store, a)

    told = Resolver(store, lambda: START).resolve()

    assert (told.looked_at, told.unblocked) == (1, 1_100)
