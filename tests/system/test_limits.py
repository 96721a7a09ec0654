"""Limits under kills, and a pause with much that waits."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.notes import Notes
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

TASKS, RETRY_BASE_S = "system_tasks", 0.1
MOST, JOBS = 3, 40
SLACK_S = 10.0
"""From a pause's own time to the first line of what began just before it was stored, on a busy machine."""
SLOTS = """
    SELECT (SELECT COUNT(*) FROM slots),
        (SELECT COALESCE(SUM(json_array_length(lane)), 0) FROM jobs WHERE status = 'running' AND lane IS NOT NULL)
"""
"""The slots, and the running jobs times their parts, as of one moment."""


@pytest.fixture
def jobyard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobyard]:
    """A system of its own, since the tests kill its processes."""
    with Jobyard(tmp_path_factory.mktemp("limits"), TASKS=TASKS, RETRY_BASE_S=RETRY_BASE_S) as jobyard:
        yield jobyard


def submit_all(jobyard: Jobyard, count: int, **fields: Any) -> list[str]:
    ids = jobyard.ask("POST", "/api/jobs/batch", {"jobs": [fields] * count}).json["job_ids"]
    assert isinstance(ids, list)
    return ids


def most_at_once(rows: list[dict[str, Any]]) -> int:
    """Of attempts, those that were recorded as lost included: from begin to end."""
    begun = [(datetime.fromisoformat(row["started_at"]), 1) for row in rows]
    ended = [(datetime.fromisoformat(row["finished_at"]), -1) for row in rows]
    return max(itertools.accumulate(step for _, step in sorted(begun + ended)))


def slots_and_parts(database: Path) -> tuple[int, int]:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        held, running = connection.execute(SLOTS).fetchone()
    return held, running


@pytest.mark.parametrize("victim", ["worker", "watcher"])
def test_max_running_holds_while_processes_are_killed(jobyard: Jobyard, notes: Notes, victim: str) -> None:
    jobyard.ask("PUT", "/api/limits/three", {"max_running": MOST})
    jobyard.ask("PUT", "/api/limits/customer", {"max_running": 2})
    job_ids = submit_all(jobyard, JOBS, task="echo", limit=["three", "customer/1"], payload="x", max_retries=50)
    job_ids += submit_all(jobyard, JOBS, task="run", limit="three", payload=notes.payload(), max_retries=50)
    is_over = threading.Event()
    database = jobyard.data_dir / "jobyard.sqlite"
    names = [name for name in jobyard.processes() if name.startswith(victim)]

    def kill() -> None:
        for name in itertools.cycle(names):
            if is_over.wait(0.2):
                return
            with contextlib.suppress(ProcessLookupError, KeyError, TypeError, AssertionError):  # it is being replaced
                jobyard.kill(name)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        wait_for(lambda: jobyard.get("/api/limits/three").json["waiting"]["count"] == 0, told="everything to have begun")
    finally:
        is_over.set()
        killer.join()
    jobs = [jobyard.wait_for_job(job_id) for job_id in job_ids]

    assert most_at_once([row for job in jobs for row in jobyard.executions(job["job_id"])]) <= MOST
    wait_for(lambda: jobyard.get("/api/limits/three").json["running"] == 0, told="every slot to be free")
    assert slots_and_parts(database) == (0, 0)


def test_after_a_pause_is_answered_no_job_of_two_thousand_begins(jobyard: Jobyard, notes: Notes, tmp_path: Path) -> None:
    until = tmp_path / "until"
    until.touch()
    job_ids = submit_all(jobyard, 2_000, task="run", queue="mail", payload=notes.payload(for_s=0.05))
    notes.wait(job_ids[0])

    paused = jobyard.ask("POST", "/api/limits/queue:mail/pause", {"reason": "a test"}).json
    effective_at = datetime.fromisoformat(paused["paused"]["since"]).timestamp() + SLACK_S + paused["effective_within_s"]
    wait_for(lambda: time.time() > effective_at, told="the pause to hold")
    wait_for(lambda: jobyard.get("/api/limits/queue:mail").json["running"] == 0, told="what ran to end")
    jobyard.wait_for_job(jobyard.submit("another queue"))

    begun = notes.read("begin")
    assert paused["paused"]["reason"] == "a test"
    assert len(begun) < 2_000
    assert [note for note in begun if note.wall_s > effective_at] == []
    assert jobyard.get("/api/limits/queue:mail").json["waiting"]["count"] == 2_000 - len(begun)
    assert jobyard.ask("POST", "/api/limits/queue:mail/resume").json["paused"] is None
    wait_for(lambda: len(notes.read("end")) == 2_000, told="the rest to run")


def test_a_rate_holds_however_many_slots_are_free(jobyard: Jobyard, notes: Notes) -> None:
    jobyard.ask("PUT", "/api/limits/mail", {"count": 20, "per_s": 1})

    job_ids = submit_all(jobyard, 30, task="run", limit="mail", payload=notes.payload())

    jobs = [jobyard.wait_for_job(job_id) for job_id in job_ids]
    begun = sorted(datetime.fromisoformat(job["last_run_at"]).timestamp() for job in jobs)
    assert max(sum(at <= other < at + 1 for other in begun) for at in begun) <= 20
