"""What holds for every test, seen from outside: a small suite that does what no test should."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.system import CHECKOUT
from tests.support.waiting import LIMIT_S

CONFTEST = """
from tests.conftest import pytest_configure
from tests.support import process_sweep, run_limits

process_sweep.GRACE_S = 0.1
run_limits.LONGEST_S = 1
"""
START = """
import subprocess, sys, threading, signal
from pathlib import Path

PARENT = "import subprocess as s, time; print(s.Popen(['sleep', '1000'], start_new_session=True).pid, flush=True); time.sleep(1000)"

def start(**more):
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True, **more)
    Path("pids").write_text(f"{parent.pid} {parent.stdout.readline()}")
    parent.stdout.close()
    return parent
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the small suite ended."""

    status: int
    output: str
    left: list[int]


def run_suite(folder: Path, test: str, *, ignored: signal.Signals | None = None) -> Ended:
    (folder / "tests").mkdir()
    (folder / "tests" / "conftest.py").write_text(CONFTEST)
    (folder / "tests" / "test_it.py").write_text(START + test)
    options = ["-p", "no:cacheprovider", "--rootdir", ".", "-c", os.devnull, "--basetemp", "temporary"]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    before = None if ignored is None else signal.signal(ignored, signal.SIG_IGN)  # is inherited
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", *options, "tests"], cwd=folder, env=environment, capture_output=True, text=True,
            timeout=LIMIT_S, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    finally:
        if ignored is not None:
            signal.signal(ignored, before)
    pids = (folder / "pids").read_text().split() if (folder / "pids").exists() else []
    left = [int(pid) for pid in pids if psutil.pid_exists(int(pid)) and psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE]
    return Ended(status=ended.returncode, output=ended.stdout + ended.stderr, left=left)


@pytest.mark.parametrize("environment", ["", "env={}, cwd=tmp_path"], ids=["marked", "in its folder"])
def test_a_test_that_fails_leaves_no_process_behind(tmp_path: Path, environment: str) -> None:
    ended = run_suite(tmp_path, f"def test_it(tmp_path):\n    start({environment})\n    assert False\n")

    assert "1 failed" in ended.output
    assert (tmp_path / "pids").exists() and ended.left == []


def test_a_test_that_fails_leaves_no_fork_of_its_own_process_behind(tmp_path: Path) -> None:
    test = """
import os, time

def test_it():
    pid = os.fork()
    if pid == 0:
        time.sleep(1000)
        os._exit(0)
    Path("pids").write_text(str(pid))
    assert False
"""
    ended = run_suite(tmp_path, test)

    assert "1 failed" in ended.output
    assert (tmp_path / "pids").exists() and ended.left == []


def test_a_test_that_passes_and_leaves_a_process_behind_fails(tmp_path: Path) -> None:
    ended = run_suite(tmp_path, "def test_it():\n    start()\n")

    assert "the test left processes" in ended.output and ended.status == 1
    assert ended.left == []


def test_what_a_shared_fixture_started_stays_for_the_next_test(tmp_path: Path) -> None:
    ended = run_suite(tmp_path, """
import pytest

@pytest.fixture(scope="session")
def shared():
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()

@pytest.fixture
def lent(shared):
    return shared

def test_first(lent):
    assert subprocess.run(["true"]).returncode == 0
    assert False

def test_second(lent):
    assert lent.poll() is None
""")

    assert "1 failed, 1 passed" in ended.output


def test_a_wait_without_a_limit_ends(tmp_path: Path) -> None:
    ended = run_suite(tmp_path, "def test_it():\n    threading.Event().wait()\n")

    assert "TimeoutError: the test did not end within 1 s" in ended.output


@pytest.mark.parametrize("ignored", [signal.SIGINT, signal.SIGHUP])
def test_signals_that_a_script_had_ignored_are_not_ignored_by_what_tests_start(tmp_path: Path, ignored: signal.Signals) -> None:
    code = f"import signal; print(signal.getsignal({int(ignored)}) is signal.SIG_IGN)"
    test = f"def test_it():\n    assert subprocess.check_output([sys.executable, '-c', {code!r}]) == b'False\\n'\n"

    assert "1 passed" in run_suite(tmp_path, test, ignored=ignored).output
