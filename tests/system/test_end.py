"""Whatever is killed, no process is left, and the next start continues with every job."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.support.notes import Notes, is_alive
from tests.support.system import Jobyard
from tests.support.waiting import LIMIT_S, wait_for

TASKS = "system_tasks"


@pytest.mark.parametrize("victim", ["supervisor", "guard"])
def test_after_guard_or_supervisor_is_killed_everything_ends_and_a_new_start_continues(tmp_path: Path, victim: str) -> None:
    notes = Notes(tmp_path)
    first = Jobyard(tmp_path, TASKS=TASKS).start()
    clinging = first.submit(notes.payload(), task="cling")
    note = notes.wait(clinging)
    waiting = first.submit(notes.payload(), task="run", delay_s=0.5)

    os.kill(first.guard_pid if victim == "guard" else first.pid(victim), signal.SIGKILL)
    wait_for(lambda: not first.look_at_processes(), told="the end of all processes")
    first.wait_end()
    first.release_ports()

    assert not is_alive(note.child)
    with Jobyard(tmp_path, TASKS=TASKS, DRAIN_S=0) as second:
        second.wait_for_job(waiting)
        notes.wait(clinging, count=2)
        assert second.job(clinging)["lost_count"] == 1
        assert second.job(clinging)["retry_count"] == 0
        assert [execution["status"] for execution in second.executions(clinging)] == ["lost", "running"]


def test_a_killed_front_is_replaced_and_requests_wait_for_the_new_one(tmp_path: Path) -> None:
    with Jobyard(tmp_path) as jobyard:
        front = psutil.Process(jobyard.pid("gateway-8080"))
        http_workers = front.children()

        pid = jobyard.kill("gateway-8080")
        psutil.wait_procs(http_workers, timeout=LIMIT_S)
        job_id = jobyard.submit("while nobody listens")
        jobyard.wait_replaced("gateway-8080", pid)

        assert jobyard.wait_for_job(job_id)["result"] == "while nobody listens"


@pytest.mark.parametrize("task", ["confess", "cling"])
def test_a_second_stop_tells_the_task_and_its_job_counts_no_loss(tmp_path: Path, task: str) -> None:
    """Five such stops would otherwise end an innocent job as failed."""
    notes = Notes(tmp_path)
    running = ""
    for stops in range(2):
        with Jobyard(tmp_path, TASKS=TASKS, MAX_LOST=1, WORKERS=1) as jobyard:
            running = running or jobyard.submit(notes.payload(), task=task)
            notes.wait(running, count=stops + 1)
            os.kill(jobyard.guard_pid, signal.SIGTERM)
            wait_for(lambda: "stop_begun" in jobyard.output())

            status = jobyard.stop_again()

        assert status == 130
        assert notes.wait(running, what="asked", count=stops + 1).words == "JobReleased"
    with Jobyard(tmp_path, TASKS=TASKS, DRAIN_S=0) as jobyard:
        notes.wait(running, count=3)
        job = jobyard.job(running)
        executions = jobyard.executions(running)

    assert (job["retry_count"], job["lost_count"]) == (0, 0)
    assert [execution["status"] for execution in executions] == ["released", "released", "running"]


def test_a_stop_releases_long_jobs_and_the_next_start_runs_them_without_a_retry(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    with Jobyard(tmp_path, TASKS=TASKS, DRAIN_S=0.2) as first:
        clinging = first.submit(notes.payload(), task="cling")
        notes.wait(clinging)
        status = first.stop()

    with Jobyard(tmp_path, TASKS=TASKS, DRAIN_S=0.2) as second:
        notes.wait(clinging, count=2)
        job = second.job(clinging)
        executions = second.executions(clinging)

    assert status == 0
    assert (job["retry_count"], job["lost_count"]) == (0, 0)
    assert [execution["status"] for execution in executions] == ["released", "running"]
