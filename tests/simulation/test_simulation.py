"""A few hundred simulated runs of the whole system, one per seed; `make simulate` runs more, for as long as it is asked to.

A seed that fails is reported with the end of its trace; `python -m tests.simulation SEED` prints all of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from jobyard.engine.jobs.job import Job
from jobyard.engine.jobs.lifecycle import Change
from jobyard.engine.schedules.look import Look, Made
from jobyard.engine.schedules.schedule import Schedule
from jobyard.engine.store.schedule_port import Decide, DueLooks
from tests.simulation.runner import Run, RunFailed, Runner

BLOCK = 25
LINES_SHOWN = 60


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    runner.close()


@pytest.mark.parametrize("first", range(0, 100, BLOCK))
def test_every_accepted_job_reaches_one_final_state_whatever_fails(runner: Runner, first: int) -> None:
    for seed in range(first, first + BLOCK):
        try:
            runner.execute(seed)
        except RunFailed as failed:
            pytest.fail(f"{failed}\n{failed.run.event_queue.format_trace(LINES_SHOWN)}", pytrace=False)


def test_a_seed_gives_the_same_trace_in_every_process() -> None:
    traces = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "7", "8"], env=os.environ | {"PYTHONHASHSEED": hash_seed}, check=True,
            capture_output=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]  # fmt: skip

    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 500


# ---- what the checker must find: the same runs with something broken


def claim_no_death_is_proven(run: Run) -> None:
    for host in run.hosts:
        host.proven = list  # type: ignore[method-assign,assignment]


def lose_a_job(run: Run) -> None:
    store = run.cluster.store
    run.event_queue.at(run.faults_s, lambda: store._jobs.pop(next(iter(run.checker.accepted), ""), None))


def write_without_a_guard(run: Run) -> None:
    store = run.cluster.store

    def apply_one(change: Change) -> bool:
        before = store._jobs[change.job_id]
        store._jobs[change.job_id] = change.after(before)
        assert store.writer is not None
        store.checker.note_changed(before, store._jobs[change.job_id], change, store.writer)
        return True

    store._apply_one = apply_one  # type: ignore[method-assign]


def lose_every_packet(run: Run) -> None:
    run.cluster.executors.is_deaf = True


def never_sleep(run: Run) -> None:
    for host in run.hosts:
        build = host._build
        host._build = lambda process, build=build: NeverSleeps(build(process))  # type: ignore[method-assign,misc,assignment]


def count_no_misses(run: Run) -> None:
    schedules = run.cluster.store.watched
    fire_due = schedules.fire_due

    def fire_due_uncounted(decide: Decide, **more: Any) -> DueLooks:
        def forgetful(schedule: Schedule, living: Sequence[Job], made: Made) -> Look | None:
            look = decide(schedule, living, made)
            if look is not None:
                look.missed.clear()
            return look

        return fire_due(forgetful, **more)

    schedules.fire_due = fire_due_uncounted  # type: ignore[method-assign,assignment]


def see_no_living_jobs(run: Run) -> None:
    schedules = run.cluster.store.watched
    fire_due = schedules.fire_due
    schedules.fire_due = lambda decide, **more: fire_due(  # type: ignore[method-assign]
        lambda schedule, living, made: decide(schedule, [], made), **more
    )


class NeverSleeps:
    """A role that never sleeps."""

    def __init__(self, role: object) -> None:
        self._role = role

    def __getattr__(self, name: str) -> object:
        return getattr(self._role, name)

    def tick(self, inbox: list[object]) -> float:
        self._role.tick(inbox)  # type: ignore[attr-defined]
        return 0.0


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (claim_no_death_is_proven, "is alive and its job was recovered|gives back a job that is not its own"),
        (lose_a_job, "was acknowledged and is lost"),
        (write_without_a_guard, "after the end|led from|epoch|attempts are not counted"),
        (lose_every_packet, "never ended|timed out after|not done within"),
        (never_sleep, "spins"),
        (count_no_misses, "counts"),
        (see_no_living_jobs, "fires although a job|jobs alive"),
    ],
)
def test_the_checker_finds_a_broken_system(runner: Runner, broken: Callable[[Run], None], expected: str) -> None:
    with pytest.raises(RunFailed, match=expected):
        for seed in range(40):
            runner.execute(seed, break_it=broken)
