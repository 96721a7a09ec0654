"""Failed attempts, and when the next one starts."""

from __future__ import annotations

from itertools import pairwise

from tests.support.notes import Notes
from tests.support.system import Jobyard
from tests.system.conftest import RETRY_BASE_S


def test_retry_n_waits_n_squared_times_the_base(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(), task="fail", max_retries=4)

    job = jobyard.wait_for_job(job_id, status="failed")

    begun_s = [note.monotonic_s for note in notes.read(job_id=job_id)]
    waits_s = [later - earlier for earlier, later in pairwise(begun_s)]
    assert len(waits_s) == 4
    for number, wait_s in enumerate(waits_s, start=1):
        assert wait_s >= number**2 * RETRY_BASE_S
    assert (job["attempt"], job["retry_count"], "not today" in job["error"]) == (5, 4, True)
    assert [(execution["attempt"], execution["status"]) for execution in jobyard.executions(job_id)] == [
        (number, "failed") for number in range(1, 6)
    ]
    assert "ValueError" in jobyard.executions(job_id)[0]["traceback"]


def test_a_job_that_succeeds_on_a_retry_is_completed(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(good_at=3), task="fail")

    job = jobyard.wait_for_job(job_id)

    assert (job["result"], job["error"], job["attempt"], job["retry_count"]) == ("well", None, 3, 2)


def test_a_job_without_retries_has_one_attempt(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(), task="fail", max_retries=0)

    assert jobyard.wait_for_job(job_id, status="failed")["attempt"] == 1


def test_a_task_chooses_its_own_delay(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(delay_s=0.5), task="ask_again")

    job = jobyard.wait_for_job(job_id)

    first, second = notes.read(job_id=job_id)
    assert second.monotonic_s - first.monotonic_s >= 0.5
    assert job["retry_count"] == 1


def test_an_unrecoverable_failure_is_not_retried(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(), task="give_up")

    job = jobyard.wait_for_job(job_id, status="failed")

    assert (job["attempt"], "no use" in job["error"]) == (1, True)


def test_a_failed_job_that_is_retried_has_all_its_retries_again(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(good_at=4), task="fail", max_retries=1)
    jobyard.wait_for_job(job_id, status="failed")

    answer = jobyard.ask("POST", f"/api/jobs/{job_id}/retry")

    assert (answer.status, answer.json["status"], answer.json["retry_count"]) == (200, "pending", 0)
    assert jobyard.wait_for_job(job_id)["attempt"] == 4


def test_a_completed_job_cannot_be_retried(jobyard: Jobyard) -> None:
    job_id = jobyard.submit()
    jobyard.wait_for_job(job_id)

    assert jobyard.ask("POST", f"/api/jobs/{job_id}/retry").status == 409
