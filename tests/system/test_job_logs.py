"""A task's output over HTTP, while it runs and after it was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.system import Jobyard
from tests.support.waiting import wait_for

SAID = "\x1b[1mhello\nWARNING chat: careful\nfrom below\n"


def test_a_running_tasks_output_is_shown_and_its_end_is_kept_when_it_is_killed(
    jobyard: Jobyard, tmp_path: Path
) -> None:  # fmt: skip
    job_id = jobyard.submit({"until": str(tmp_path / "until")}, task="chat", max_retries=0)
    wait_for(lambda: last(jobyard, job_id).get("output") == SAID)
    running = last(jobyard, job_id)
    (tmp_path / "until").touch()
    jobyard.wait_for_job(job_id, status="failed")
    wait_for(lambda: not last(jobyard, job_id)["is_running"] and last(jobyard, job_id)["output"])  # on MongoDB a moment later

    ended = last(jobyard, job_id)

    assert (running["attempt"], running["is_running"], running["is_cut"]) == (1, True, False)
    assert (running["progress"]["fraction"], running["progress"]["note"]) == (0.5, "half way")
    assert ended == running | {"output": SAID + "the end\n", "is_running": False}


def last(jobyard: Jobyard, job_id: str) -> dict[str, Any]:
    """The latest attempt's entry; empty before there is one."""
    attempts: list[dict[str, Any]] = jobyard.get(f"/api/jobs/{job_id}/logs").json["attempts"]
    return attempts[-1] if attempts else {}
