"""What each token is good for over HTTP, and that the log tells who changed what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobyard.engine.logs import Log
from jobyard.engine.world import World
from tests.http.conftest import Backend

TOKENS = {"API_TOKEN": "ops=a1,ci=b1", "READ_TOKEN": "board=c1", "WORKER_TOKEN": "d1"}
MISSING = "0" * 24


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def client(tmp_path: Path, told: Path) -> FlaskClient:
    log = Log(World(), level="debug", fd=os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    return Backend(tmp_path / "data", log=log, **TOKENS).client()


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["error"]["code"]


def test_every_name_of_api_token_may_do_everything(client: FlaskClient) -> None:
    for token in ("a1", "b1"):
        assert client.post("/api/jobs", json={}, headers=bearer(token)).status_code == 201
        assert client.get("/api/jobs", headers=bearer(token)).status_code == 200


def test_a_read_token_looks_and_changes_nothing(client: FlaskClient) -> None:
    for path in ("/api/jobs", "/jobs", "/stats", "/metrics", "/api/failures", "/api/history", "/openapi.json", "/api/schedules"):
        assert client.get(path, headers=bearer("c1")).status_code == 200, path
    for method, path in (
        ("POST", "/api/jobs"), ("POST", "/api/jobs/cancel"), ("DELETE", f"/api/jobs/{MISSING}"), ("PUT", "/api/schedules/x"),
        ("POST", f"/api/jobs/{MISSING}/retry"), ("POST", "/api/leases"),
    ):  # fmt: skip
        assert code(client.open(path, method=method, json={}, headers=bearer("c1"))) == (403, "forbidden"), path


def test_a_worker_token_looks_at_nothing(client: FlaskClient) -> None:
    for method, path in (("GET", "/api/jobs"), ("GET", "/stats"), ("POST", "/api/jobs"), ("PUT", "/api/tasks/x")):
        assert code(client.open(path, method=method, json={}, headers=bearer("d1"))) == (403, "forbidden"), path


@pytest.mark.parametrize("headers", [{}, bearer("x"), bearer("ops=a1"), bearer("ops"), {"Authorization": "Basic a1"}])
def test_any_other_token_is_none(client: FlaskClient, headers: dict[str, str]) -> None:
    assert code(client.get("/api/jobs", headers=headers)) == (401, "unauthorized")
    assert client.get("/health").status_code == 200


def test_the_log_tells_who_made_each_change(client: FlaskClient, told: Path) -> None:
    job_id = client.post("/api/jobs", json={"delay_s": 60}, headers=bearer("b1")).json["job_id"]
    for path in ("run", "cancel", "retry", "cancel"):
        assert client.post(f"/api/jobs/{job_id}/{path}", headers=bearer("a1")).status_code == 200
    client.put(f"/api/jobs/{job_id}/tags", json=["a"], headers=bearer("a1"))
    client.post("/api/jobs/retry", json={"filter": {}}, headers=bearer("b1"))
    client.post("/api/jobs/cancel", json={"filter": {}}, headers=bearer("a1"))
    client.post("/api/jobs/delete", json={"filter": {"tag": "b"}}, headers=bearer("b1"))
    client.delete(f"/api/jobs/{job_id}", headers=bearer("a1"))
    client.put("/api/schedules/s", json={"every_s": 60, "job": {}}, headers=bearer("b1"))
    paused = client.post("/api/schedules/s/pause", headers=bearer("a1"))
    client.delete("/api/schedules/s", headers=bearer("b1"))

    lines = [line.split() for line in told.read_text().splitlines() if " by=" in line]
    changes = [(next(word for word in line if "_" in word and "=" not in word), line) for line in lines]
    assert [(event, next(word for word in line if word.startswith("by="))) for event, line in changes] == [
        ("jobs_accepted", "by=ci"), ("jobs_submitted", "by=ci"),
        ("job_changed", "by=ops"),
        ("job_changed", "by=ops"), ("job_changed", "by=ops"),
        ("job_changed", "by=ops"), ("job_changed", "by=ops"), ("jobs_changed", "by=ci"), ("jobs_changed", "by=ops"),
        ("jobs_deleted", "by=ci"), ("job_deleted", "by=ops"), ("schedule_stored", "by=ci"), ("schedule_paused", "by=ops"),
        ("schedule_deleted", "by=ci"),
    ]  # fmt: skip
    assert paused.json["paused"]["by"] == "ops"
