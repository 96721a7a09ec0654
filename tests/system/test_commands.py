"""`bin/jobyard` against a real system: what the documentation does not show, and what is interrupted in the middle."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobyard.api.commands import exits
from tests.support.notes import Notes
from tests.support.system import Jobyard
from tests.support.waiting import LIMIT_S, wait_for

COMMAND = [sys.executable, "-m", "jobyard"]
LINES, ROOM = 4_000, 1_500
TOMORROW_S = 86_400
TAKE_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
SMALL = {"TASKS": "system_tasks", "SCHEDULERS": 2, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 1}


def environment(jobyard: Jobyard) -> Mapping[str, str]:
    settings = {name: str(value) for name, value in SMALL.items()}
    return Jobyard.environment_for(jobyard.data_dir.parent) | settings | {"PORT_OFFSET": str(jobyard.port_offset)}


def start(jobyard: Jobyard, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *words], env=environment(jobyard), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )  # fmt: skip


def run(jobyard: Jobyard, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], env=environment(jobyard), capture_output=True, text=True, timeout=LIMIT_S)


def json_of(jobyard: Jobyard, *words: str) -> Any:
    ended = run(jobyard, *words, "--json")
    assert ended.returncode == exits.OK, ended.stderr
    return json.loads(ended.stdout)


def is_connected(process: subprocess.Popen[bytes], jobyard: Jobyard) -> bool:
    found = psutil.Process(process.pid).net_connections("tcp")
    return any(bool(one.raddr) and one.raddr.port == jobyard.port() for one in found)


def test_show_prints_a_jobs_whole_history(small: Jobyard, notes: Notes) -> None:
    failed = small.submit(notes.payload(), task="fail", max_retries=0)
    small.wait_for_job(failed, status="failed")

    story = json_of(small, "show", failed)
    shown = run(small, "show", failed)
    again = run(small, "retry", "--status", "failed", "--task", "fail", "--yes")
    small.wait_for_job(failed, status="failed")

    assert story["job"]["job_id"] == failed and story["executions"][0]["status"] == "failed" and story["logs"][0]["attempt"] == 1
    assert shown.returncode == exits.OK and failed in shown.stdout and "WORKER" in shown.stdout and "\x1b" not in shown.stdout
    assert again.returncode == exits.OK and small.job(failed)["attempt"] == 2
    assert run(small, "wait", failed).returncode == exits.FAILED


def test_following_the_logs_ends_with_the_job(small: Jobyard, notes: Notes, tmp_path: Path) -> None:
    until = tmp_path / "until"
    held = small.submit(notes.payload(until=str(until)), task="hold")
    following = start(small, "logs", "-f", held)
    wait_for(lambda: is_connected(following, small), told="a request of its")
    until.touch()

    assert following.wait(LIMIT_S) == exits.OK and small.job(held)["status"] == "completed"
    assert following.communicate(timeout=LIMIT_S)[1] == b""


def test_the_doctor_finds_a_running_system_fine(small: Jobyard) -> None:
    ended = run(small, "doctor", "--json")

    state = {finding["check"]: finding["state"] for finding in json.loads(ended.stdout)["findings"]}
    about_us = ("settings", "tasks", "folder", "ports", "database", "service", "processes")
    assert {state[check] for check in about_us} == {"fine"}, ended.stdout
    assert ended.returncode in (exits.OK, exits.DOCTOR_WARNS)  # the machine may be short of disk space


def test_a_closed_pipe_and_ctrl_c_are_quiet(small: Jobyard) -> None:
    for _ in range(3):
        small.submit("x" * 60_000, delay_s=TOMORROW_S, queue="long_lines")
    command = f"{shlex.join([*COMMAND, 'list', '--queue', 'long_lines', '--all', '--json'])} | head -c 1"
    listing = subprocess.run(["sh", "-c", command], env=environment(small), capture_output=True, timeout=LIMIT_S)
    waiting = start(small, "wait", small.submit(delay_s=TOMORROW_S))
    wait_for(lambda: is_connected(waiting, small), told="a request of its")
    waiting.send_signal(signal.SIGINT)

    assert waiting.wait(LIMIT_S) == exits.INTERRUPTED and waiting.communicate(timeout=LIMIT_S) == (b"", b"")
    assert (listing.stdout, listing.stderr) == (b"{", b"")


# ---- a file of jobs


def stored(jobyard: Jobyard) -> int:
    return int(jobyard.stats()["jobs"]["pending"])


def test_a_file_is_submitted_once_although_command_and_service_are_killed_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "jobs.ndjson"
    path.write_text("".join(json.dumps({"payload": number, "delay_s": TOMORROW_S}) + "\n" for number in range(LINES)))
    with Jobyard(tmp_path, MAX_PENDING=ROOM, **SMALL) as jobyard:  # so that the submission stops in the middle
        killed = start(jobyard, "submit", "--file", str(path))
        wait_for(lambda: stored(jobyard) >= ROOM, told="a part of the file")
        killed.kill()
        killed.communicate(timeout=LIMIT_S)
        before = stored(jobyard)
        submitting = start(jobyard, "submit", "--file", str(path))
        wait_for(lambda: is_connected(submitting, jobyard), told="its first request")
        jobyard.stop()
        jobyard.add_settings(MAX_PENDING=10 * LINES).start()
        printed, complaints = submitting.communicate(timeout=LIMIT_S)

        assert killed.returncode == -signal.SIGKILL and ROOM <= before < LINES
        assert submitting.returncode == exits.OK, complaints
        job_ids = printed.decode().split()
        assert len(set(job_ids)) == LINES == stored(jobyard)
        assert [jobyard.job(job_ids[line])["payload"] for line in (0, LINES // 2, LINES - 1)] == [0, LINES // 2, LINES - 1]


# ---- the screen


@contextlib.contextmanager
def at_a_terminal(jobyard: Jobyard, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command on a terminal of its own of 80 × 24, and the person's end of that terminal."""
    person, program = os.openpty()
    fcntl.ioctl(person, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-c", TAKE_TERMINAL, *COMMAND, *words]
    process = subprocess.Popen(
        command, env=environment(jobyard), stdin=program, stdout=program, stderr=program, start_new_session=True
    )  # fmt: skip
    os.close(program)
    try:
        yield process, person
    finally:
        process.kill()
        process.wait(LIMIT_S)
        os.close(person)


def read_until(person: int, sign: str, seen: str = "") -> str:
    """What was written to the screen, up to and including this text."""
    while sign not in seen:
        assert select.select([person], [], [], 20)[0], seen
        seen += os.read(person, 65536).decode("utf-8", "replace")
    return seen


@pytest.mark.parametrize(("key", "status"), [(b"q", exits.OK), (b"\x03", exits.INTERRUPTED)], ids=["q", "ctrl-c"])
def test_top_shows_the_system_and_restores_the_terminal(small: Jobyard, key: bytes, status: int) -> None:
    with at_a_terminal(small, "top", "--every", "0.2") as (process, person):
        seen = read_until(person, "accepted ")
        seen = read_until(person, "/s  succeeded", seen)
        os.write(person, key)
        seen = read_until(person, "\x1b[?1049l", seen)

        assert process.wait(LIMIT_S) == status
    assert "worker-" in seen and "\x1b[2J" not in seen and "Traceback" not in seen
