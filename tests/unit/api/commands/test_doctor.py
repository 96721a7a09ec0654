"""`bin/jobyard doctor` as a whole: its output and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from jobyard.api.commands import exits
from jobyard.api.commands.findings import State, examine
from jobyard.engine.errors import CannotStart
from tests.unit.api.commands.conftest import FakeService


def fails(error: Exception) -> list[State]:
    def look() -> list[object]:
        raise error

    return [finding.state for finding in examine("disk", look)]  # type: ignore[arg-type]


def test_when_nothing_runs_doctor_says_how_to_start(service: FakeService, tmp_path: Path) -> None:
    service.on("GET /health", httpx.ConnectError("Connection refused")).environment |= {"DATA_DIR": str(tmp_path / "data")}

    ended = service.run("doctor", "--url", "http://jobs.test")

    assert "not running: no answer from http://jobs.test" in ended.output and "start it with bin/start-all" in ended.output
    assert ended.exit_code in (exits.DOCTOR_WARNS, exits.DOCTOR_SAYS_BROKEN)  # others may use those ports
    assert not (tmp_path / "data").exists()


def test_all_invalid_settings_are_named(service: FakeService) -> None:
    service.environment |= {"POLL_S": "soon", "WORKERS": "0"}

    ended = service.run("doctor")

    assert ended.exit_code == exits.DOCTOR_SAYS_BROKEN
    assert "POLL_S must be" in ended.output and "WORKERS must be" in ended.output and "→" in ended.output


def test_a_refused_token_is_broken_and_never_printed(service: FakeService, tmp_path: Path) -> None:
    refused = httpx.Response(401, json={"error": {"code": "unauthorized", "message": "a token is needed", "field": None}})
    service.on("GET /health", {"status": "healthy", "components": {}}).on("GET /stats", refused)
    service.environment |= {"DATA_DIR": str(tmp_path), "API_TOKEN": "secret-secret-secret"}

    ended = service.run("doctor")

    assert ended.exit_code == exits.DOCTOR_SAYS_BROKEN and "set API_TOKEN, or give --token-file" in ended.output
    assert "secret" not in ended.output


def test_json_is_one_document_without_colours(service: FakeService, tmp_path: Path) -> None:
    service.on("GET /health", httpx.ConnectError("Connection refused")).environment |= {"DATA_DIR": str(tmp_path)}

    ended = service.run("doctor", "--json")

    report = json.loads(ended.stdout)
    assert report["state"] in ("warning", "broken")
    assert [finding["check"] for finding in report["findings"]][:3] == ["versions", "settings", "tasks"]
    assert all(set(finding) == {"check", "state", "message", "remedy"} for finding in report["findings"])


def test_a_check_that_fails_is_a_finding_and_does_not_end_the_command() -> None:
    assert fails(CannotStart("the database is damaged: restore a backup")) == [State.BROKEN]
    assert fails(PermissionError("no")) == [State.WARNING]
