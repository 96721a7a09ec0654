"""Jobs that have begun in a worker's name: those that arrive twice, late or never."""

from __future__ import annotations

import pytest

from jobyard.engine.errors import StoreUnavailable
from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import Job
from jobyard.engine.worker import arrivals as module
from jobyard.engine.worker.arrivals import Arrivals
from tests.support.builders import a_job, a_log
from tests.support.claims import WATCHER, WORKER, claim
from tests.support.memory_store import MemoryStore
from tests.support.world import START

OTHER_WATCHER, OTHER_WORKER = "box:b00t:watcher-9002:1", "box:b00t:worker-7002:1"


class Bench:
    """The arrivals at one worker."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.arrivals = Arrivals(owner=WORKER, store=self.store, log=a_log())

    def begun(self, count: int = 1, *, owner: str = WATCHER, worker: str = WORKER) -> list[Job]:
        """Claimed for the worker, and on their way."""
        self.store.insert([[a_job() for _ in range(count)]])
        return claim(self.store, owner=owner, worker=worker)


def ids(jobs: list[Job]) -> list[str]:
    return sorted(job.job_id for job in jobs)


def keys(jobs: list[Job]) -> set[tuple[str, int]]:
    return {(job.job_id, job.epoch) for job in jobs}


# ---- what arrives


def test_what_arrives_for_the_first_time_runs_at_once() -> None:
    bench = Bench()
    jobs = bench.begun(2)

    assert bench.arrivals.accept(jobs, known=set(), is_again=False) == jobs
    assert not bench.arrivals.has_doubts


def test_what_may_have_arrived_before_waits_until_the_store_is_asked() -> None:
    bench = Bench()
    jobs = bench.begun(2)

    at_once = bench.arrivals.accept(jobs, known=set(), is_again=True)
    waiting = bench.arrivals.keys()

    assert (at_once, set(waiting)) == ([], keys(jobs))
    assert ids(bench.arrivals.resolve(known=set())) == ids(jobs)


def test_what_is_pushed_again_twice_before_the_store_can_be_asked_runs_once() -> None:
    bench = Bench()
    jobs = bench.begun(2)

    bench.arrivals.accept(jobs, known=set(), is_again=True)
    bench.arrivals.accept(jobs, known=set(), is_again=True)

    assert ids(bench.arrivals.resolve(known=set())) == ids(jobs)
    assert not bench.arrivals.has_doubts


def test_what_is_in_hand_already_is_not_doubted() -> None:
    bench = Bench()
    jobs = bench.begun(2)

    bench.arrivals.accept(jobs, known=keys(jobs), is_again=True)

    assert not bench.arrivals.has_doubts


def test_what_is_no_longer_ours_does_not_run() -> None:
    bench = Bench()
    kept, returned, cancelled, elsewhere = bench.begun(4)
    bench.arrivals.accept([kept, returned, cancelled, elsewhere], known=set(), is_again=True)
    for job in (returned, cancelled, elsewhere):
        bench.store.apply([lifecycle.return_unstarted(job, now=START)])
    (pending,) = bench.store.find([cancelled.job_id])
    assert pending is not None
    bench.store.apply([lifecycle.cancel(pending, now=START)])
    claim(bench.store, worker=OTHER_WORKER)

    assert ids(bench.arrivals.resolve(known=set())) == [kept.job_id]
    assert bench.arrivals.take_dropped() == keys_in_order([returned, cancelled, elsewhere])


def test_what_was_begun_here_anew_is_not_run_for_the_earlier_push() -> None:
    bench = Bench()
    (earlier,) = bench.begun()
    bench.arrivals.accept([earlier], known=set(), is_again=True)
    bench.store.apply([lifecycle.return_unstarted(earlier, now=START)])
    claim(bench.store)

    assert bench.arrivals.resolve(known=set()) == []


def test_a_request_to_cancel_that_came_meanwhile_arrives_with_it() -> None:
    bench = Bench()
    (job,) = bench.begun()
    bench.arrivals.accept([job], known=set(), is_again=True)
    bench.store.apply([lifecycle.cancel(job, now=START)])

    (resolved,) = bench.arrivals.resolve(known=set())

    assert resolved.cancel_requested_at == START


def test_without_a_database_doubts_go_on_waiting() -> None:
    bench = Bench()
    bench.arrivals.accept(bench.begun(), known=set(), is_again=True)
    bench.store.is_down = True

    with pytest.raises(StoreUnavailable):
        bench.arrivals.resolve(known=set())

    assert bench.arrivals.has_doubts


def keys_in_order(jobs: list[Job]) -> list[tuple[str, int]]:
    return [(job.job_id, job.epoch) for job in jobs]


# ---- ghosts


def test_what_runs_in_our_name_and_is_not_in_our_hands_is_a_ghost() -> None:
    bench = Bench()
    mine, ghost = bench.begun(2)
    bench.begun(worker=OTHER_WORKER)

    assert ids(bench.arrivals.ghosts(known=keys([mine]))) == [ghost.job_id]


def test_what_waits_to_be_asked_about_is_no_ghost() -> None:
    bench = Bench()
    bench.arrivals.accept(bench.begun(), known=set(), is_again=True)

    assert bench.arrivals.ghosts(known=set()) == []


def test_after_a_watchers_death_only_what_it_claimed_is_a_ghost() -> None:
    bench = Bench()
    (dead_ones,) = bench.begun()
    bench.begun(owner=OTHER_WATCHER)

    assert ids(bench.arrivals.ghosts(known=set(), claimed_by=WATCHER)) == [dead_ones.job_id]


def test_in_passing_only_what_was_seen_twice_is_a_ghost() -> None:
    bench = Bench()
    (early,) = bench.begun()
    first = bench.arrivals.ghosts(known=set(), seen_twice=True)
    bench.begun()

    second = bench.arrivals.ghosts(known=set(), seen_twice=True)

    assert (first, ids(second)) == ([], [early.job_id])


def test_what_arrived_between_two_looks_is_no_ghost() -> None:
    bench = Bench()
    jobs = bench.begun()
    bench.arrivals.ghosts(known=set(), seen_twice=True)

    assert bench.arrivals.ghosts(known=keys(jobs), seen_twice=True) == []


def test_a_ghost_is_returned_once_and_dropped_when_it_arrives_after_all() -> None:
    bench = Bench()
    jobs = bench.begun()

    first, second = bench.arrivals.ghosts(known=set()), bench.arrivals.ghosts(known=set())

    assert (ids(first), second) == (ids(jobs), [])
    assert bench.arrivals.accept(jobs, known=set(), is_again=False) == []
    assert bench.arrivals.take_dropped() == keys_in_order(jobs)
    assert bench.arrivals.take_dropped() == []


def test_more_ghosts_than_a_page_are_found() -> None:
    bench = Bench()
    jobs = bench.begun(module.PAGE + 1)

    assert ids(bench.arrivals.ghosts(known=set())) == ids(jobs)


def test_only_so_many_ghosts_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 200)
    bench = Bench()
    for _ in range(3):
        bench.store.insert([[a_job() for _ in range(module.REMEMBERED // 2)]])
        jobs = claim(bench.store, most=module.REMEMBERED)
        for job in bench.arrivals.ghosts(known=set()):
            bench.store.apply([lifecycle.return_unstarted(job, now=START)])
        for job in jobs:
            del bench.store._jobs[job.job_id]

    assert len(bench.arrivals._returned) == module.REMEMBERED
