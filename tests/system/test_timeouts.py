"""Tasks that exceed their timeout."""

from __future__ import annotations

from datetime import datetime

from tests.support.notes import Notes, wait_gone
from tests.support.system import Jobyard
from tests.support.waiting import wait_for


def test_a_task_that_times_out_can_clean_up(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(), task="tidy", timeout_s=0.3, max_retries=0)

    job = jobyard.wait_for_job(job_id, status="failed")

    tidied = notes.wait(job_id, what="tidied")
    [execution] = jobyard.executions(job_id)
    assert tidied.wall_s - datetime.fromisoformat(execution["started_at"]).timestamp() >= 0.3  # its time begins with its begin
    assert execution["status"] == "timeout"
    assert "0.3" in job["error"]


def test_a_task_that_ignores_everything_is_killed_with_its_children(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(), task="cling", timeout_s=0.3, max_retries=0)
    begun = notes.wait(job_id)

    jobyard.wait_for_job(job_id, status="failed")

    wait_gone(begun.pid, begun.child)
    assert len(notes.read("asked", job_id)) >= 1
    assert [execution["status"] for execution in jobyard.executions(job_id)] == ["timeout"]


def test_a_process_that_a_timeout_has_interrupted_runs_no_other_job(one_slot: Jobyard, notes: Notes) -> None:
    """The exception may have hit in the middle of an import, which then fails in every later job of that process."""
    late = one_slot.submit(notes.payload(), task="tidy", timeout_s=0.2, max_retries=0)
    one_slot.wait_for_job(late, status="failed")

    later = one_slot.submit(notes.payload(), task="run")
    one_slot.wait_for_job(later)

    assert notes.wait(later).pid != notes.wait(late).pid


def test_a_timeout_is_charged_to_the_retries(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(), task="tidy", timeout_s=0.1, max_retries=1)

    job = jobyard.wait_for_job(job_id, status="failed")

    assert (job["attempt"], job["retry_count"]) == (2, 1)


def test_a_slot_is_free_again_after_a_timeout(one_slot: Jobyard, notes: Notes) -> None:
    job_id = one_slot.submit(notes.payload(), task="cling", timeout_s=0.2, max_retries=0)
    notes.wait(job_id)

    next_id = one_slot.submit(notes.payload(), task="run")

    one_slot.wait_for_job(next_id)
    wait_for(lambda: one_slot.get("/stats", port=7001).json["currently_running"] == 0)
