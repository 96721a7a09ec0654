"""Hostile tasks harm only themselves: other jobs, their worker, and the next job in the same child are not affected."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobyard.api.front.server import HTTP_WORKERS
from tests.support.notes import Notes, wait_gone
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

CHILD_MEMORY_MB = 200
MAX_LOST = 2
BOMB = 100
WORKERS, CONCURRENCY = 2, 2
SINGLE = ("supervisor", "control", "template", "front", "scheduler", "watcher", "queue")
PROCESSES = len(SINGLE) + HTTP_WORKERS + WORKERS * (1 + CONCURRENCY)
"""The most processes below the guard when none is being replaced and no task has created any."""
TASKS = "system_tasks,hostile_tasks"


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobyard]:
    """Two workers with two children each, and tight limits."""
    settings = {"SCHEDULERS": 1, "WATCHERS": 1, "RETRY_BASE_S": 0.1, "LEASE_S": 1, "POLL_S": 0.5}
    settings |= {"WORKERS": WORKERS, "CONCURRENCY": CONCURRENCY}
    limits = {"CHILD_MEMORY_MB": CHILD_MEMORY_MB, "MAX_LOST": MAX_LOST, "HANG_S": 2}
    with Jobyard(tmp_path_factory.mktemp("arena"), TASKS=TASKS, **settings, **limits) as jobyard:
        yield jobyard


@pytest.fixture
def unharmed(arena: Jobyard, notes: Notes, tmp_path: Path) -> Iterator[None]:
    """Another job runs throughout on its first attempt, no process is replaced, and afterwards the system is healthy."""
    until = tmp_path / "let the neighbour go"
    neighbour = arena.submit(notes.payload(until=str(until)), task="hold")
    notes.wait(neighbour)
    pids = {name: entry["pid"] for name, entry in arena.processes().items()}

    yield

    until.touch()
    assert arena.wait_for_job(neighbour)["attempt"] == 1
    arena.wait_for_job(arena.submit("after it"))
    assert {name: entry["pid"] for name, entry in arena.processes().items()} == pids
    assert arena.get("/health").status == 200


def ends(jobyard: Jobyard, job_id: str) -> list[str]:
    """The statuses of the job's attempts."""
    return [execution["status"] for execution in jobyard.executions(job_id)]


def descendants(jobyard: Jobyard) -> int:
    return len(psutil.Process(jobyard.guard_pid).children(recursive=True))


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("flees", [False, True], ids=["in its group", "in sessions of their own"])
@pytest.mark.parametrize("stays", [False, True], ids=["left behind", "at its time-out"])
def test_a_fork_bomb_ends_with_its_job(arena: Jobyard, notes: Notes, flees: bool, stays: bool) -> None:
    payload = notes.payload(limit=BOMB, flees=flees, stays=stays)
    job_id = arena.submit(payload, task="multiply", timeout_s=2 if stays else 60, max_retries=0)
    if stays:
        wait_for(lambda: descendants(arena) > PROCESSES, told="the bomb")
    job = arena.wait_for_job(job_id, status="failed" if stays else "completed")

    assert (ends(arena, job_id), job["result"]) == ((["timeout"], None) if stays else (["success"], BOMB))
    wait_for(lambda: descendants(arena) <= PROCESSES, told="the end of all that it made, and nothing else")


@pytest.mark.usefixtures("unharmed")
def test_a_memory_hog_fails_with_the_reason(arena: Jobyard, notes: Notes) -> None:
    job_id = arena.submit(notes.payload(), task="hog", max_retries=0)

    job = arena.wait_for_job(job_id, status="failed")

    assert ends(arena, job_id) == ["crashed"]
    matched = re.fullmatch(r"out of memory: (\d+) MiB used, CHILD_MEMORY_MB allows (\d+)", job["error"])
    assert matched is not None and int(matched[2]) == CHILD_MEMORY_MB < int(matched[1]) < 3 * CHILD_MEMORY_MB


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(("then", "end"), [("return", "success"), ("die", "crashed"), ("stay", "timeout")])
def test_a_daemon_does_not_outlive_its_job(arena: Jobyard, notes: Notes, then: str, end: str) -> None:
    job_id = arena.submit(notes.payload(then=then), task="daemonise", timeout_s=0.5, max_retries=0)
    daemon = notes.wait(job_id).child

    arena.wait_for_job(job_id, status="completed" if end == "success" else "failed")

    wait_gone(daemon)
    assert ends(arena, job_id) == [end]


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("task", ["swallow", "stop_itself"])
def test_a_task_that_ignores_exceptions_is_killed_at_its_timeout(arena: Jobyard, notes: Notes, task: str) -> None:
    job_id = arena.submit(notes.payload(), task=task, timeout_s=0.3, max_retries=0)

    job = arena.wait_for_job(job_id, status="failed")

    wait_gone(notes.wait(job_id).pid)
    assert (ends(arena, job_id), job["error"]) == (["timeout"], "timed out after 0.3 s")


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("how", ["count", "regular expression"])
def test_a_computation_that_never_returns_from_c_ends_at_its_timeout(arena: Jobyard, notes: Notes, how: str) -> None:
    job_id = arena.submit(notes.payload(how=how), task="compute", timeout_s=2.5, max_retries=0)  # its lease is one second
    begun = notes.wait(job_id)
    recovered = arena.get("/stats", port=6000).json["jobs_recovered"]

    latest = [arena.wait_for_job(arena.submit(number)) for number in range(5)]
    job = arena.wait_for_job(job_id, status="failed")

    assert [other["attempt"] for other in latest] == [1] * 5
    assert (ends(arena, job_id), job["attempt"]) == (["timeout"], 1)
    assert arena.get("/stats", port=6000).json["jobs_recovered"] == recovered  # its lease never ran out
    assert time.monotonic() - begun.monotonic_s > 2.4
    if how == "count":  # the others are interrupted, and their process lives on
        wait_gone(begun.pid)


@pytest.mark.usefixtures("unharmed")
def test_a_hundred_mebibytes_of_output_are_a_bounded_log(arena: Jobyard, notes: Notes) -> None:
    before = arena.output_path.stat().st_size
    worker = psutil.Process(arena.pid("worker-7001"))
    memory = worker.memory_info().rss

    job = arena.wait_for_job(arena.submit(notes.payload(mib=100), task="shout", max_retries=0))

    assert job["result"] == "said it all"
    assert arena.output_path.stat().st_size - before < 1 << 18
    assert worker.memory_info().rss - memory < 16 << 20


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(("limit", "end", "words"), [(None, "failed", "RecursionError"), (1 << 30, "crashed", "SIGSEGV")])
def test_a_recursion_without_end(arena: Jobyard, notes: Notes, limit: int | None, end: str, words: str) -> None:
    payload = notes.payload() if limit is None else notes.payload(limit=limit)

    job_id = arena.submit(payload, task="descend", max_retries=0)
    job = arena.wait_for_job(job_id, status="failed")

    assert ends(arena, job_id) == [end]
    assert words in job["error"]


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("name", ["KeyboardInterrupt", "GeneratorExit", "SystemExit"])
def test_a_base_exception_is_an_ordinary_failure(arena: Jobyard, notes: Notes, name: str) -> None:
    job_id = arena.submit(notes.payload(name=name), task="raise_base", max_retries=0)

    job = arena.wait_for_job(job_id, status="failed")

    assert ends(arena, job_id) == ["failed"] and name in job["error"]


def test_the_next_job_in_the_same_child_finds_everything_restored(tmp_path: Path, notes: Notes) -> None:
    with Jobyard(tmp_path, TASKS=TASKS, SCHEDULERS=1, WATCHERS=1, WORKERS=1, CONCURRENCY=1) as jobyard:
        before, spoiled, after = (
            jobyard.wait_for_job(jobyard.submit(notes.payload(), task=task, timeout_s=5))["result"]
            for task in ("look", "spoil", "look")
        )
        still_told = jobyard.submit(notes.payload(), task="tidy", timeout_s=0.2, max_retries=0)

        assert after == before and before["pid"] == spoiled
        assert before["environment"]["PATH"] and before["umask"] != 0
        notes.wait(still_told, what="tidied")  # the worker's signal still reaches the child
        assert notes.wait(still_told, what="tidied").pid == spoiled


def test_a_child_that_a_job_changed_for_good_is_replaced_and_the_others_are_not(tmp_path: Path, notes: Notes) -> None:
    with Jobyard(tmp_path, TASKS=TASKS, SCHEDULERS=1, WATCHERS=1, WORKERS=1, CONCURRENCY=1) as jobyard:

        def run(task: str, **payload: object) -> Any:
            return jobyard.wait_for_job(jobyard.submit(payload, task=task))["result"]

        for what in ("stdout", "stderr", "niceness", "limit", "locale", "zone", "flush", "pool"):
            ruined = run("ruin", what=what)
            assert run("pid") != ruined, what
        run("loop")
        assert run("ruin", what="loop") != run("pid")
        pid = run("pid")
        assert run("settings") == run("settings") and run("configured") == "yes"
        assert [run("precision"), run("precision")] == [28, 28]
        assert [run("loop"), run("loop"), run("loop")] == [True, True, True]
        assert run("pid") == pid


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("task", "to"), [("abandon_async", None), ("abandon", "thread"), ("abandon", "pool"), ("abandon", "reaper")], ids=str
)
def test_a_result_is_kept_whatever_processes_its_task_leaves_to_others(arena: Jobyard, task: str, to: str | None) -> None:
    job_ids = [arena.submit({"to": to}, task=task) for _ in range(6)]

    jobs = [arena.wait_for_job(job_id) for job_id in job_ids]

    assert [(job["result"], job["attempt"], job["lost_count"]) for job in jobs] == [("returned", 1, 0)] * 6


def test_a_job_that_takes_its_template_down_each_time_fails_and_is_told_why(arena: Jobyard, notes: Notes) -> None:
    job_id = arena.submit(notes.payload(signal=signal.SIGKILL, for_s=60), task="poison")

    others = [arena.submit(notes.payload(for_s=0.05), task="run") for _ in range(20)]
    job = arena.wait_for_job(job_id, status="failed")

    assert ends(arena, job_id) == ["lost"] * MAX_LOST
    assert (job["attempt"], job["lost_count"], job["retry_count"]) == (MAX_LOST, MAX_LOST, 0)
    assert "died while it ran" in job["error"] and f"{MAX_LOST} times" in job["error"]
    assert {arena.wait_for_job(other)["status"] for other in others} == {"completed"}
    wait_for(lambda: arena.get("/health").status == 200, told="good health")


def test_a_job_that_stops_its_template_ends_well_and_the_next_ones_come_from_a_new_template(arena: Jobyard, notes: Notes) -> None:
    before = arena.pid("template")
    job_id = arena.submit(notes.payload(signal=signal.SIGSTOP, for_s=1), task="poison")

    arena.wait_replaced("template", before)
    others = [arena.submit(notes.payload(for_s=0.05), task="run") for _ in range(20)]

    assert (arena.wait_for_job(job_id)["status"], ends(arena, job_id)) == ("completed", ["success"])
    assert {arena.wait_for_job(other)["status"] for other in others} == {"completed"}
    wait_for(lambda: not psutil.pid_exists(before), told="the end of the old template")


def test_a_job_that_kills_its_template_each_time_does_not_take_its_neighbours_along(tmp_path: Path, notes: Notes) -> None:
    settings = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 4, "MAX_LOST": 3}
    with Jobyard(tmp_path, TASKS=TASKS, **settings) as jobyard:
        until = tmp_path / "all four run"
        poison = jobyard.submit(notes.payload(signal=signal.SIGKILL, for_s=60, after=str(until)), task="poison")
        neighbours = [jobyard.submit(notes.payload(for_s=0.3), task="run") for _ in range(3)]
        for job_id in (poison, *neighbours):
            notes.wait(job_id)
        until.touch()

        assert ends(jobyard, jobyard.wait_for_job(poison, status="failed")["job_id"]) == ["lost"] * 3
        for neighbour in neighbours:
            lost_count = jobyard.wait_for_job(neighbour)["lost_count"]
            assert ends(jobyard, neighbour) == [*["lost"] * lost_count, "success"]
