"""Hooks as a client sees them: what can be asked, what is answered, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.http.conftest import Backend

HOOK = {"url": "https://example.org/hook", "events": ["job.completed", "job.failed"]}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SHOWN = {"name", "url", "events", "filter", "job", "include", "disabled"}
SPAN = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}


def put(client: FlaskClient, name: str = "h", **fields: Any) -> tuple[int, dict[str, Any]]:
    answer = client.put(f"/api/hooks/{name}", json={**HOOK, **fields})
    return answer.status_code, answer.json


def refused(client: FlaskClient, **fields: Any) -> tuple[str, str | None]:
    status, told = put(client, **fields)
    assert status == 400 and client.get("/api/hooks").json == [], told
    return told["error"]["code"], told["error"]["field"]


def test_a_hook_is_stored_shown_and_removed_and_its_secret_is_shown_once(client: FlaskClient) -> None:
    status, made = put(client, filter={"task": "echo", "tag": "a"})
    again = put(client, filter={"task": "echo", "tag": ["a"]})
    changed = put(client, events=["job.lost"])

    assert (status, set(made)) == (201, SHOWN | {"secret"})
    assert made["secret"].startswith("whsec_")
    assert (again[0], set(again[1])) == (200, SHOWN)
    assert (changed[0], changed[1]["events"], changed[1]["filter"]) == (200, ["job.lost"], {})
    assert client.get("/api/hooks").json == [changed[1]] == [client.get("/api/hooks/h").json]
    assert (client.delete("/api/hooks/h").status_code, client.delete("/api/hooks/h").status_code) == (204, 404)
    assert client.get("/api/hooks/h").status_code == 404


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("url", ["ftp://example.org/", "example.org", "http://", "http://a:b@example.org/", "http://x:99999/", "http://a b/", 7]),
        ("events", [[], ["job.completed", "job.completed"], ["nope"], "job.completed", None]),
        ("filter", [{"nope": "x"}, {"task": 7}, {"tag": []}, {"tag": ["a"] * 17}, [], {"task": ""}]),
        ("secret", ["x", "whsec_AAAA", 7]),
        ("include", [["payload"], ["result", "result"], "result"]),
    ],
)
def test_a_field_that_is_wrong_is_named(client: FlaskClient, field: str, values: list[Any]) -> None:
    for value in values:
        assert refused(client, **{field: value}) == ("invalid_field", field), value


def test_either_url_or_job(client: FlaskClient) -> None:
    assert refused(client, job={"task": "echo"}) == ("invalid_field", "url")
    assert refused(client, url=None) == ("invalid_field", "url")
    assert refused(client, nope=1) == ("unknown_field", "nope")
    assert refused(client, url=None, job={"task": "nobody"}) == ("unknown_task", "job.task")
    assert refused(client, url=None, job={"delay_s": 1}) == ("invalid_field", "job.delay_s")
    assert refused(client, url=None, job={"payload": [1]}) == ("invalid_field", "job.payload")
    assert client.put("/api/hooks/a%20b", json=HOOK).json["error"]["field"] == "name"
    status, made = put(client, url=None, job={"task": "echo", "payload": {"to": "ann"}})
    assert (status, made["url"], made["job"]) == (201, None, {"task": "echo", "payload": {"to": "ann"}})


def test_a_secret_that_is_given_is_used_and_a_rotation_makes_another(client: FlaskClient) -> None:
    _, made = put(client, secret=SECRET)

    rotated = client.post("/api/hooks/h/rotate")

    assert made["secret"] == SECRET
    assert rotated.status_code == 200 and rotated.json["secret"] not in (SECRET, None)
    assert "secret" not in client.get("/api/hooks/h").json
    assert client.post("/api/hooks/nope/rotate").status_code == 404
    assert client.post("/api/hooks/h/rotate", json={"x": 1}).status_code == 400


def test_a_test_and_a_replay_make_deliveries(backend: Backend, client: FlaskClient) -> None:
    put(client, secret=SECRET, events=["job.cancelled"])
    tested = client.post("/api/hooks/h/test")
    job_id = client.post("/api/jobs", json={"delay_s": 60}).json["job_id"]
    client.post(f"/api/jobs/{job_id}/cancel")

    none = client.post("/api/hooks/h/replay", json={"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"})
    once = client.post("/api/hooks/h/replay", json=SPAN)
    twice = client.post("/api/hooks/h/replay", json=SPAN)

    assert tested.status_code == 201
    assert client.get(f"/api/jobs/{tested.json['job_id']}").json["task"] == "webhook"
    assert (none.status_code, none.json) == (200, {"job_ids": []})
    assert (once.status_code, len(once.json["job_ids"]), len(twice.json["job_ids"])) == (201, 1, 1)
    payload = client.get(f"/api/jobs/{once.json['job_ids'][0]}").json["payload"]
    assert (payload["event"]["type"], payload["event"]["data"]["job_id"]) == ("job.cancelled", job_id)
    assert SECRET not in json.dumps(client.get("/api/jobs").json) and "example.org" not in json.dumps(payload)
    assert client.post("/api/hooks/h/replay", json={"from": "x", "to": "y"}).json["error"]["field"] == "from"
    assert client.post("/api/hooks/h/replay", json={"from": SPAN["to"], "to": SPAN["from"]}).json["error"]["field"] == "to"


def test_jobs_of_hooks_are_not_submitted_by_hand(client: FlaskClient) -> None:
    answer = client.post("/api/jobs", json={"task": "webhook"})

    assert (answer.status_code, answer.json["error"]["field"]) == (400, "task")
    assert "webhook" not in [row["task"] for row in client.get("/api/tasks").json]
