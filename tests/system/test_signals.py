"""Stop signals at awkward moments: during a fork of the start, twice at once, from a closed terminal, inherited as ignored."""

from __future__ import annotations

import os
import pty
import signal
import sys
from pathlib import Path

import pytest

from tests.support.notes import Notes
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

ONE_OF_EACH = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 1}
TASKS = "system_tasks"

STOPPED_IN_A_FORK = """
import os, signal, sys

forks = 0

def stop():
    global forks
    forks += 1
    if forks == {number}:
        os.kill(os.getpid(), signal.{name})

os.register_at_fork(after_in_parent=stop)

from jobyard.__main__ import run

sys.exit(run())
"""


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_within_a_fork_of_the_start_is_not_lost(tmp_path: Path, number: int, name: str) -> None:
    program = tmp_path / "stopped.py"
    program.write_text(STOPPED_IN_A_FORK.format(number=number, name=name))
    jobyard = Jobyard(tmp_path, program=(str(program),), **ONE_OF_EACH)

    jobyard.start(wait_ready=False)

    assert jobyard.wait_end() == 0
    assert "Traceback" not in jobyard.output()
    jobyard.check_nothing_is_left()
    jobyard.release_ports()


@pytest.mark.parametrize("target", ["guard", "supervisor"])
def test_two_stops_at_once_are_one(tmp_path: Path, notes: Notes, target: str) -> None:
    with Jobyard(tmp_path, TASKS=TASKS, **ONE_OF_EACH) as jobyard:
        running = jobyard.submit(notes.payload(until=str(tmp_path / "end")), task="hold")
        notes.wait(running)
        pid = jobyard.guard_pid if target == "guard" else jobyard.pid("supervisor")
        jobyard.look_at_processes()

        os.kill(pid, signal.SIGTERM)
        wait_for(lambda: "stop_begun" in jobyard.output())
        os.kill(pid, signal.SIGTERM)
        (tmp_path / "end").touch()

        assert jobyard.wait_end() == 0
        assert "kill_begun" not in jobyard.output()
        assert notes.read("end", running)


def test_a_closed_terminal_is_one_stop(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    jobyard = Jobyard(tmp_path, program=("-c", ON_A_TERMINAL.format(path=os.ttyname(slave))), words=("start-all",), **ONE_OF_EACH)
    jobyard.start()
    os.close(slave)
    jobyard.look_at_processes()

    os.kill(jobyard.guard_pid, signal.SIGHUP)
    os.close(master)
    os.kill(jobyard.guard_pid, signal.SIGHUP)

    assert jobyard.wait_end() == 0
    assert "kill_begun" not in jobyard.output()
    jobyard.check_nothing_is_left()
    jobyard.release_ports()


ON_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(os.open({path!r}, os.O_RDWR), termios.TIOCSCTTY, 0)
from jobyard.__main__ import run
sys.exit(run())
"""


def test_an_inherited_ignored_sigint_stays_ignored(tmp_path: Path) -> None:
    ignoring = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    with Jobyard(tmp_path, prefix=(sys.executable, "-c", ignoring), **ONE_OF_EACH) as jobyard:
        os.kill(jobyard.guard_pid, signal.SIGINT)

        jobyard.wait_for_job(jobyard.submit("still running"))
        assert "stop_begun" not in jobyard.output()


def test_processes_of_the_shell_that_executed_the_start_are_not_killed(tmp_path: Path) -> None:
    pid_path = tmp_path / "pid"
    shell = ("sh", "-c", f'sleep 600 & echo $! > {pid_path}; exec "$@"', "-")
    (tmp_path / "run").mkdir()
    with Jobyard(tmp_path / "run", prefix=shell, **ONE_OF_EACH) as jobyard:
        pid = int(pid_path.read_text())
        try:
            os.kill(jobyard.guard_pid, signal.SIGTERM)
            assert jobyard.wait_end() == 0
            os.kill(pid, 0)
        finally:
            os.kill(pid, signal.SIGKILL)
