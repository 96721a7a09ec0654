"""`bin/jobyard backup`: copies the database of a running system, and a start on the copy continues from there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.notes import Notes
from tests.support.system import Jobyard
from tests.support.waiting import LIMIT_S

SETTINGS = {"TASKS": "system_tasks", "SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 2}


def back_up(folder: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobyard", "backup", str(target)]
    return subprocess.run(command, env=Jobyard.environment_for(folder), capture_output=True, text=True, timeout=LIMIT_S)


def test_a_start_on_a_backup_continues_from_there(tmp_path: Path, notes: Notes) -> None:
    copy, until = tmp_path / "copy.sqlite", tmp_path / "until"
    with Jobyard(tmp_path, **SETTINGS) as jobyard:
        done = jobyard.wait_for_job(jobyard.submit("done before"))
        running = jobyard.submit(notes.payload(until=str(until)), task="hold")
        notes.wait(running)
        ended = back_up(tmp_path, copy)
        later = jobyard.submit("accepted afterwards")
        until.touch()
        jobyard.wait_for_job(running)

    for path in jobyard.data_dir.glob("jobyard.sqlite*"):
        path.unlink()
    copy.rename(jobyard.data_dir / "jobyard.sqlite")
    with Jobyard(tmp_path, **SETTINGS) as restored:
        again = restored.wait_for_job(running)

        assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"2 jobs are in {copy}\n", "")
        assert restored.job(done["job_id"]) == done
        assert (again["attempt"], again["lost_count"], again["retry_count"]) == (2, 1, 0)
        assert restored.get(f"/api/jobs/{later}").status == 404


def test_an_impossible_backup_is_reported_in_one_line_with_status_2(tmp_path: Path) -> None:
    ended = back_up(tmp_path, tmp_path / "copy.sqlite")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"jobyard cannot back up: there is no database at {tmp_path / 'data' / 'jobyard.sqlite'}\n"
