"""A few hundred lives of the whole system, each from its seed; `make simulate` lives more of them, for as long as it is asked
to.

A seed that fails is told with the end of its trace; `python -m tests.simulation SEED` prints all of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from jobyard.engine.jobs.lifecycle import Change
from tests.simulation.run import Failed, Run, Stage

BLOCK = 25
LINES_TOLD = 60


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.mark.parametrize("first", range(0, 300, BLOCK))
def test_whatever_happens_everything_accepted_comes_to_one_end(stage: Stage, first: int) -> None:
    for seed in range(first, first + BLOCK):
        try:
            stage.play(seed)
        except Failed as failed:
            pytest.fail(f"{failed}\n{failed.run.agenda.told(LINES_TOLD)}", pytrace=False)


def test_a_seed_leads_to_the_same_life_in_every_process() -> None:
    traces = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "7", "8"], env=os.environ | {"PYTHONHASHSEED": hash_seed}, check=True,
            capture_output=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]  # fmt: skip

    assert traces[0] == traces[1]
    assert len(traces[0].splitlines()) > 500


# ---- what the judge must see: the same lives with something broken


def believe_every_death(run: Run) -> None:
    for host in run.hosts:
        host.proven = list  # type: ignore[method-assign,assignment]


def forget_a_job(run: Run) -> None:
    store = run.town.store
    run.agenda.at(run.trouble_s, lambda: store._jobs.pop(next(iter(run.judge.accepted))))


def write_without_a_guard(run: Run) -> None:
    store = run.town.store

    def apply_one(change: Change) -> bool:
        before = store._jobs[change.job_id]
        store._jobs[change.job_id] = change.after(before)
        assert store.writer is not None
        store.judge.note_changed(before, store._jobs[change.job_id], change, store.writer)
        return True

    store._apply_one = apply_one  # type: ignore[method-assign]


def lose_every_packet(run: Run) -> None:
    run.town.labour.is_deaf = True


def never_let_go_of_time(run: Run) -> None:
    for host in run.hosts:
        build = host._build
        host._build = lambda process, build=build: Restless(build(process))  # type: ignore[method-assign,misc,assignment]


class Restless:
    """A role that never sleeps."""

    def __init__(self, role: object) -> None:
        self._role = role

    def __getattr__(self, name: str) -> object:
        return getattr(self._role, name)

    def tick(self, inbox: list[object]) -> float:
        self._role.tick(inbox)  # type: ignore[attr-defined]
        return 0.0


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (believe_every_death, "lives and its job was recovered|gives back what is not its own"),
        (forget_a_job, "was acknowledged and is lost"),
        (write_without_a_guard, "after the end|led from|epoch|attempts are not counted"),
        (lose_every_packet, "never ended|timed out after"),
        (never_let_go_of_time, "spins"),
    ],
)
def test_a_broken_system_is_found_out(stage: Stage, broken: Callable[[Run], None], told: str) -> None:
    with pytest.raises(Failed, match=told):
        for seed in range(40):
            stage.play(seed, sabotage=broken)
