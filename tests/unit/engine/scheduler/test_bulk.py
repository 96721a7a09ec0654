"""A step over many jobs: which are changed, which are skipped, and what it makes of those that move meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import JobFilter, Status
from jobyard.engine.jobs.lifecycle import TERMINAL, Change, Verb
from jobyard.engine.jobs.selection import Selection
from jobyard.engine.scheduler.bulk import COMMIT, take_step
from tests.support.builders import a_job
from tests.support.memory_store import MemoryStore
from tests.support.world import START

ALL = Selection(wanted=JobFilter(), limit=1000, cursor=None)


def statuses(store: MemoryStore) -> list[Status]:
    return [job.status for job in store.all_jobs()]


@pytest.fixture
def store() -> MemoryStore:
    """With a job of each status."""
    store = MemoryStore()
    store.insert([[a_job(status=status) for status in Status]])
    store.commits = 0
    return store


def test_what_has_ended_badly_is_retried_and_the_rest_skipped(store: MemoryStore) -> None:
    step = take_step(store, Verb.RETRY, ALL, now=START)

    assert (len(step.changed), step.skipped, step.cursor) == (2, 6, None)
    assert statuses(store)[-3:] == [Status.COMPLETED, Status.PENDING, Status.PENDING]
    assert store.commits == 1


def test_what_has_not_ended_is_cancelled_and_the_rest_skipped(store: MemoryStore) -> None:
    step = take_step(store, Verb.CANCEL, ALL, now=START)

    assert (len(step.changed), step.skipped) == (5, 3)
    assert [status for status in statuses(store) if status not in TERMINAL] == [Status.RUNNING]
    assert all(job.cancel_requested_at == START for job, _ in [(store.all_jobs()[4], 0)])


def test_steps_go_on_where_the_last_one_ended(store: MemoryStore) -> None:
    cursor, sizes = None, []
    while True:
        step = take_step(store, Verb.CANCEL, Selection(wanted=JobFilter(), limit=3, cursor=cursor), now=START)
        sizes.append(len(step.changed) + step.skipped)
        cursor = step.cursor
        if cursor is None:
            break

    assert sizes == [3, 3, 2]
    assert set(statuses(store)) == {*TERMINAL, Status.RUNNING}


class Restless(MemoryStore):
    """Somebody else moves the jobs between the look and the write, so many times."""

    moves = 1

    def apply(self, changes: Sequence[Change]) -> list[bool]:
        if self.moves > 0:
            self.moves -= 1
            claimed = [lifecycle.claim(job, owner="box:b:watcher-9001:1", now=START) for job in self._pending_ones()]
            ended = [lifecycle.cancel(job, now=START) for job in self._held() if job.status is Status.QUEUED]
            super().apply(claimed + ended)
        return super().apply(changes)

    def _pending_ones(self) -> list:  # type: ignore[type-arg]
        return [job for job in self.all_jobs() if job.status is Status.PENDING]


def test_a_job_that_moves_meanwhile_is_decided_anew() -> None:
    store = Restless()
    store.insert([[a_job(), a_job(status=Status.QUEUED)]])

    step = take_step(store, Verb.CANCEL, ALL, now=START)

    assert (len(step.changed), step.skipped) == (1, 1)
    assert statuses(store) == [Status.CANCELLED, Status.CANCELLED]


def test_a_step_that_is_asked_for_again_cancels_nothing_twice(store: MemoryStore) -> None:
    take_step(store, Verb.CANCEL, ALL, now=START)
    before = [job.epoch for job in store.all_jobs()]

    again = take_step(store, Verb.CANCEL, ALL, now=START)

    assert [job.epoch for job in store.all_jobs()] == before
    assert (len(again.changed), again.skipped) == (1, 7), "the one that runs is asked again"


def test_a_large_step_lets_others_commit_in_between() -> None:
    store = MemoryStore()
    store.insert([[a_job() for _ in range(2 * COMMIT + 1)]])
    store.commits = 0

    step = take_step(store, Verb.CANCEL, ALL, now=START)

    assert (len(step.changed), step.skipped, store.commits) == (2 * COMMIT + 1, 0, 3)
