"""Cancelling jobs."""

from __future__ import annotations

from pathlib import Path

from tests.support.notes import Notes, wait_gone
from tests.support.system import Answer, Jobyard
from tests.support.waiting import wait_for


def cancel(jobyard: Jobyard, job_id: str) -> Answer:
    return jobyard.ask("POST", f"/api/jobs/{job_id}/cancel")


def test_a_job_that_is_not_due_is_cancelled_at_once(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(), task="run", delay_s=3600)

    answer = cancel(jobyard, job_id)
    marker = jobyard.submit(notes.payload(), task="run")

    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    jobyard.wait_for_job(marker)
    assert notes.read(job_id=job_id) == []


def test_a_due_job_that_is_cancelled_while_all_slots_are_busy_never_runs(one_slot: Jobyard, notes: Notes, tmp_path: Path) -> None:
    until = tmp_path / "until"
    holder = one_slot.submit(notes.payload(until=str(until)), task="hold")
    notes.wait(holder)
    job_id = one_slot.submit(notes.payload(), task="run")
    wait_for(lambda: job_id in {item["job_id"] for item in one_slot.get("/queue", port=6000).json["items"]})

    answer = cancel(one_slot, job_id)
    marker = one_slot.submit(notes.payload(), task="run")
    until.touch()

    assert answer.json["status"] == "cancelled"
    one_slot.wait_for_job(marker)
    assert notes.read(job_id=job_id) == []
    wait_for(lambda: one_slot.get("/queue", port=6000).json["size"] == 0)


def test_a_running_task_that_ignores_everything_is_killed_with_its_children(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(), task="cling")
    begun = notes.wait(job_id)

    answer = cancel(jobyard, job_id)

    assert (answer.status, answer.json["status"]) == (200, "running")
    jobyard.wait_for_job(job_id, status="cancelled")
    wait_gone(begun.pid, begun.child)
    assert [execution["status"] for execution in jobyard.executions(job_id)] == ["cancelled"]


def test_a_cancelled_running_task_can_clean_up(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(), task="tidy")
    notes.wait(job_id)

    cancel(jobyard, job_id)

    notes.wait(job_id, what="tidied")
    jobyard.wait_for_job(job_id, status="cancelled")


def test_a_finished_job_cannot_be_cancelled(jobyard: Jobyard) -> None:
    job_id = jobyard.submit()
    jobyard.wait_for_job(job_id)

    assert cancel(jobyard, job_id).status == 409


def test_a_cancelled_job_can_be_retried(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(value=7), task="run", delay_s=60)
    cancel(jobyard, job_id)

    answer = jobyard.ask("POST", f"/api/jobs/{job_id}/retry")

    assert answer.json["status"] == "pending"
    assert jobyard.wait_for_job(job_id)["result"] == 7
