"""The number of jobs that run at once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.support.notes import Note, Notes
from tests.support.system import Jobyard
from tests.support.waiting import wait_for

WORKERS, CONCURRENCY = 3, 5
JOBS = 60


def most_at_once(begun: list[Note], ended: list[Note]) -> int:
    """The largest number of jobs that ran at the same time, by their notes."""
    moments = sorted([(note.monotonic_s, 1) for note in begun] + [(note.monotonic_s, -1) for note in ended])
    running = most = 0
    for _, step in moments:
        running += step
        most = max(most, running)
    return most


def test_slots_are_filled_and_never_overfilled(jobyard: Jobyard, notes: Notes, tmp_path: Path) -> None:
    until = tmp_path / "until"
    jobs = {"jobs": [{"task": "hold", "payload": notes.payload(until=str(until))} for _ in range(JOBS)]}

    job_ids = jobyard.ask("POST", "/api/jobs/batch", jobs).json["job_ids"]
    wait_for(lambda: len(notes.read("begin")) >= WORKERS * CONCURRENCY, told="a job in each slot")
    until.touch()
    for job_id in job_ids:
        jobyard.wait_for_job(job_id)

    begun, ended = notes.read("begin"), notes.read("end")
    assert len(begun) == len(ended) == JOBS
    assert most_at_once(begun, ended) == WORKERS * CONCURRENCY
    for worker in {note.worker_pid for note in begun}:
        its = [[note for note in notes_ if note.worker_pid == worker] for notes_ in (begun, ended)]
        assert most_at_once(*its) == CONCURRENCY
    for process in Counter(note.pid for note in begun):
        its = [[note for note in notes_ if note.pid == process] for notes_ in (begun, ended)]
        assert most_at_once(*its) == 1


def test_a_long_job_does_not_delay_others(jobyard: Jobyard, notes: Notes, tmp_path: Path) -> None:
    until = tmp_path / "until"
    long = jobyard.submit(notes.payload(until=str(until)), task="hold")
    notes.wait(long)

    short = [jobyard.submit(notes.payload(), task="run") for _ in range(50)]

    for job_id in short:
        jobyard.wait_for_job(job_id)
    assert jobyard.job(long)["status"] == "running"
    until.touch()
    jobyard.wait_for_job(long)
