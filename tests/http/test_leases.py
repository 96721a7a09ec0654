"""HTTP workers as a client sees them: what can be asked, what is answered, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.http.conftest import Backend

LEASED = {
    "job_id", "epoch", "attempt", "task", "queue", "payload", "lease_s", "deadline_at", "retry_count", "results", "tags",
    "schedule", "fire_at", "traceparent", "tracestate",
}  # fmt: skip
WANTED = {"worker": "ann", "tasks": ["draw"]}


@pytest.fixture
def worker(client: FlaskClient) -> FlaskClient:
    assert client.put("/api/tasks/draw", json={}).status_code == 201
    return client


def submit(client: FlaskClient, **fields: Any) -> str:
    answer = client.post("/api/jobs", json={"task": "draw", **fields})
    assert answer.status_code == 201, answer.json
    return str(answer.json["job_id"])


def lease(client: FlaskClient, **fields: Any) -> list[dict[str, Any]]:
    answer = client.post("/api/leases", json={**WANTED, **fields})
    assert answer.status_code == 200, answer.json
    return list(answer.json)


def tell(client: FlaskClient, what: str, one: dict[str, Any], **fields: Any) -> tuple[int, Any]:
    answer = client.post(f"/api/jobs/{one['job_id']}/{what}", json={"epoch": one["epoch"], **fields})
    return answer.status_code, answer.json


def error_of(answer: tuple[int, Any]) -> tuple[int, str, str | None]:
    status, told = answer
    return status, told["error"]["code"], told["error"]["field"]


# ---- tasks


def test_a_task_is_declared_changed_and_removed(client: FlaskClient) -> None:
    made = client.put("/api/tasks/draw", json={"max_retries": 1, "timeout_s": 9, "unique": None})
    again = client.put("/api/tasks/draw", json={"max_retries": 1, "timeout_s": 9})
    changed = client.put("/api/tasks/draw", json={"max_retries": 2})
    plain = client.put("/api/tasks/plain")

    row = {"task": "draw", "max_retries": 1, "timeout_s": 9, "parameters": None, "origin": "api"}
    assert (made.status_code, made.json) == (201, row)
    assert (again.status_code, again.json) == (200, row)
    assert (changed.status_code, changed.json) == (200, row | {"max_retries": 2, "timeout_s": 3600})
    assert plain.status_code == 201
    assert changed.json in client.get("/api/tasks").json
    assert (client.delete("/api/tasks/draw").status_code, client.delete("/api/tasks/plain").data) == (204, b"")
    assert [row["task"] for row in client.get("/api/tasks").json] == ["echo", "index", "resize", "sync"]
    assert client.delete("/api/tasks/draw").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"max_retries": 101}, "max_retries"), ({"timeout_s": 0}, "timeout_s"), ({"unique": 7}, "unique"),
        ({"unique": {"key": "{"}}, "unique"), ({"queue": "x"}, "queue"),
    ],
)  # fmt: skip
def test_a_declaration_has_bounds(client: FlaskClient, body: dict[str, Any], field: str) -> None:
    answer = client.put("/api/tasks/draw", json=body)

    assert (answer.status_code, answer.json["error"]["field"]) == (400, field)
    assert client.put("/api/tasks/a%20b", json={}).json["error"]["field"] == "name"
    assert client.put("/api/tasks/draw", data="x", content_type="text/plain").status_code == 415


def test_a_task_of_a_module_is_not_declared_and_not_leased(client: FlaskClient) -> None:
    assert client.put("/api/tasks/echo").json["error"]["code"] == "conflict"
    assert error_of((409, client.post("/api/leases", json={**WANTED, "tasks": ["echo"]}).json)) == (409, "conflict", "tasks")
    assert client.post("/api/leases", json=WANTED).json["error"]["code"] == "unknown_task"


def test_a_task_with_living_jobs_stays(worker: FlaskClient) -> None:
    job_id = submit(worker)

    assert worker.delete("/api/tasks/draw").json["error"]["code"] == "conflict"
    worker.post(f"/api/jobs/{job_id}/cancel")
    assert worker.delete("/api/tasks/draw").status_code == 204


def test_a_declared_task_has_a_unique_key_made_of_the_payload(client: FlaskClient) -> None:
    client.put("/api/tasks/draw", json={"unique": {"key": "{doc}"}})

    first = client.post("/api/jobs", json={"task": "draw", "payload": {"doc": "a"}})
    second = client.post("/api/jobs", json={"task": "draw", "payload": {"doc": "a"}})

    assert (first.status_code, second.status_code, second.json["job_id"]) == (201, 200, first.json["job_id"])


# ---- leases


def test_a_job_is_leased_extended_and_completed(worker: FlaskClient) -> None:
    job_id = submit(worker, payload={"b": 1.0}, timeout_s=60)

    (one,) = lease(worker, lease_s=10)
    extended = tell(worker, "extend", one, lease_s=20, progress={"fraction": 0.5, "note": "half"}, output="a")
    logs = worker.get(f"/api/jobs/{job_id}/logs").json["attempts"]
    done = tell(worker, "complete", one, result={"x": 1.0}, output="b")
    again = tell(worker, "complete", one, result={"x": 1.0}, output="b")

    assert set(one) == LEASED
    assert (one["job_id"], one["attempt"], one["payload"], one["lease_s"], one["results"]) == (job_id, 1, {"b": 1.0}, 10, {})
    assert extended == (200, {"lease_s": 20, "cancel_requested": False})
    assert [(row["output"], row["is_running"], row["progress"]["note"]) for row in logs] == [("a", True, "half")]
    assert (done[0], done[1]["status"], done[1]["result"], done[1]["attempt"]) == (200, "completed", {"x": 1.0}, 1)
    assert again == done
    assert worker.get(f"/api/jobs/{job_id}/logs").json["attempts"][0]["output"] == "ab"
    assert [row["worker_id"] for row in worker.get(f"/api/jobs/{job_id}/executions").json] == ["http/ann"]
    assert error_of(tell(worker, "complete", one, result={"x": 2})) == (409, "lease_lost", None)


def test_a_worker_gets_the_most_urgent_of_its_tasks_and_queues(worker: FlaskClient) -> None:
    submit(worker, priority=1)
    urgent = submit(worker, priority=9)
    mail = submit(worker, queue="mail")
    client_only = worker.post("/api/jobs", json={"task": "echo"}).json["job_id"]

    assert [one["job_id"] for one in lease(worker, queues=["mail"], count=5)] == [mail]
    assert [one["job_id"] for one in lease(worker)] == [urgent]
    assert len(lease(worker, count=100)) == 1
    assert lease(worker) == []
    assert worker.get(f"/api/jobs/{client_only}").json["status"] == "pending"


def test_a_lease_never_lasts_beyond_the_time_of_the_attempt(worker: FlaskClient) -> None:
    submit(worker, timeout_s=7)

    (one,) = lease(worker, lease_s=30)

    assert one["lease_s"] == 7
    assert 0 < tell(worker, "extend", one, lease_s=30)[1]["lease_s"] <= 7


def test_whoever_does_not_hold_the_job_is_told_to_stop(worker: FlaskClient) -> None:
    submit(worker)
    (one,) = lease(worker)
    other = worker.post("/api/jobs", json={"task": "echo"}).json["job_id"]

    for what in ("extend", "complete", "fail", "release"):
        status, told = tell(worker, what, one | {"epoch": one["epoch"] - 1})
        assert (status, told["error"]["code"], told["error"]["stop"]) == (409, "lease_lost", True)
        assert error_of(tell(worker, what, {"job_id": other, "epoch": 0})) == (409, "lease_lost", None)
        assert error_of(tell(worker, what, {"job_id": "0" * 24, "epoch": 0})) == (404, "not_found", "job_id")
        assert error_of(tell(worker, what, {"job_id": "x", "epoch": 0})) == (400, "invalid_job_id", "job_id")
    assert tell(worker, "complete", one)[0] == 200


def test_a_failure_is_retried_and_a_release_is_not_counted(worker: FlaskClient) -> None:
    job_id = submit(worker, max_retries=1)
    (first,) = lease(worker)
    released = tell(worker, "release", first)
    (second,) = lease(worker)
    failed = tell(worker, "fail", second, error="no", traceback="here", retry_delay_s=0)
    (third,) = lease(worker)
    last = tell(worker, "fail", third, error="no again")

    assert (released[0], released[1]["status"], released[1]["attempt"]) == (200, "pending", 0)
    assert (second["attempt"], second["retry_count"]) == (1, 0)
    assert (failed[1]["status"], failed[1]["retry_count"], third["attempt"]) == ("pending", 1, 2)
    assert (last[1]["status"], last[1]["error"]) == ("failed", "no again")
    rows = worker.get(f"/api/jobs/{job_id}/executions").json
    assert [(row["status"], row["error_message"], row["traceback"]) for row in rows] == [
        ("failed", "no", "here"), ("failed", "no again", None),
    ]  # fmt: skip


def test_cancelling_is_told_with_the_next_extension(worker: FlaskClient) -> None:
    job_id = submit(worker)
    (one,) = lease(worker)

    worker.post(f"/api/jobs/{job_id}/cancel")

    assert tell(worker, "extend", one)[1]["cancel_requested"] is True
    assert tell(worker, "fail", one, cancelled=True, error="stopped")[1]["status"] == "cancelled"


def test_many_leases_are_settled_at_once_each_with_its_own_answer(worker: FlaskClient) -> None:
    for _ in range(5):
        submit(worker)
    first, second, third, fourth, fifth = lease(worker, count=5)
    items = [
        {"job_id": first["job_id"], "epoch": first["epoch"], "do": "complete", "result": 1},
        {"job_id": first["job_id"], "epoch": first["epoch"], "do": "complete", "result": 1},
        {"job_id": second["job_id"], "epoch": 9, "do": "complete"},
        {"job_id": third["job_id"], "epoch": third["epoch"], "do": "fail", "error": "no"},
        {"job_id": fourth["job_id"], "epoch": fourth["epoch"], "do": "extend", "lease_s": 60},
        {"job_id": fourth["job_id"], "epoch": fourth["epoch"], "do": "release", "delay_s": 9},
        {"job_id": fifth["job_id"], "do": "complete"},
    ]

    answer = worker.post("/api/leases/settle", json=items)

    assert answer.status_code == 200
    assert [row["job_id"] for row in answer.json] == [item["job_id"] for item in items]
    assert [row["ok"] for row in answer.json] == [True, True, False, True, True, True, False]
    assert answer.json[0] == {"job_id": first["job_id"], "ok": True}
    assert (answer.json[2]["error"]["code"], answer.json[2]["error"]["stop"]) == ("lease_lost", True)
    assert (answer.json[4]["lease_s"], answer.json[4]["cancel_requested"]) == (60, False)
    assert (answer.json[6]["error"]["code"], answer.json[6]["error"]["field"]) == ("invalid_field", "epoch")
    assert worker.post("/api/leases/settle", json=[]).json == []
    assert worker.post("/api/leases/settle", json={}).status_code == 400


def test_workers_are_shown_by_their_names(backend: Backend, worker: FlaskClient) -> None:
    lease(worker, queues=["mail"])

    (row,) = worker.get("/stats").json["http_workers"]

    assert (row["name"], row["tasks"], row["queues"]) == ("ann", ["draw"], ["mail"])


def test_a_job_that_no_worker_asks_for_says_so_and_a_leased_one_who_has_it(worker: FlaskClient) -> None:
    job_id = submit(worker, queue="mail")

    def codes() -> list[str]:
        return [reason["code"] for reason in worker.get(f"/api/jobs/{job_id}/why").json["reasons"]]

    assert codes() == ["no_http_worker"]
    lease(worker, queues=["other"])
    assert codes() == ["no_http_worker"]
    lease(worker)
    (reason,) = worker.get(f"/api/jobs/{job_id}/why").json["reasons"]
    assert (reason["code"], reason["worker"]) == ("running", "ann")


def test_what_was_leased_and_how_it_ended_is_measured(worker: FlaskClient) -> None:
    submit(worker)
    (one,) = lease(worker)
    tell(worker, "complete", one)

    text = worker.get("/metrics").text

    assert 'jobyard_http_leases_total{component="scheduler-8081"} 1.0' in text
    assert 'jobyard_attempts_total{component="scheduler-8081",outcome="success",task="draw"} 1.0' in text
