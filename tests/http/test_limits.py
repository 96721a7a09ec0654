"""Limits as a client sees them: what can be asked, what is answered, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobyard.engine.timestamps import rfc3339
from tests.http.conftest import Backend
from tests.support.claims import claim

WHOLE = {
    "name": "stripe", "max_running": 2, "count": None, "per_s": None, "burst": None, "on_full": "wait", "paused": None,
    "hold_until": None, "origin": "api", "running": 0, "waiting": {"count": 0, "is_exact": True}, "next_at": None, "partitions": [],
}  # fmt: skip


def put(client: FlaskClient, name: str = "stripe", **fields: Any) -> tuple[int, dict[str, Any]]:
    answer = client.put(f"/api/limits/{name}", json=fields)
    return answer.status_code, answer.json


def error(answer: Any, status: int = 400) -> tuple[str, str | None]:
    assert answer.status_code == status, answer.json
    return answer.json["error"]["code"], answer.json["error"]["field"]


def begin(backend: Backend) -> list[str]:
    return [job.job_id for job in claim(backend.store, now=datetime.now(UTC))]


def submit(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/api/jobs", json=fields)
    assert answer.status_code == 201, answer.json
    told: dict[str, Any] = answer.json
    return told


def in_s(seconds: float) -> str:
    return rfc3339(datetime.now(UTC) + timedelta(seconds=seconds)) or ""


def test_a_new_limit_is_201_and_shown_with_all_its_fields(client: FlaskClient) -> None:
    assert put(client, max_running=2) == (201, WHOLE)
    assert put(client, max_running=2) == (200, WHOLE)
    assert client.get("/api/limits/stripe").json == WHOLE
    assert client.get("/api/limits").json == [{name: value for name, value in WHOLE.items() if name != "partitions"}]


def test_a_limit_without_numbers_may_be_put_without_a_body(client: FlaskClient) -> None:
    assert client.put("/api/limits/x").status_code == 201
    assert client.put("/api/limits/y", json={"max_running": None, "count": None, "on_full": None}).status_code == 201


def test_rates_have_a_burst_of_one_by_default(client: FlaskClient) -> None:
    _, told = put(client, count=10, per_s=1)

    assert (told["count"], told["per_s"], told["burst"]) == (10, 1, 1)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"max_running": 0}, "max_running"), ({"max_running": 1001}, "max_running"), ({"max_running": True}, "max_running"),
        ({"count": 1}, "per_s"), ({"per_s": 1}, "count"), ({"count": 100001, "per_s": 1}, "count"),
        ({"count": 1, "per_s": 0.01}, "per_s"), ({"count": 1, "per_s": 86401}, "per_s"), ({"burst": 2}, "burst"),
        ({"count": 2, "per_s": 1, "burst": 3}, "burst"), ({"on_full": "cancel"}, "on_full"), ({"on_full": "drop"}, "on_full"),
    ],
)  # fmt: skip
def test_a_wrong_number_is_named(client: FlaskClient, fields: dict[str, Any], field: str) -> None:
    assert error(client.put("/api/limits/stripe", json=fields)) == ("invalid_field", field)
    assert client.get("/api/limits").json == []


@pytest.mark.parametrize("name", ["a b", "x" * 65, "queue:a b", "queue:", "task:", "nope:x", "**"])
def test_a_bad_name_is_400(client: FlaskClient, name: str) -> None:
    assert error(client.put(f"/api/limits/{name}", json={})) == ("invalid_field", "name")


@pytest.mark.parametrize("name", ["queue:mail", "task:a%2Fb%20c", "%2A", "*", "a.b-c_D"])
def test_names_of_queues_tasks_and_everything_are_fine(client: FlaskClient, name: str) -> None:
    assert client.put(f"/api/limits/{name}", json={"max_running": 1}).status_code == 201
    assert client.get(f"/api/limits/{name}").json["max_running"] == 1
    assert client.post(f"/api/limits/{name}/pause").status_code == 200
    assert client.delete(f"/api/limits/{name}").status_code == 204


@pytest.mark.parametrize(("method", "rest"), [("get", ""), ("delete", ""), ("post", "/resume")])
def test_a_limit_that_is_not_there_is_404(client: FlaskClient, method: str, rest: str) -> None:
    assert error(getattr(client, method)(f"/api/limits/stripe{rest}"), 404)[0] == "not_found"


def test_a_verb_is_asked_for_by_post_only_but_a_task_may_be_called_so(client: FlaskClient) -> None:
    for method in ("GET", "PUT", "DELETE"):
        for verb in ("pause", "resume", "hold"):
            refused = client.open(f"/api/limits/stripe/{verb}", method=method)
            assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")

    assert client.put("/api/limits/task:a%2Fpause").json["name"] == "task:a/pause"
    assert client.get("/api/limits/task:a%2Fpause").status_code == 200


def test_the_limit_of_a_hook_goes_with_its_hook(client: FlaskClient) -> None:
    client.put("/api/hooks/h", json={"url": "https://example.org/hook", "events": ["job.completed"]})

    kept = client.delete("/api/limits/hook:h")
    changed = client.put("/api/limits/hook:h", json={"max_running": 2})
    client.delete("/api/hooks/h")

    assert (kept.status_code, kept.json["error"]["code"]) == (409, "conflict")
    assert (changed.status_code, changed.json["max_running"]) == (200, 2)
    assert client.get("/api/limits/hook:h").status_code == 404


def test_an_unknown_field_and_another_type_are_refused(client: FlaskClient) -> None:
    assert error(client.put("/api/limits/stripe", json={"max": 1})) == ("unknown_field", "max")
    assert error(client.post("/api/limits/stripe/resume", json={"now": 1}))[0] == "unknown_field"
    assert client.put("/api/limits/stripe", data="max_running=1", content_type="text/plain").status_code == 415


# ---- jobs


def test_a_job_names_its_limits_and_reads_them_back_as_a_list(client: FlaskClient) -> None:
    put(client)
    put(client, "customer", max_running=1)

    first, second = submit(client, limit="stripe"), submit(client, limit=["stripe", "customer/7"])

    assert client.get(f"/api/jobs/{first['job_id']}").json["limit"] == ["stripe"]
    assert client.get(f"/api/jobs/{second['job_id']}").json["limit"] == ["stripe", "customer/7"]
    assert client.get(f"/api/jobs/{submit(client, limit=None)['job_id']}").json["limit"] is None


@pytest.mark.parametrize(
    "limit",
    [
        [], ["stripe", "stripe"], ["stripe", "stripe/1"], ["a", "b", "c"], "queue:mail", "task:echo", "*", "hook:x", "", 7, True,
        "a/b/c", "a/", "a/" + "x" * 129, ["stripe", None], {"name": "stripe"},
    ],
)  # fmt: skip
def test_a_wrong_limit_of_a_job_is_named(client: FlaskClient, limit: object) -> None:
    put(client)

    assert error(client.post("/api/jobs", json={"limit": limit})) == ("invalid_field", "limit")


def test_a_limit_that_a_job_names_must_be_there(client: FlaskClient) -> None:
    assert error(client.post("/api/jobs", json={"limit": "stripe/1"})) == ("unknown_limit", "limit")
    answer = client.post("/api/jobs/batch", json={"jobs": [{}, {"limit": "stripe"}]})
    assert error(answer) == ("unknown_limit", "jobs[1].limit")


def test_a_task_s_limit_is_made_of_the_payload_and_need_not_be_there(client: FlaskClient) -> None:
    told = submit(client, task="sync", payload={"customer_id": 7})

    assert client.get(f"/api/jobs/{told['job_id']}").json["limit"] == ["customer/7"]


@pytest.mark.parametrize("payload", [{}, {"customer_id": True}, {"customer_id": ""}, {"customer_id": "a b"}, None, [1]])
def test_a_payload_without_the_field_of_the_task_s_limit_is_refused(client: FlaskClient, payload: object) -> None:
    assert error(client.post("/api/jobs", json={"task": "sync", "payload": payload})) == ("invalid_field", "payload")


def test_a_job_s_limit_takes_the_place_of_its_task_s(client: FlaskClient) -> None:
    put(client)
    told = submit(client, task="sync", payload={}, limit="stripe")

    assert client.get(f"/api/jobs/{told['job_id']}").json["limit"] == ["stripe"]


def test_what_runs_and_what_waits_is_counted(client: FlaskClient, backend: Backend) -> None:
    put(client, "customer", max_running=1)
    for customer in (1, 1, 2):
        submit(client, limit=f"customer/{customer}")
    begin(backend)

    told = client.get("/api/limits/customer").json

    assert (told["running"], told["waiting"]) == (2, {"count": 1, "is_exact": True})
    parts = [(part["partition"], part["running"], part["waiting"]["count"]) for part in told["partitions"]]
    assert parts == [("1", 1, 1), ("2", 1, 0)]


def test_on_full_cancel_answers_201_with_what_became_of_the_job(client: FlaskClient) -> None:
    put(client, max_running=1, on_full="cancel")

    first, second = submit(client, limit="stripe"), submit(client, limit="stripe")

    assert (first["status"], second["status"]) == ("pending", "cancelled")
    job = client.get(f"/api/jobs/{second['job_id']}").json
    assert (job["status"], job["cancelled_because"]) == ("cancelled", {"reason": "limit_full", "limit": "stripe"})


# ---- pausing


def test_a_pause_is_answered_with_how_soon_it_holds(client: FlaskClient, backend: Backend) -> None:
    submit(client, queue="mail")

    answer = client.post("/api/limits/queue:mail/pause", json={"reason": "provider down"})

    assert answer.status_code == 200
    told = answer.json
    assert (told["paused"]["by"], told["paused"]["reason"], told["paused"]["until"]) == ("api", "provider down", None)
    assert told["effective_within_s"] == 0
    assert begin(backend) == []
    assert client.post("/api/limits/queue:mail/resume").json["paused"] is None
    assert len(begin(backend)) == 1


def test_pausing_and_resuming_can_be_repeated(client: FlaskClient) -> None:
    put(client, max_running=3)
    for _ in range(2):
        assert client.post("/api/limits/stripe/pause").json["paused"]["reason"] is None
    assert client.post("/api/limits/stripe/pause", json={"for_s": 60}).json["paused"]["until"] is not None
    for _ in range(2):
        assert client.post("/api/limits/stripe/resume").json["paused"] is None
    assert client.get("/api/limits/stripe").json["max_running"] == 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"for_s": 0}, "for_s"), ({"for_s": 31536001}, "for_s"), ({"for_s": "1"}, "for_s"), ({"until": "soon"}, "until"),
        ({"until": "2020-01-01T00:00:00Z"}, "until"), ({"for_s": 1, "until": "2999-01-01T00:00:00Z"}, "until"),
        ({"reason": "x" * 201}, "reason"), ({"reason": 1}, "reason"), ({"x": 1}, "x"),
    ],
)  # fmt: skip
def test_a_wrong_pause_is_refused(client: FlaskClient, body: dict[str, Any], field: str) -> None:
    assert error(client.post("/api/limits/stripe/pause", json=body))[1] == field
    assert client.get("/api/limits").json == []


def test_a_put_keeps_the_pause_and_takes_over_what_a_pause_has_made(client: FlaskClient) -> None:
    client.post("/api/limits/stripe/pause", json={"until": in_s(3600)})

    status, told = put(client, max_running=2)

    assert (status, told["max_running"]) == (200, 2)
    assert told["paused"] is not None


def test_of_two_holds_the_longer_one_stays(client: FlaskClient) -> None:
    first = client.post("/api/limits/stripe/hold", json={"for_s": 100}).json["hold_until"]

    assert client.post("/api/limits/stripe/hold", json={"for_s": 10}).json["hold_until"] == first
    assert client.post("/api/limits/stripe/hold", json={"for_s": 1000}).json["hold_until"] > first


@pytest.mark.parametrize("body", [{}, {"for_s": 0}, {"for_s": 86401}, {"for_s": None}])
def test_a_wrong_hold_is_refused(client: FlaskClient, body: dict[str, Any]) -> None:
    assert error(client.post("/api/limits/stripe/hold", json=body)) == ("invalid_field", "for_s")


# ---- why


def test_why_names_who_holds_the_slot(client: FlaskClient, backend: Backend) -> None:
    put(client, max_running=1)
    first, second = submit(client, limit="stripe"), submit(client, limit="stripe")
    begin(backend)

    reasons = client.get(f"/api/jobs/{second['job_id']}/why").json["reasons"]

    found = next(reason for reason in reasons if reason["code"] == "limit_full")
    assert (found["limit"], found["job_ids"]) == ("stripe", [first["job_id"]])


def test_why_says_who_paused_and_until_when_a_hold_or_a_rate_lasts(client: FlaskClient, backend: Backend) -> None:
    put(client, "mail", count=1, per_s=3600)
    jobs = [submit(client, limit="mail")["job_id"] for _ in range(2)]
    begin(backend)

    def codes() -> list[str]:
        return [reason["code"] for reason in client.get(f"/api/jobs/{jobs[1]}/why").json["reasons"]]

    assert "rate_limited" in codes()
    client.post("/api/limits/mail/hold", json={"for_s": 60})
    assert "held" in codes()
    client.post("/api/limits/mail/pause", json={"reason": "no"})
    assert "paused" in codes()
