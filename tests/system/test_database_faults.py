"""The database's disk is full, or its file is locked, damaged or not writable: this is reported, and no job is lost."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tests.support.disks import fill, read_only, small_disk
from tests.support.notes import Notes
from tests.support.system import Answer, Jobyard
from tests.support.waiting import LIMIT_S, wait_for

CANNOT_START = 2
DATABASE = "jobyard.sqlite"
TASKS = "system_tasks"
ONE_OF_EACH = {"SCHEDULERS": 1, "WATCHERS": 1, "WORKERS": 1, "CONCURRENCY": 1}
TEXT = "x" * 10_000
JOBS = 500
LONGEST_ANSWER_S = 5.0


class Load:
    """Clients that submit jobs one after the other."""

    def __init__(self, jobyard: Jobyard) -> None:
        self._jobyard = jobyard
        self._is_over = threading.Event()
        self._clients = [threading.Thread(target=self._submit) for _ in range(4)]
        self.acknowledged: list[str] = []
        self.refusals: list[Answer] = []
        self.longest_s = 0.0

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        for client in self._clients:
            client.join(LIMIT_S)

    def _submit(self) -> None:
        while not self._is_over.is_set():
            answer = self._jobyard.ask("POST", "/api/jobs", {"payload": TEXT})
            if answer.status == 201:
                self.acknowledged.append(answer.json["job_id"])
            else:
                self.refusals.append(answer)

    def wait_for_refusals(self, code: str, count: int = 10) -> None:
        wait_for(lambda: sum(code == refusal.json["error"]["code"] for refusal in list(self.refusals)) >= count, told=code)

    def wait_for_more(self, count: int = 10) -> None:
        before = len(self.acknowledged)
        wait_for(lambda: len(self.acknowledged) >= before + count, told="acknowledged jobs")


def check_refusals(load: Load, words: str) -> None:
    """Each refusal is a 503 with Retry-After, and those from a scheduler name the cause."""
    assert {refusal.status for refusal in load.refusals} == {503}
    assert all(int(refusal.headers["Retry-After"]) > 0 for refusal in load.refusals)
    errors = [refusal.json["error"] for refusal in load.refusals]
    assert {error["code"] for error in errors} <= {"database_unavailable", "no_scheduler", "unavailable"}
    assert all(words in error["message"] for error in errors if error["code"] == "database_unavailable")


def check_all_completed(jobyard: Jobyard, acknowledged: list[str]) -> None:
    """Every job has completed, with no unnecessary attempt, and no process was replaced."""
    assert len(set(acknowledged)) == len(acknowledged)
    wait_for(lambda: jobyard.stats()["jobs"]["completed"] == len(acknowledged), told=f"{len(acknowledged)} completed jobs")
    jobs = {job["job_id"]: job for job in all_jobs(jobyard)}
    assert set(jobs) == set(acknowledged)
    assert {(job["attempt"], job["retry_count"], job["lost_count"]) for job in jobs.values()} == {(1, 0, 0)}
    assert {entry["restarts"] for entry in jobyard.processes().values()} == {0}
    wait_for(lambda: jobyard.get("/health").status == 200, told="good health")


def all_jobs(jobyard: Jobyard) -> Iterator[dict[str, object]]:
    path = "/jobs?limit=500"
    while path:
        answer = jobyard.get(path)
        yield from answer.json
        link = answer.headers.get("Link", "").partition("<")[2].partition(">")[0]
        path = link and urljoin(path, link)


def hold_one(jobyard: Jobyard, notes: Notes, until: Path) -> str:
    """Submit a job that runs until this file exists."""
    job_id = jobyard.submit(notes.payload(until=str(until)), task="hold")
    notes.wait(job_id)
    return job_id


# ---- while the system runs


def test_a_full_disk_is_reported_and_work_continues_when_there_is_space(tmp_path: Path, notes: Notes) -> None:
    filler = tmp_path / "data" / "filler"
    with small_disk(tmp_path / "data", 32 << 20), Jobyard(tmp_path, TASKS=TASKS) as jobyard:
        held = hold_one(jobyard, notes, tmp_path / "go")
        fill(filler, leave=3 << 20)
        with Load(jobyard) as load:
            load.wait_for_refusals("database_unavailable")
            (tmp_path / "go").touch()
            notes.wait(held, what="end")

            assert [jobyard.job(job_id)["payload"] for job_id in load.acknowledged[-5:]] == [TEXT] * 5
            filler.unlink()
            load.wait_for_more()

        check_refusals(load, "disk is full")
        check_all_completed(jobyard, [held, *load.acknowledged])


def test_a_locked_database_is_reported_and_work_continues_afterwards(tmp_path: Path, notes: Notes) -> None:
    with Jobyard(tmp_path, TASKS=TASKS) as jobyard:
        held = hold_one(jobyard, notes, tmp_path / "go")
        with Load(jobyard) as load:
            load.wait_for_more()
            with contextlib.closing(sqlite3.connect(tmp_path / "data" / DATABASE, isolation_level=None)) as stranger:
                stranger.execute("BEGIN IMMEDIATE")
                (tmp_path / "go").touch()
                load.wait_for_refusals("database_unavailable", 100)

                notes.wait(held, what="end")
                wait_for(lambda: jobyard.job(held)["status"] == "running", told="an outcome that is kept")
                stranger.execute("ROLLBACK")
            load.wait_for_more()

        check_refusals(load, "database is locked")
        check_all_completed(jobyard, [held, *load.acknowledged])


# ---- at start


def refusal(jobyard: Jobyard) -> str:
    """The one line that a failing start prints before it ends with status 2 and leaves nothing behind."""
    said_before = len(jobyard.output()) if jobyard.output_path.exists() else 0
    jobyard.start(wait_ready=False)
    try:
        assert jobyard.wait_end() == CANNOT_START
        jobyard.check_nothing_is_left()
    finally:
        jobyard.kill_remains()
    (line,) = jobyard.output()[said_before:].splitlines()
    assert line.startswith("jobyard cannot start: ")
    return line


def kill_all(jobyard: Jobyard) -> None:
    """Kill everything, as a power failure does: nothing is closed properly."""
    for process in jobyard.look_at_processes():
        process.suspend()
    for process in jobyard.look_at_processes():
        process.kill()
    jobyard.wait_end()


def overwrite_header(path: Path) -> None:
    path.write_bytes(b"\xa5" * 4096 + path.read_bytes()[4096:])


def truncate_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("end", "damage"),
    [pytest.param(Jobyard.stop, overwrite_header, id="stopped"), pytest.param(kill_all, truncate_end, id="killed")],
)
def test_a_damaged_database_is_reported_and_not_modified_until_it_is_repaired(
    tmp_path: Path, end: Callable[[Jobyard], object], damage: Callable[[Path], None]
) -> None:  # fmt: skip
    jobyard = Jobyard(tmp_path, **ONE_OF_EACH).start()
    files = [tmp_path / "data" / f"{DATABASE}{suffix}" for suffix in ("", "-wal")]
    jobyard.ask("POST", "/api/jobs/batch", {"jobs": [{"payload": TEXT}] * JOBS})
    wait_for(lambda: files[0].stat().st_size > JOBS * len(TEXT), told="the log folded into the file")
    end(jobyard)
    backup = [path.read_bytes() for path in files if path.exists()]
    damage(files[0])
    damaged = [path.read_bytes() for path in files if path.exists()]

    line = refusal(jobyard)

    assert str(files[0]) in line and "restore a backup, or move the file away" in line
    assert [path.read_bytes() for path, _ in zip(files, damaged, strict=False)] == damaged
    for path, content in zip(files, backup, strict=False):
        path.write_bytes(content)
    with jobyard:
        wait_for(lambda: jobyard.stats()["jobs"]["completed"] == JOBS, told="all jobs")


def test_a_data_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    jobyard = Jobyard(tmp_path, **ONE_OF_EACH)
    with read_only(data):
        line = refusal(jobyard)

    jobyard.release_ports()
    assert f"DATA_DIR {data} cannot be written (" in line and "set DATA_DIR" in line
    assert list(data.iterdir()) == []


def test_a_disk_that_is_already_full_is_reported_and_nothing_is_damaged(tmp_path: Path) -> None:
    filler = tmp_path / "data" / "filler"
    with small_disk(tmp_path / "data", 4 << 20):
        jobyard = Jobyard(tmp_path, **ONE_OF_EACH)
        with jobyard:
            jobyard.wait_for_job(jobyard.submit())
        fill(filler)

        line = refusal(jobyard)

        assert "No space left on device" in line or "disk is full" in line
        filler.unlink()
        with jobyard:
            assert jobyard.stats()["jobs"]["completed"] == 1
