"""Successful and failing starts: the program of `bin/start-all` with everything real behind it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.system import Jobyard
from tests.support.waiting import LIMIT_S, wait_for

CANNOT_START = 2
DOUBLE = "from jobyard import task\n\n@task('double')\ndef double(payload):\n    return payload * 2\n"
ONE_OF_EACH = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 1}


def refused(jobyard: Jobyard) -> list[str]:
    """The lines that a failing start prints before it ends with status 2 and leaves nothing behind."""
    jobyard.start(wait_ready=False)
    assert jobyard.wait_end() == CANNOT_START
    jobyard.check_nothing_is_left()
    return jobyard.output().splitlines()


def test_all_problems_are_reported_at_once_one_per_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nowhere\n")
    jobyard = Jobyard(tmp_path, TASKS="broken")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "jobyard.sqlite").mkdir()
    with socket.create_server(("127.0.0.1", jobyard.port(6000))), socket.create_server(("127.0.0.1", jobyard.port(7002))):
        lines = refused(jobyard)

    assert len(lines) == 3
    assert f"ports {jobyard.port(6000)}, {jobyard.port(7002)} on 127.0.0.1 in use by pid {os.getpid()}" in lines[0]
    assert "PORT_OFFSET" in lines[0]
    assert "jobyard.sqlite" in lines[1] or "database" in lines[1]
    assert "broken" in lines[2] and "nowhere" in lines[2]


def test_all_invalid_settings_are_reported_in_one_line(tmp_path: Path) -> None:
    lines = refused(Jobyard(tmp_path, words=("start-all", "--workers", "none", "--log-level=loud"), POLL_S="often"))

    assert len(lines) == 1
    assert all(text in lines[0] for text in ("WORKERS must be", "LOG_LEVEL must be", "POLL_S must be"))


def test_a_folder_in_use_is_reported_with_its_user(tmp_path: Path) -> None:
    with Jobyard(tmp_path, **ONE_OF_EACH) as first:
        second = Jobyard(tmp_path, **ONE_OF_EACH)
        second.start(wait_ready=False)

        assert second.wait_end() == CANNOT_START
        second.release_ports()
        assert f"in use by pid {first.guard_pid} (start-all): stop it with bin/stop-all" in first.output()
        assert first.get("/health").status == 200


def test_task_modules_are_found_in_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(DOUBLE)

    with Jobyard(tmp_path, TASKS="mine", **ONE_OF_EACH) as jobyard:
        job_id = jobyard.submit(21, task="double")

        assert jobyard.wait_for_job(job_id)["result"] == 42


def test_a_stop_before_the_start_is_done_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    jobyard = Jobyard(tmp_path, TASKS="slow", **ONE_OF_EACH)
    jobyard.start(wait_ready=False)
    wait_for(lambda: (jobyard.data_dir / "run" / "start-all.pid").read_text())

    status = jobyard.stop()

    assert status == 0
    jobyard.check_nothing_is_left()


@pytest.mark.parametrize("word", ["--pol-s", "everything"])
def test_an_unknown_argument_is_reported_with_status_2(tmp_path: Path, word: str) -> None:
    lines = refused(Jobyard(tmp_path, words=("start-all", word)))

    assert lines == [f"jobyard cannot start: unknown argument '{word}'; see bin/start-all --help"]


def test_components_started_one_by_one_find_each_other(tmp_path: Path) -> None:
    roles = ("worker", "scheduler", "watcher", "queue", "gateway")
    (tmp_path / "mine.py").write_text(DOUBLE)
    first = Jobyard(tmp_path, words=("start", "worker"), TASKS="mine")
    started = [first, *(Jobyard(tmp_path, words=("start", role), PORT_OFFSET=first.port_offset) for role in roles[1:])]
    started[roles.index("queue")].add_settings(PORT=6001)
    try:
        for component in started:
            component.start()
        gateway = started[-1]
        job_id = gateway.submit(21, task="double")

        assert gateway.wait_for_job(job_id)["result"] == 42
        assert gateway.get("/stats", port=7001).json["jobs_succeeded"] == 1
        assert gateway.get("/health").status == 200
    finally:
        stopped = stop_all(tmp_path)
        statuses = [component.wait_end() for component in started]
        first.release_ports()

    assert statuses == [0] * len(roles)
    assert all(f"(worker-{first.port(7001)})" in line for line in stopped if "worker" in line)
    first.check_nothing_is_left()


def test_with_an_inherited_ignored_sigchld_it_still_sees_its_children_end(tmp_path: Path) -> None:
    jobyard = Jobyard(tmp_path, **ONE_OF_EACH)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # inherited by a program that is started
    try:
        jobyard.start(wait_ready=False)
    finally:
        signal.signal(signal.SIGCHLD, before)
    with ExitStack() as at_the_end:
        at_the_end.push(jobyard)
        jobyard.wait_ready()

        pid = jobyard.kill("worker-7001")

        jobyard.wait_replaced("worker-7001", pid)
        assert jobyard.stop() == 0


def test_stop_all_says_when_nothing_runs(tmp_path: Path) -> None:
    assert stop_all(tmp_path) == [f"nothing runs on {tmp_path / 'data'}"]


def stop_all(folder: Path) -> list[str]:
    """The output of `bin/stop-all`."""
    done = subprocess.run(
        [sys.executable, "-m", "jobyard", "stop-all"], cwd=folder, env=Jobyard.environment_for(folder), capture_output=True,
        text=True,
        check=True, timeout=LIMIT_S,
    )  # fmt: skip
    return done.stdout.splitlines()
