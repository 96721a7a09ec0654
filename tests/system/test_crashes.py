"""Tasks that end their own process, and results that cannot be stored."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.notes import Notes
from tests.support.system import Jobyard

MIB = 1 << 20
ENDS = [
    ({"signal": signal.SIGKILL}, "SIGKILL"), ({"signal": signal.SIGSEGV}, "SIGSEGV"), ({"signal": signal.SIGABRT}, "SIGABRT"),
    ({"status": 3}, "3"), ({"status": 0}, "0"),
]  # fmt: skip


@pytest.mark.parametrize(("how", "words"), ENDS, ids=[words for _, words in ENDS])
def test_a_task_that_ends_its_process_crashes_only_itself(
    jobyard: Jobyard, notes: Notes, tmp_path: Path, how: dict[str, int], words: str
) -> None:
    until = tmp_path / "until"
    neighbours = [jobyard.submit(notes.payload(until=str(until)), task="hold") for _ in range(5)]
    pids = {name: entry["pid"] for name, entry in jobyard.processes().items()}

    job_id = jobyard.submit(notes.payload(**how), task="die", max_retries=1)
    job = jobyard.wait_for_job(job_id, status="failed")
    until.touch()

    executions = jobyard.executions(job_id)
    assert [execution["status"] for execution in executions] == ["crashed", "crashed"]
    assert all(words in execution["error_message"] for execution in executions)
    assert (job["attempt"], job["lost_count"], words in job["error"]) == (2, 0, True)
    assert [jobyard.wait_for_job(neighbour)["attempt"] for neighbour in neighbours] == [1] * 5
    assert {name: entry["pid"] for name, entry in jobyard.processes().items()} == pids


def test_a_task_that_exits_has_failed(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(), task="leave", max_retries=0)

    assert jobyard.wait_for_job(job_id, status="failed")["attempt"] == 1


def test_a_task_that_closes_every_descriptor_affects_only_itself(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(), task="close_all", max_retries=0)

    jobyard.wait_for_job(job_id, status="failed")

    jobyard.wait_for_job(jobyard.submit("after it"))


def test_a_result_of_exactly_one_mebibyte_is_kept(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(size=MIB), task="give")

    assert len(jobyard.wait_for_job(job_id)["result"]) == MIB - 2


@pytest.mark.parametrize("size", [MIB + 1, 60 * MIB, None], ids=["a byte more", "60 MiB", "no JSON"])
def test_a_result_that_cannot_be_kept_fails_the_attempt(jobyard: Jobyard, notes: Notes, size: int | None) -> None:
    pids = {name: entry["pid"] for name, entry in jobyard.processes().items()}

    job_id = jobyard.submit(notes.payload(size=size), task="give", max_retries=0)
    job = jobyard.wait_for_job(job_id, status="failed")

    assert (job["result"], "result" in job["error"]) == (None, True)
    assert [execution["status"] for execution in jobyard.executions(job_id)] == ["failed"]
    assert {name: entry["pid"] for name, entry in jobyard.processes().items()} == pids
