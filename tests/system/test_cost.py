"""The cost of a job has not grown: what all processes of a small system ask of the kernel for one job, in counts.

Counts hold on any machine, however fast or busy it is: on a busy one more jobs share each step, so a job costs less. Times are for
`bin/bench`. The best of several rounds counts, because disturbances only add. A commit that makes jobs more expensive for good
reason raises the limits.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.bench.load import Generator, Load
from tests.bench.system import System
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

ROUNDS = 3
BATCH = 1000
BATCHES, SINGLES = 2, 400
CONNECTIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """`calls`: reads and writes of files and pipes. `wakeups`: how often a thread went to sleep to wait for something."""

    calls: float
    wakeups: float


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One component of each role with two slots, which has run a few jobs."""
    folder = tmp_path_factory.mktemp("cost")
    with Jobyard(folder, SCHEDULERS=1, WATCHERS=1, WORKERS=1, CONCURRENCY=2, LOG_LEVEL="warning") as jobyard:
        system = System(jobyard, folder)
        of_a_job(system, submit_one_by_one)
        yield system


def submit_by_the_thousand(system: System) -> int:
    body = json.dumps({"jobs": [{"payload": "test job"}] * BATCH})
    load = Load(port=system.port, path="/api/jobs/batch", body=body, requests=BATCHES, connections=1)
    return BATCH * Generator(load).run().accepted


def submit_one_by_one(system: System) -> int:
    body = json.dumps({"payload": "test job"})
    load = Load(port=system.port, path="/api/jobs", body=body, requests=SINGLES, connections=CONNECTIONS)
    return Generator(load).run().accepted


def counts_now(system: System) -> Counts:
    """Of all processes together, since their start."""
    calls = wakeups = 0
    guard = psutil.Process(system.jobyard.guard_pid)
    for process in (guard, *guard.children(recursive=True)):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # an executor that has left
            calls += sum(_numbers(Path(f"/proc/{process.pid}/io"), "sysc[rw]"))
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                wakeups += sum(_numbers(thread / "status", "voluntary_ctxt_switches"))
    return Counts(calls=calls, wakeups=wakeups)


def _numbers(file: Path, name: str) -> list[int]:
    return [int(number) for number in re.findall(rf"^{name}:\s*(\d+)$", file.read_text(), re.MULTILINE)]


def of_a_job(system: System, submit: Callable[[System], int]) -> Counts:
    """What a job adds, from its request to its end."""
    already, before = system.completed(), counts_now(system)
    jobs = submit(system)
    wait_for(lambda: system.completed() == already + jobs, told="the end of all jobs")
    after = counts_now(system)
    return Counts(calls=(after.calls - before.calls) / jobs, wakeups=(after.wakeups - before.wakeups) / jobs)


@pytest.mark.parametrize(
    ("submit", "most"),
    [(submit_by_the_thousand, Counts(calls=15, wakeups=3)), (submit_one_by_one, Counts(calls=250, wakeups=80))],
)
def test_a_job_costs_no_more_than_it_did(system: System, submit: Callable[[System], int], most: Counts) -> None:
    """`most`: several times what was measured; `bin/bench` shows the times."""
    rounds = [of_a_job(system, submit) for _ in range(ROUNDS)]

    least = Counts(calls=min(one.calls for one in rounds), wakeups=min(one.wakeups for one in rounds))
    print(rounds)
    assert (least.calls <= most.calls, least.wakeups <= most.wakeups) == (True, True), least
