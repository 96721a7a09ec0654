"""The comparison: all job systems are measured in the same way, and those that cannot run are reported."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.bench.peers import compare
from tests.bench.peers.catalogue import PEERS, Peer
from tests.bench.peers.environment import CannotRun, peer_bin
from tests.bench.peers.measure import APPS, Result, Runner, Workload, fresh_marks, run, worker_commands
from tests.bench.peers.servers import Server, find_program

COURSE = Workload(jobs=60, latency_jobs=2, hold_s=2.0)

SUBMIT = """
import os, pathlib
QUEUE = pathlib.Path(os.environ["BENCH_URL"])

def put(name, text=""):
    (QUEUE / f"{name}.new").write_text(text)
    (QUEUE / f"{name}.new").rename(QUEUE / f"{name}.job")

def submit(number):
    put(f"{number:06}")

def submit_many(numbers):
    for number in numbers:
        submit(number)

def submit_hold(number, seconds):
    put(f"{number:06}", str(seconds))
"""
WORK = """
import sys, time
import marks
from fake_app import QUEUE

while True:
    for job in sorted(QUEUE.glob("*.job")):
        number, seconds = int(job.stem), job.read_text()
        if EARLY: job.unlink()
        marks.hold(number, float(seconds)) if seconds else marks.sign(number)
        if not EARLY: job.unlink()
    time.sleep(0.001)
"""


@pytest.fixture
def runner(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Runner]:
    """A queue of files, whose worker removes a job before or after running it."""
    (tmp_path / "fake_app.py").write_text(SUBMIT)
    (tmp_path / "worker.py").write_text(WORK.replace("EARLY", str(request.param)))
    (tmp_path / "queue").mkdir()
    with fresh_marks(COURSE) as (path, slots):
        own = {
            "PATH": os.environ["PATH"], "PYTHONPATH": f"{APPS}{os.pathsep}{tmp_path}", "BENCH_MARKS": str(path),
            "BENCH_URL": str(tmp_path / "queue"),
        }  # fmt: skip
        runner = Runner(
            python=sys.executable, app="fake_app", environment=own, workers=[[sys.executable, str(tmp_path / "worker.py")]],
            folder=tmp_path, marks=slots,
        )  # fmt: skip
        runner.start()
        yield runner
        runner.stop()


@pytest.mark.parametrize("runner", [False], indirect=True)
def test_a_peer_is_measured_and_its_killed_jobs_run_again(runner: Runner) -> None:
    result = run(runner, COURSE)

    assert result.jobs_per_s > 0
    assert len(result.waits_ms) == COURSE.latency_jobs and result.percentile_ms(50) > 0
    assert result.memory_mib > 1
    assert result.again_s is not None
    assert result.remarks == []


@pytest.mark.parametrize("runner", [True], indirect=True)
def test_jobs_that_a_killed_worker_loses_are_reported(runner: Runner) -> None:
    result = run(runner, dataclasses.replace(COURSE, hold_s=0.5, again_s=1.0))

    assert result.again_s is None


def test_a_peer_that_cannot_run_gets_a_row_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    peer = dataclasses.replace(PEERS[0], serve=_refuse)
    peer_bin(peer.environment, peer.packages, run=_make)

    row, note = compare.measured(peer, COURSE, Result(jobs_per_s=100, waits_ms=[1.0]))

    assert row == [peer.name, *["–"] * 7]
    assert note == f"- {peer.name}: cannot run here: no such server."


def test_a_row_shows_ratios_to_ours() -> None:
    ours, theirs = Result(jobs_per_s=8000, waits_ms=[4.0]), Result(jobs_per_s=500, waits_ms=[2.0], memory_mib=50.4)

    assert compare.row_of("X", theirs, ours) == ["X", "500", "16.0", "2", "2", "0.5", "50", "–"]


def test_a_missing_server_is_reported_with_a_remedy() -> None:
    with pytest.raises(CannotRun, match=r"no-such-server is not installed .*apt install some-package"):
        find_program("no-such-server", package="some-package")


def test_an_environment_is_made_once_for_the_same_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[str] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def make(command: Sequence[str], failure: str) -> str:
        commands.append(" ".join(command))
        return _make(command, failure)

    for packages in (["one"], ["one"], ["one", "two"]):
        peer_bin("some", packages, run=make)

    assert [command.split()[-1] for command in commands if " pip " in command] == ["one", "two"]


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_of_the_catalogue_is_complete(peer: Peer) -> None:
    app = (APPS / f"{peer.app}.py").read_text("utf-8")

    assert all(f"def {name}(" in app for name in ("submit", "submit_many", "submit_hold"))
    assert worker_commands(peer.command, "url", Path("/bin"), peer.copies)[0][0].startswith("/bin/")
    assert "{" not in " ".join(worker_commands(peer.command, "url", Path("/bin"), 1)[0])


def _refuse() -> AbstractContextManager[Server]:
    raise CannotRun("no such server")


def _make(command: Sequence[str], failure: str) -> str:
    """Pretends to run the command."""
    if "venv" in command:
        Path(command[-1]).mkdir(parents=True, exist_ok=True)
    return ""
