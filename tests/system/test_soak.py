"""Under a steady load, with or without kills, nothing grows and every job is accounted for; a flood is bounded in every process."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

import psutil
import pytest

from jobyard.engine.wire.capacity import SLOT_UNITS
from tests.support.gauges import Reading, log_mib, memory_mib, read_gauges, tree
from tests.support.load import Load, meanwhile
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

ROLES = ("scheduler", "watcher", "queue", "worker", "gateway", "executor")
JOBS_A_BATCH = 40
BATCH_EVERY_S = 0.1
BLOW_EVERY_S = 0.5
STOPS_AMONG_BLOWS = 0.2
EXECUTIONS_LOOKED_AT = 50
PAGE = 1000

MEMORY_GROWTH_MIB = 24.0
DESCRIPTOR_GROWTH = 48
"""Of some five hundred: the connections of the front's threads depend on how many requests were concurrent so far."""
LOG_MIB = 24.0
"""Six checkpoints: a reader or a stopped writer may delay one for a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """The length of a soak, in rounds with a reading of the gauges after each; the first `warm_up` rounds do not count."""

    rounds: int
    warm_up: int
    round_s: float


@pytest.fixture(
    params=[
        pytest.param(Length(rounds=3, warm_up=1, round_s=3), id="short"),
        pytest.param(Length(rounds=15, warm_up=3, round_s=20), id="long", marks=pytest.mark.long),
    ]
)  # fmt: skip
def length(request: pytest.FixtureRequest) -> Iterator[Length]:
    yield request.param


@pytest.fixture(params=[pytest.param(20_000, id="short"), pytest.param(100_000, id="long", marks=pytest.mark.long)])
def flood(request: pytest.FixtureRequest) -> Iterator[int]:
    yield request.param


class Attacker:
    """Kills, and sometimes stops, a random process of one role after the other.

    Executors are only killed: a stopped one is the same as a long task, which only `timeout_s` ends.
    """

    def __init__(self, jobyard: Jobyard) -> None:
        seed = int.from_bytes(os.urandom(4))
        print(f"seed {seed}")
        self.blows = 0
        self._jobyard = jobyard
        self._dice = random.Random(seed)

    def strike(self) -> None:
        """Inject one fault; none when the role has no process at this moment."""
        role = ROLES[self.blows % len(ROLES)]
        self.blows += 1
        victims = self._living(role)
        stops = role != "executor" and self._dice.random() < STOPS_AMONG_BLOWS
        if victims:
            try:
                os.kill(self._dice.choice(victims), signal.SIGSTOP if stops else signal.SIGKILL)
            except ProcessLookupError:
                return

    def _living(self, role: str) -> list[int]:
        """Found by process title, which needs no answer from the processes under attack; HTTP workers count as the gateway."""
        titles = {process.pid: _title(process) for process in tree(self._jobyard)}
        executors = [pid for pid, title in titles.items() if title.endswith(" executor")]
        if role == "executor":
            return executors
        return [pid for pid, title in titles.items() if title.startswith(f"jobyard: {role}-") and pid not in executors]


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def fields_of(number: int) -> dict[str, object]:
    """Mostly jobs that take no time, and some that run long enough to be hit."""
    return {"task": "pause", "payload": 0.05} if number % 10 == 0 else {"task": "echo", "payload": number}


def soak(jobyard: Jobyard, load: Load, length: Length, attacker: Attacker | None) -> list[Reading]:
    """The gauges after each round, when all processes are up and no work is left."""
    readings: list[Reading] = []
    logs: list[float] = []
    for _ in range(length.rounds):
        with meanwhile(partial(load.send_batch, fields_of), every_s=BATCH_EVERY_S):
            if attacker is None:
                follow(jobyard, logs, for_s=length.round_s)
            else:
                with meanwhile(attacker.strike, every_s=BLOW_EVERY_S):
                    follow(jobyard, logs, for_s=length.round_s)
        wait_quiet(jobyard, len(load.job_ids))
        readings.append(read_whole(jobyard, readings))
        print(f"{len(load.job_ids)} jobs, highest log {max(logs):.1f} MiB: {readings[-1]}")
    assert max(logs) < LOG_MIB
    return readings[length.warm_up :]


def follow(jobyard: Jobyard, logs: list[float], *, for_s: float) -> None:
    """Watch the size of the database's log."""
    ends_at = time.monotonic() + for_s
    wait_for(lambda: logs.append(log_mib(jobyard)) or time.monotonic() > ends_at, within_s=for_s + 5)


def wait_quiet(jobyard: Jobyard, jobs: int) -> None:
    """Wait until this many jobs are completed, no other is left, and the system is healthy."""

    def counts() -> dict[str, int]:
        return {status: count for status, count in jobyard.stats()["jobs"].items() if count}

    try:
        wait_for(lambda: counts() == {"completed": jobs}, told=f"{jobs} completed jobs")
        wait_for(lambda: jobyard.get("/health").status == 200, told="good health")
    except AssertionError:
        print(counts(), jobyard.get("/health").body, [jobyard.get(f"/jobs?status={status}&limit=5").json for status in counts()])
        raise


def read_whole(jobyard: Jobyard, before: list[Reading]) -> Reading:
    """The gauges, once executors without work have left, and there are as many processes as at the first reading."""
    wait_for(lambda: executors(jobyard) == [1, 1, 1][: len(executors(jobyard))], told="one warm executor per worker")
    wait_for(lambda: not before or len(tree(jobyard)) == before[0].processes, told="as many processes as before")
    return read_gauges(jobyard)


def executors(jobyard: Jobyard) -> list[int]:
    """How many each worker has."""
    components = jobyard.stats()["components"]
    return [len(stats["executors"]) for name, stats in components.items() if name.startswith("worker")]


def check_accounts(jobyard: Jobyard, load: Load) -> None:
    """Every acknowledged job is stored once and completed, and there are no others."""
    stored: list[str] = []
    path = f"/jobs?status=completed&limit={PAGE}"
    while path:
        answer = jobyard.get(path)
        stored += [job["job_id"] for job in answer.json]
        link = answer.headers.get("Link", "").partition("<")[2].partition(">")[0]
        path = link and urljoin(path, link)
    assert sorted(stored) == sorted(load.job_ids)
    for job_id in random.sample(load.job_ids, EXECUTIONS_LOOKED_AT):
        executions = jobyard.executions(job_id)
        assert [execution["status"] for execution in executions].count("success") == 1
        assert [execution["attempt"] for execution in executions] == list(range(1, len(executions) + 1))


@pytest.mark.parametrize("is_attacked", [True, False], ids=["attacked", "in peace"])
def test_nothing_grows_and_every_job_is_accounted_for(tmp_path: Path, length: Length, is_attacked: bool) -> None:
    settings = {"HANG_S": 2, "RETRY_BASE_S": 0, "MAX_LOST": 1000, "LOG_LEVEL": "error", "TASKS": "system_tasks"}
    with Jobyard(tmp_path, **settings) as jobyard:
        load = Load(jobyard, jobs_a_batch=JOBS_A_BATCH, max_retries=100)
        attacker = Attacker(jobyard) if is_attacked else None

        first, *later = soak(jobyard, load, length, attacker)

        assert max(reading.memory_mib for reading in later) < first.memory_mib + MEMORY_GROWTH_MIB
        assert max(reading.descriptors for reading in later) < first.descriptors + DESCRIPTOR_GROWTH
        assert {reading.processes for reading in later} == {first.processes}
        check_accounts(jobyard, load)


FLOOD_BATCH = 1_000
MOST_MIB = 48.0
WATCHERS = 3
MOST_LEASED = 15 * 2 * SLOT_UNITS
"""Each slot and as much again ahead, in the shortest jobs."""


def test_a_flood_without_working_workers_is_bounded_in_every_process(tmp_path: Path, flood: int) -> None:
    with Jobyard(tmp_path, HANG_S=3600, LOG_LEVEL="error", WATCHERS=WATCHERS) as jobyard:
        workers = [entry["pid"] for name, entry in jobyard.processes().items() if name.startswith("worker-")]
        load = Load(jobyard, jobs_a_batch=FLOOD_BATCH)
        highest: dict[str, float] = {}
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)

        with meanwhile(lambda: note_memory(jobyard, highest), every_s=0.1):
            for _ in range(flood // FLOOD_BATCH):
                load.send_batch()
        queue = jobyard.get("/queue?limit=1", port=6000).json
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        wait_for(lambda: jobyard.stats()["jobs"].get("completed") == flood, within_s=120 + flood / 100, told="the end of the flood")

        print({title: round(mib, 1) for title, mib in sorted(highest.items())})
        assert max(highest.values()) < MOST_MIB, highest
        assert queue["leased"] <= MOST_LEASED
        assert len(set(load.job_ids)) == flood


def note_memory(jobyard: Jobyard, highest: dict[str, float]) -> None:
    """Update the highest memory of each process so far, by pid and title."""
    for process in tree(jobyard):
        title = f"{process.pid} {_title(process)}"
        highest[title] = max(highest.get(title, 0.0), memory_mib(process.pid))
