"""Tags, retries with edits, run now, deletion and failures over HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobyard.engine.jobs.job import Job, Status
from jobyard.engine.jobs.times import read_time
from tests.http.conftest import Backend
from tests.support.builders import a_job

MISSING = "0" * 24


def submit(client: FlaskClient, **fields: object) -> str:
    answer = client.post("/api/jobs", json=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json["job_id"])


def get(client: FlaskClient, job_id: str) -> dict[str, Any]:
    return dict(client.get(f"/api/jobs/{job_id}").json)


def ids(client: FlaskClient, query: str) -> list[str]:
    answer = client.get(f"/api/jobs?{query}")
    assert answer.status_code == 200, answer.text
    return [job["job_id"] for job in answer.json]


def error(answer: Any) -> tuple[int, str, str | None]:
    return answer.status_code, answer.json["error"]["code"], answer.json["error"]["field"]


def cancelled(client: FlaskClient, **fields: object) -> str:
    job_id = submit(client, **fields)
    assert client.post(f"/api/jobs/{job_id}/cancel").status_code == 200
    return job_id


def a_failed_job(backend: Backend, error: str, **fields: object) -> Job:
    now = backend.world.now()
    job = a_job(
        job_id=backend.world.object_id(), status=Status.FAILED, error=error, finished_at=now, created_at=now, **fields
    )  # fmt: skip
    backend.store.insert([[job]])
    return job


# ---- tags


def test_tags_are_stored_sorted_and_each_once(client: FlaskClient) -> None:
    job_id = submit(client, tags=["b", "a:1/x@y=z+-._", "b"])

    assert get(client, job_id)["tags"] == ["a:1/x@y=z+-._", "b"]
    assert get(client, submit(client))["tags"] == []


@pytest.mark.parametrize("tags", ["a", None, {}, [1], [""], ["a b"], ["é"], ["a\n"], ["x" * 65], [f"t{n}" for n in range(17)]])
def test_tags_out_of_bounds_are_refused(client: FlaskClient, tags: object) -> None:
    assert error(client.post("/api/jobs", json={"tags": tags})) == (400, "invalid_field", "tags")
    assert ids(client, "") == []


def test_tags_at_their_bounds_are_accepted(client: FlaskClient) -> None:
    tags = sorted(f"{n:02}{'x' * 62}" for n in range(16))

    assert get(client, submit(client, tags=tags))["tags"] == tags


def test_lists_counts_and_their_next_links_take_several_tags(client: FlaskClient) -> None:
    both = [submit(client, tags=["a", "b"]) for _ in range(3)]
    submit(client, tags=["a"])

    assert ids(client, "tag=a&tag=b") == both[::-1]
    assert client.get("/api/jobs/count?tag=b&tag=a&tag=a").json == {"count": 3, "is_exact": True}
    first = client.get("/api/jobs?tag=a&tag=b&limit=2")
    next_page = client.get("/api/" + first.headers["Link"].partition("<")[2].partition(">")[0])
    assert [job["job_id"] for job in first.json + next_page.json] == both[::-1]


@pytest.mark.parametrize("query", ["tag=", "tag=a%20b", "tag=a&tag=", "&".join(f"tag=t{n}" for n in range(17))])
def test_a_wrong_tag_in_a_query_is_refused(client: FlaskClient, query: str) -> None:
    assert error(client.get(f"/api/jobs?{query}")) == (400, "invalid_field", "tag")


def test_tags_can_be_replaced_in_any_state(client: FlaskClient) -> None:
    job_id = submit(client, tags=["old"])

    changed = client.put(f"/api/jobs/{job_id}/tags", json={"tags": ["z", "a", "z"]})
    client.post(f"/api/jobs/{job_id}/cancel")
    again = client.put(f"/api/jobs/{job_id}/tags", json=["b"])

    assert (changed.status_code, changed.json["tags"]) == (200, ["a", "z"])
    assert (again.json["tags"], again.json["status"]) == (["b"], "cancelled")
    assert (ids(client, "tag=b"), ids(client, "tag=a")) == ([job_id], [])
    assert client.put(f"/api/jobs/{job_id}/tags", json=[]).json["tags"] == []


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_field", "tags"), ({"tags": "a"}, "invalid_field", "tags"), ({"tags": None}, "invalid_field", "tags"),
        (["a b"], "invalid_field", "tags"), ("a", "invalid_field", "tags"), ({"tags": [], "tag": 1}, "unknown_field", "tag"),
    ],
)  # fmt: skip
def test_wrong_new_tags_are_refused(client: FlaskClient, body: object, code: str, field: str) -> None:
    job_id = submit(client)

    assert error(client.put(f"/api/jobs/{job_id}/tags", json=body)) == (400, code, field)


def test_new_tags_need_a_job_and_a_json_body(client: FlaskClient) -> None:
    assert client.put(f"/api/jobs/{MISSING}/tags", json=[]).status_code == 404
    assert client.put("/api/jobs/xyz/tags", json=[]).status_code == 400
    assert client.put(f"/api/jobs/{MISSING}/tags", data="[]").status_code == 415


# ---- retry and run


def test_a_retry_without_a_body_is_due_at_once(client: FlaskClient) -> None:
    job_id = cancelled(client, delay_s=500, payload=1)

    answer = client.post(f"/api/jobs/{job_id}/retry")

    assert (answer.status_code, answer.json["status"], answer.json["payload"]) == (200, "pending", 1)
    assert answer.json["scheduled_at"] == answer.json["updated_at"]


def test_a_retry_takes_a_new_payload_a_delay_retries_and_a_timeout(client: FlaskClient) -> None:
    job_id = cancelled(client, payload=1, tags=["a"], unique="k")

    body = b'{"payload": {"a":  1.0}, "delay_s": 60, "max_retries": 2, "timeout_s": 7}'
    answer = client.post(f"/api/jobs/{job_id}/retry", data=body, content_type="application/json")

    job = answer.json
    assert (job["max_retries"], job["timeout_s"], job["tags"], job["unique_key"]) == (2, 7, ["a"], "echo/k")
    assert read_time(job["scheduled_at"]) - read_time(job["updated_at"]) == timedelta(seconds=60)
    assert b'"payload":{"a":  1.0}' in answer.data


def test_a_retry_may_set_the_payload_to_null_and_otherwise_keeps_it(client: FlaskClient) -> None:
    job_id = cancelled(client, payload=1)

    assert client.post(f"/api/jobs/{job_id}/retry", json={}).json["payload"] == 1
    client.post(f"/api/jobs/{job_id}/cancel")
    assert client.post(f"/api/jobs/{job_id}/retry", json={"payload": None}).json["payload"] is None


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"delay_s": -1}, "invalid_field", "delay_s"), ({"delay_s": 315_360_001}, "invalid_field", "delay_s"),
        ({"max_retries": 101}, "invalid_field", "max_retries"), ({"max_retries": True}, "invalid_field", "max_retries"),
        ({"timeout_s": 0}, "invalid_field", "timeout_s"), ({"priority": 5}, "unknown_field", "priority"),
        ([], "invalid_json", None), (1, "invalid_json", None),
    ],
)  # fmt: skip
def test_wrong_edits_are_refused_and_change_nothing(client: FlaskClient, body: object, code: str, field: str | None) -> None:
    job_id = cancelled(client)

    assert error(client.post(f"/api/jobs/{job_id}/retry", json=body)) == (400, code, field)
    assert get(client, job_id)["status"] == "cancelled"


def test_a_payload_that_is_too_large_or_deep_is_refused(client: FlaskClient) -> None:
    job_id = cancelled(client)

    large = client.post(f"/api/jobs/{job_id}/retry", json={"payload": "x" * (1 << 20)})
    nested = '{"payload": ' + "[" * 101 + "]" * 101 + "}"
    deep = client.post(f"/api/jobs/{job_id}/retry", data=nested, content_type="application/json")

    assert (large.status_code, deep.status_code) == (413, 400)
    assert client.post(f"/api/jobs/{job_id}/retry", data="{}").status_code == 415


def test_a_job_that_expires_counts_anew_from_its_delayed_retry(client: FlaskClient) -> None:
    job_id = cancelled(client, expires_s=100)

    job = client.post(f"/api/jobs/{job_id}/retry", json={"delay_s": 60}).json

    assert read_time(job["expires_at"]) - read_time(job["scheduled_at"]) == timedelta(seconds=100)


def test_a_pending_job_is_made_due_now(client: FlaskClient) -> None:
    job_id = submit(client, delay_s=500, expires_s=100)

    answer = client.post(f"/api/jobs/{job_id}/run")

    job = answer.json
    assert (answer.status_code, job["status"], job["scheduled_at"]) == (200, "pending", job["updated_at"])
    assert read_time(job["expires_at"]) - read_time(job["scheduled_at"]) == timedelta(seconds=100)


def test_only_a_pending_job_is_made_due_now(client: FlaskClient) -> None:
    job_id = cancelled(client)

    assert error(client.post(f"/api/jobs/{job_id}/run")) == (409, "conflict", "job_id")
    assert client.post(f"/api/jobs/{MISSING}/run").status_code == 404


# ---- bulk


def in_steps(client: FlaskClient, verb: str, **body: object) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    cursor = None
    while not steps or cursor is not None:
        answer = client.post(f"/api/jobs/{verb}", json={**body, "cursor": cursor})
        assert answer.status_code == 200, answer.text
        steps.append(dict(answer.json))
        cursor = answer.json["cursor"]
    return steps


def test_a_retry_of_many_is_spread_evenly_over_all_its_steps(client: FlaskClient) -> None:
    jobs = [cancelled(client, tags=["a"]) for _ in range(10)]
    cancelled(client, tags=["b"])

    steps = in_steps(client, "retry", filter={"tag": "a"}, limit=3, spread_s=100)

    due = sorted(read_time(get(client, job_id)["scheduled_at"]) for job_id in jobs)
    assert [step["changed"] for step in steps] == [3, 3, 3, 1]
    assert [at - due[0] for at in due] == [timedelta(seconds=10 * number) for number in range(10)]


def test_a_retry_of_many_gives_them_a_priority(client: FlaskClient) -> None:
    job_id = cancelled(client)

    in_steps(client, "retry", filter={}, priority="high")

    assert get(client, job_id)["priority"] == 9


@pytest.mark.parametrize(
    ("verb", "more", "field"),
    [
        ("retry", {"spread_s": 86_401}, "spread_s"), ("retry", {"spread_s": -1}, "spread_s"),
        ("retry", {"spread_s": "1"}, "spread_s"), ("retry", {"spread_s": True}, "spread_s"),
        ("retry", {"priority": 10}, "priority"), ("cancel", {"spread_s": 1}, "spread_s"), ("delete", {"priority": 1}, "priority"),
        ("retry", {"filter": {"tag": []}}, "filter.tag"), ("retry", {"filter": {"tag": ["a b"]}}, "filter.tag"),
        ("delete", {"filter": {"tag": [1]}}, "filter.tag"), ("delete", {"filter": {"error_kind": ""}}, "filter.error_kind"),
    ],
)  # fmt: skip
def test_wrong_bulk_requests_are_refused(client: FlaskClient, verb: str, more: dict[str, object], field: str) -> None:
    answer = client.post(f"/api/jobs/{verb}", json={"filter": {}, **more})

    assert (answer.status_code, answer.json["error"]["field"]) == (400, field)


def test_a_spread_that_begins_later_is_over_the_rest(client: FlaskClient) -> None:
    jobs = [cancelled(client) for _ in range(5)]
    cursor = client.post("/api/jobs/retry", json={"filter": {}, "limit": 1}).json["cursor"]

    step = client.post("/api/jobs/retry", json={"filter": {}, "limit": 9, "cursor": cursor, "spread_s": 100}).json

    due = sorted(read_time(get(client, job_id)["scheduled_at"]) for job_id in jobs[:4])
    assert (step["changed"], len(set(due))) == (4, 4) and due[-1] - due[0] <= timedelta(seconds=100)


def test_ended_jobs_of_a_selection_are_deleted_and_living_ones_skipped(client: FlaskClient) -> None:
    gone = [cancelled(client, tags=["a", "b"]) for _ in range(5)]
    living, other = submit(client, tags=["a", "b"]), cancelled(client, tags=["a"])

    steps = in_steps(client, "delete", filter={"tag": ["a", "b"]}, limit=4)

    assert (sum(step["changed"] for step in steps), sum(step["skipped"] for step in steps)) == (5, 1)
    assert ids(client, "") == [other, living]
    assert client.get(f"/api/jobs/{gone[0]}").status_code == 404


# ---- delete


def test_a_job_that_has_ended_is_deleted(client: FlaskClient) -> None:
    job_id = cancelled(client)

    answer = client.delete(f"/api/jobs/{job_id}")

    assert (answer.status_code, answer.data) == (204, b"")
    assert client.get(f"/api/jobs/{job_id}").status_code == client.delete(f"/api/jobs/{job_id}").status_code == 404


def test_a_living_job_is_not_deleted(client: FlaskClient) -> None:
    job_id = submit(client)

    assert error(client.delete(f"/api/jobs/{job_id}")) == (409, "conflict", "job_id")
    assert error(client.delete("/api/jobs/xyz")) == (400, "invalid_job_id", "job_id")
    assert error(client.delete("/api/jobs/delete")) == (405, "method_not_allowed", None)


# ---- failures


def test_failures_are_grouped_and_lead_to_their_jobs(backend: Backend, client: FlaskClient) -> None:
    jobs = [a_failed_job(backend, f"ValueError: no {number} at 0x{number:x}f") for number in range(3)]
    a_failed_job(backend, "KeyError: 'a'", task="mail")

    first, second = client.get("/api/failures").json

    assert (first["task"], first["error_kind"], first["count"], first["is_exact"]) == ("echo", "ValueError: no at", 3, True)
    assert first["example_job_id"] in {job.job_id for job in jobs} and first["first_at"] <= first["last_at"]
    assert (second["task"], second["count"]) == ("mail", 1)
    assert len(ids(client, f"error_kind={first['error_kind']}&status=failed")) == 3
    assert len(ids(client, "error_kind=ValueError: no 17 at 0xabc")) == 3


def test_failures_since_a_time(backend: Backend, client: FlaskClient) -> None:
    a_failed_job(backend, "boom")

    assert client.get("/api/failures?since=2999-01-01T00:00:00Z").json == []
    assert len(client.get("/api/failures?since=2020-01-01T00:00:00Z").json) == 1
    assert error(client.get("/api/failures?since=yesterday")) == (400, "invalid_field", "since")
    assert error(client.get("/api/failures?until=2020-01-01T00:00:00Z")) == (400, "unknown_field", "until")
