"""Standard descriptors that are closed, full, or whose reader leaves: the system runs, and can be stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.system import Jobyard
from tests.support.waiting import LIMIT_S, wait_for

ONE_OF_EACH = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 1}
START = [sys.executable, "-m", "jobyard", "start-all"]


def environment_of(jobyard: Jobyard) -> dict[str, str]:
    """For a process on the same folder and ports."""
    return Jobyard.environment_for(jobyard.data_dir.parent) | {
        name: str(value) for name, value in {**ONE_OF_EACH, "PORT_OFFSET": jobyard.port_offset}.items()
    }


@pytest.mark.parametrize(
    "redirection", ["0<&- 1>&- 2>&-", "0<&-", "1>&-", ">/dev/full 2>&1", "2>/dev/null | head -n 1", "2>/dev/null | true"]
)
def test_a_start_without_usable_descriptors_runs_and_is_stopped(tmp_path: Path, redirection: str) -> None:
    jobyard = Jobyard(tmp_path, **ONE_OF_EACH)
    environment = environment_of(jobyard)
    with subprocess.Popen(
        ["sh", "-c", f'"$@" {redirection}', "-", *START], cwd=tmp_path, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as shell:  # fmt: skip
        try:
            wait_for(lambda: jobyard.get("/health").status == 200, told="the start")
            job = jobyard.wait_for_job(jobyard.submit("hello"))
            pid = int((jobyard.data_dir / "run" / "start-all.pid").read_text())
            stopped = subprocess.run(
                [sys.executable, "-m", "jobyard", "stop-all"], env=environment, capture_output=True, text=True, check=False
            )  # fmt: skip
        finally:
            subprocess.run([sys.executable, "-m", "jobyard", "stop-all"], env=environment, stdout=subprocess.DEVNULL, check=False)
            shell.wait(LIMIT_S)
            jobyard.release_ports()

    assert job["result"] == "hello"
    assert stopped.stdout.splitlines() == [f"{words} pid {pid} (start-all)" for words in ("stopping", "stopped")]
    assert (jobyard.data_dir / "lock").read_bytes() == b""


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-", "| true"])
def test_stop_all_stops_although_nobody_reads_what_it_prints(tmp_path: Path, redirection: str) -> None:
    with Jobyard(tmp_path, **ONE_OF_EACH) as jobyard:
        command = f"{sys.executable} -m jobyard stop-all {redirection}"
        stopped = subprocess.run(["sh", "-c", command], env=environment_of(jobyard), stderr=subprocess.PIPE, text=True, check=False)

        assert (stopped.returncode, stopped.stderr) == (0, "")
        assert jobyard.wait_end() == 0


def test_a_refused_start_without_stderr_has_its_status(tmp_path: Path) -> None:
    command = ["sh", "-c", '"$@" 2>/dev/full', "-", *START, "--workers", "none"]

    assert subprocess.run(command, env=os.environ | {"DATA_DIR": str(tmp_path / "data")}, check=False).returncode == 2


def test_a_deleted_working_folder_is_refused(tmp_path: Path) -> None:
    jobyard = Jobyard(tmp_path, **ONE_OF_EACH)
    gone = tmp_path / "gone"
    gone.mkdir()
    started = subprocess.run(
        ["sh", "-c", 'cd "$0" && rmdir "$0" && exec "$@"', str(gone), *START], env=environment_of(jobyard), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    jobyard.release_ports()

    assert started.returncode == 2
    assert started.stderr == (
        "jobyard cannot start: the working folder cannot be used (No such file or directory): "
        "change to a folder that you may enter\n"
    )
