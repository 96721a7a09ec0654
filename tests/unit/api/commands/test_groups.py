"""`groups`, `group`, and the options of `submit` that concern other jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from jobyard.engine.jobs.job import CancelledBecause, Dependency, Status
from tests.unit.api.commands.conftest import FakeService

ID, OTHER = "6b04af6d98fafe38214255d4", "6b04af6d98fafe38214255d5"
COUNTS = dict.fromkeys(map(str, Status), 0) | {"running": 2, "completed": 7, "failed": 1}
GROUP: dict[str, Any] = {
    "name": "import:7",
    "counts": COUNTS,
    "created_at": "2026-01-04T12:00:00.000Z",
    "ended_at": None,
    "waiting": [ID],
}


def accepted(request: httpx.Request) -> httpx.Response:
    return httpx.Response(201, json={"job_id": ID, "status": "blocked", "message": "job accepted"})


def test_the_groups_that_live_are_a_table_or_one_object_per_line(service: FakeService) -> None:
    service.on("GET /api/groups", [GROUP])

    for_people, for_programs = service.run("groups"), service.run("groups", "--json")

    assert for_people.output.splitlines()[1].split()[:6] == ["import:7", "2", "7", "1", "0", "1"]
    assert json.loads(for_programs.output) == GROUP
    service.on("GET /api/groups", [])
    assert service.run("groups").output == "no group lives\n"


def test_a_group_is_shown_with_what_waits_for_it(service: FakeService) -> None:
    service.on("GET /api/groups/import:7", GROUP)

    shown = service.run("group", "import:7")

    assert "not yet, 2 jobs live" in shown.output and ID in shown.output
    assert json.loads(service.run("group", "import:7", "--json").output) == GROUP


def test_submit_names_what_it_waits_for(service: FakeService) -> None:
    service.on("POST /api/jobs", accepted)

    told = service.run("submit", "echo", "--after", ID, "--after", "group:g", "--run-if", "ended", "--group", "h")

    sent = service.sent()
    assert told.output.strip() == ID
    assert (sent["after"], sent["run_if"], sent["group"]) == ([ID, {"group": "g"}], "ended", "h")


def test_a_file_whose_jobs_name_one_another_is_one_request(service: FakeService, tmp_path: Path) -> None:
    service.on("GET /api/tasks", [{"task": "echo", "max_retries": 5, "timeout_s": 3600.0}])
    service.on("POST /api/jobs/batch", lambda request: httpx.Response(201, json={"job_ids": [ID, OTHER]}))
    (tmp_path / "jobs.ndjson").write_text('{"ref": "a"}\n{"after": ["a"]}\n')

    told = service.run("submit", "--file", str(tmp_path / "jobs.ndjson"))

    assert told.exit_code == 0, told.output
    assert [job.get("after") for job in service.sent(1)["jobs"]] == [None, ["a"]]


def test_a_wrong_line_is_named_without_the_place_in_a_request(service: FakeService, tmp_path: Path) -> None:
    service.on("GET /api/tasks", [{"task": "echo", "max_retries": 5, "timeout_s": 3600.0}])
    (tmp_path / "jobs.ndjson").write_text('{"ref": "a"}\n{"group": "a b"}\n')

    told = service.run("submit", "--file", str(tmp_path / "jobs.ndjson"))

    assert "line 2: group must be" in told.stderr


def test_a_job_is_shown_with_what_it_waited_for_and_why_it_was_cancelled(service: FakeService) -> None:
    after = (Dependency(job_id=OTHER, ref="b"), Dependency(group="g"))
    because = CancelledBecause(reason="dependency_failed", job_id=OTHER)
    job = service.add_job(status=Status.CANCELLED, after=after, run_if="completed", group="h", cancelled_because=because)
    service.on(f"GET /api/jobs/{job.job_id}/executions", []).on(f"GET /api/jobs/{job.job_id}/logs", {"attempts": []})

    shown = service.run("show", job.job_id).output

    assert f"{OTHER} (b), group g" in shown
    assert f"reason dependency_failed, job_id {OTHER}" in shown
