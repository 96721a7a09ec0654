"""Submitting, reading, cancelling, retrying."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import urljoin

import pytest
from flask.testing import FlaskClient

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Outcome
from jobyard.engine.timestamps import rfc3339
from tests.http.conftest import Backend
from tests.support.claims import claim

UNKNOWN_ID = "f" * 24
JOB_FIELDS = [
    "job_id", "task", "payload", "queue", "priority", "status", "scheduled_at", "created_at", "updated_at", "claimed_by",
    "claimed_at", "queued_at", "locked_by", "locked_until", "last_run_at", "next_run_at", "finished_at", "attempt", "epoch",
    "lost_count", "retry_count", "max_retries", "timeout_s", "idempotency_key", "result", "error",
    "unique_key", "limit", "after", "run_if", "ref", "group", "schedule", "fire_at", "expires_s", "expires_at",
    "cancelled_because", "traceparent", "tracestate", "tags",
]  # fmt: skip


def submit(client: FlaskClient, **fields: object) -> str:
    answer = client.post("/api/jobs", json=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json["job_id"])  # type: ignore[index]


def error_of(answer: object) -> tuple[int, str, object]:
    body = answer.json["error"]  # type: ignore[attr-defined]
    assert set(body) == {"code", "message", "field"}
    return answer.status_code, body["code"], body["field"]  # type: ignore[attr-defined]


def test_a_submission_is_answered_with_the_jobs_location(client: FlaskClient) -> None:
    answer = client.post("/api/jobs", json={"payload": "test job"})

    assert (answer.status_code, answer.json["status"]) == (201, "pending")
    assert set(answer.json) == {"job_id", "status", "message"}
    assert answer.headers["Location"] == f"/api/jobs/{answer.json['job_id']}"


def test_a_job_is_shown_with_exactly_its_fields(client: FlaskClient) -> None:
    job_id = submit(client, payload={"a": [1.0, None]}, queue="mail", priority="high", timeout_s=2.5)

    shown = client.get(f"/job?job_id={job_id}")

    assert shown.status_code == 200 and list(shown.json) == JOB_FIELDS
    assert b'"payload":{"a": [1.0, null]}' in shown.data
    assert (shown.json["queue"], shown.json["priority"], shown.json["timeout_s"], shown.json["max_retries"]) == ("mail", 9, 2.5, 5)
    assert client.get(f"/api/jobs/{job_id.upper()}").json == shown.json


def test_an_empty_object_is_a_job_with_all_defaults(client: FlaskClient) -> None:
    job = client.get(f"/job?job_id={submit(client)}").json

    assert (job["task"], job["payload"], job["queue"], job["priority"], job["timeout_s"]) == ("echo", None, "default", 5, 3600)


def test_a_tasks_own_defaults_come_before_the_settings(client: FlaskClient) -> None:
    job = client.get(f"/job?job_id={submit(client, task='resize')}").json

    assert (job["max_retries"], job["timeout_s"]) == (3, 60)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ('{"priority": "urgent"}', "invalid_field", "priority"), ('{"priority": 10}', "invalid_field", "priority"),
        ('{"priority": true}', "invalid_field", "priority"), ('{"colour": 1}', "unknown_field", "colour"),
        ('{"task": "x"}', "unknown_task", "task"), ('{"task": 1}', "invalid_field", "task"),
        ('{"queue": "a b"}', "invalid_field", "queue"), ('{"queue": ""}', "invalid_field", "queue"),
        ('{"delay_s": -1}', "invalid_field", "delay_s"), ('{"delay_s": 315360001}', "invalid_field", "delay_s"),
        ('{"scheduled_at": "2026-01-01T00:00:00"}', "invalid_field", "scheduled_at"),
        ('{"scheduled_at": "2026-01-01T00:00:00Z", "delay_s": 1}', "invalid_field", "delay_s"),
        ('{"max_retries": 101}', "invalid_field", "max_retries"), ('{"timeout_s": 0}', "invalid_field", "timeout_s"),
        ('{"idempotency_key": ""}', "invalid_field", "idempotency_key"),
        ('{"payload": 1, "payload": 2}', "repeated_field", "payload"),
        ('{"payload": NaN}', "invalid_json", None), ("[]", "invalid_json", None), ("{", "invalid_json", None),
        ('{"payload": 18446744073709551616}', "invalid_field", None), ('"x"', "invalid_json", None),
    ],
)  # fmt: skip
def test_a_bad_job_is_refused_with_the_field_named(client: FlaskClient, body: str, code: str, field: str | None) -> None:
    answer = client.post("/api/jobs", data=body, content_type="application/json")

    assert error_of(answer) == (400, code, field)
    assert client.get("/jobs").json == []


def test_the_error_message_is_that_of_the_contract(client: FlaskClient) -> None:
    answer = client.post("/api/jobs", json={"priority": "urgent"})

    assert answer.json["error"] == {
        "code": "invalid_field", "message": 'priority must be an integer from 0 to 9, not "urgent"', "field": "priority",
    }  # fmt: skip


def test_a_large_payload_and_a_large_body_have_different_errors(client: FlaskClient) -> None:
    payload = client.post("/api/jobs", json={"payload": "x" * (1 << 20)})
    body = client.post("/api/jobs", data=b"x" * ((16 << 20) + 1), content_type="application/json")

    assert error_of(payload) == (413, "payload_too_large", "payload")
    assert error_of(body) == (413, "body_too_large", None)


def test_the_same_key_and_body_is_the_same_job(client: FlaskClient) -> None:
    headers = {"Idempotency-Key": "invoice 1"}
    first = client.post("/api/jobs", json={"payload": 1, "priority": 3}, headers=headers)

    again = client.post("/api/jobs", json={"priority": 3, "payload": 1, "idempotency_key": "invoice 1"})
    other = client.post("/api/jobs", json={"payload": 2, "priority": 3}, headers=headers)

    assert (again.status_code, again.json["job_id"]) == (200, first.json["job_id"])
    assert error_of(other) == (409, "idempotency_conflict", "idempotency_key")
    assert len(client.get("/jobs").json) == 1


def test_different_keys_in_header_and_body_are_refused(client: FlaskClient) -> None:
    answer = client.post("/api/jobs", json={"idempotency_key": "a"}, headers={"Idempotency-Key": "b"})

    assert error_of(answer) == (400, "invalid_field", "idempotency_key")


def test_a_key_beyond_ascii_is_the_same_in_the_header_and_in_the_body(client: FlaskClient) -> None:
    as_sent = "müller-1".encode().decode("latin-1")  # WSGI decodes header bytes as Latin-1

    in_body = submit(client, idempotency_key="müller-1")
    in_header = client.post("/api/jobs", json={}, headers={"Idempotency-Key": as_sent})
    in_latin_1 = client.post("/api/jobs", json={}, headers={"Idempotency-Key": "müller-1"})

    assert [answer.json["job_id"] for answer in (in_header, in_latin_1)] == [in_body] * 2  # type: ignore[index]


def test_an_empty_batch_stores_nothing_in_either_form(client: FlaskClient) -> None:
    bodies = ((b'{"jobs": []}', "application/json"), (b"", "application/x-ndjson"), (b"\n \n", "application/x-ndjson"))

    answers = [client.post("/api/jobs/batch", data=data, content_type=kind) for data, kind in bodies]

    assert [(answer.status_code, answer.json) for answer in answers] == [(201, {"job_ids": []})] * 3


def test_an_offer_to_change_the_protocol_is_ignored(client: FlaskClient) -> None:
    offer = {"Upgrade": "websocket", "Connection": "Upgrade"}

    answer = client.post("/api/jobs/batch", json={"jobs": [{}]}, headers=offer)

    assert answer.status_code == 201 and client.get("/jobs", headers=offer).status_code == 200


def test_a_batch_is_stored_in_order(client: FlaskClient) -> None:
    answer = client.post("/api/jobs/batch", json={"jobs": [{"payload": number} for number in range(5)]})

    assert answer.status_code == 201
    assert [client.get(f"/job?job_id={job_id}").json["payload"] for job_id in answer.json["job_ids"]] == [0, 1, 2, 3, 4]


def test_a_batch_can_be_ndjson(client: FlaskClient) -> None:
    answer = client.post("/api/jobs/batch", data='{"payload": 1}\n\n{"payload": 2}\n', content_type="application/x-ndjson")

    assert (answer.status_code, len(answer.json["job_ids"])) == (201, 2)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ('{"jobs": [{}, {"priority": 11}]}', "invalid_field", "jobs[1].priority"), ('{"jobs": [{}, 3]}', "invalid_json", "jobs[1]"),
        ('{"jobs": {}}', "invalid_field", "jobs"), ("{}", "invalid_field", "jobs"), ('{"jobs": [], "x": 1}', "unknown_field", "x"),
        ('{"jobs": [{}, {"payload": 1e999}]}', "invalid_field", "jobs[1]"),
    ],
)  # fmt: skip
def test_one_bad_job_refuses_the_batch_with_its_index(client: FlaskClient, body: str, code: str, field: str) -> None:
    answer = client.post("/api/jobs/batch", data=body, content_type="application/json")

    assert error_of(answer) == (400, code, field)
    assert client.get("/jobs").json == []


def test_a_batch_of_more_than_ten_thousand_is_refused(client: FlaskClient) -> None:
    answer = client.post("/api/jobs/batch", json={"jobs": [{}] * 10_001})

    assert error_of(answer) == (400, "too_many_jobs", "jobs")


def test_lists_are_paged_by_links(client: FlaskClient) -> None:
    job_ids = client.post("/api/jobs/batch", json={"jobs": [{"queue": "a"}] * 5}).json["job_ids"]
    seen: list[str] = []
    where: str | None = "/jobs?queue=a&limit=2"
    while where:
        page = client.get(where)
        seen += [job["job_id"] for job in page.json]
        where = urljoin(where, page.headers["Link"].partition(">")[0][1:]) if "Link" in page.headers else None

    assert seen == job_ids[::-1]
    assert client.get("/api/jobs?queue=a").json == client.get("/jobs?queue=a").json


@pytest.mark.parametrize("path", ["/jobs", "/api/jobs", "/jobs/"])
def test_a_link_holds_wherever_a_proxy_serves_us(client: FlaskClient, path: str) -> None:
    client.post("/api/jobs/batch", json={"jobs": [{}] * 2})

    link = client.get(f"{path}?limit=1").headers["Link"].partition(">")[0][1:]

    assert urljoin(f"https://jobs.example.com/below/this{path}?limit=1", link).startswith(
        f"https://jobs.example.com/below/this{path}?limit=1&cursor="
    )


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("limit=0", "invalid_field", "limit"), ("limit=1001", "invalid_field", "limit"), ("limit=x", "invalid_field", "limit"),
        ("status=done", "invalid_field", "status"), ("status[$ne]=pending", "unknown_field", "status[$ne]"),
        ("queue=a%20b", "invalid_field", "queue"), ("task=", "invalid_field", "task"), ("cursor=x", "invalid_cursor", "cursor"),
        ("status=failed&status=failed", "repeated_field", "status"), ("page=2", "unknown_field", "page"),
        ("task=%ff", "invalid_request", None), ("task=%ED%A0%80", "invalid_request", None), ("%c3=%a9", "invalid_request", None),
    ],
)  # fmt: skip
def test_a_bad_query_is_refused(client: FlaskClient, query: str, code: str, field: str | None) -> None:
    assert error_of(client.get(f"/jobs?{query}")) == (400, code, field)


@pytest.mark.parametrize("path", ["/job", "/job?job_id=", "/job?job_id=123", "/api/jobs/xyz", "/api/jobs/123/executions"])
def test_a_malformed_id_differs_from_an_unknown_one(client: FlaskClient, path: str) -> None:
    assert error_of(client.get(path)) == (400, "invalid_job_id", "job_id")


@pytest.mark.parametrize("path", [f"/job?job_id={UNKNOWN_ID}", f"/api/jobs/{UNKNOWN_ID}", f"/api/jobs/{UNKNOWN_ID}/executions"])
def test_an_unknown_job_is_not_found(client: FlaskClient, path: str) -> None:
    assert error_of(client.get(path))[:2] == (404, "not_found")


def test_a_waiting_job_is_cancelled_once_and_can_be_retried(client: FlaskClient) -> None:
    job_id = submit(client, delay_s=60)

    cancelled = client.post(f"/api/jobs/{job_id}/cancel")
    second = client.post(f"/api/jobs/{job_id}/cancel")
    again = client.post(f"/api/jobs/{job_id}/retry")
    too_soon = client.post(f"/api/jobs/{job_id}/retry")

    assert (cancelled.status_code, cancelled.json["status"]) == (200, "cancelled")
    assert error_of(second)[:2] == (409, "conflict")
    assert (again.status_code, again.json["status"]) == (200, "pending")
    assert error_of(too_soon)[:2] == (409, "conflict")


def test_the_attempts_are_shown_oldest_first(backend: Backend, client: FlaskClient) -> None:
    job_id = submit(client)
    begun_at = backend.world.now().replace(microsecond=0) + timedelta(seconds=1)
    (job,) = claim(backend.store, now=begun_at)
    ended = lifecycle.settle(job, Outcome(status=ExecutionStatus.FAILED, error="no"), now=begun_at, retry_base_s=10)
    backend.store.apply([ended])

    (execution,) = client.get(f"/api/jobs/{job_id}/executions").json

    assert execution == {
        "execution_id": f"{job_id}-1", "job_id": job_id, "attempt": 1, "worker_id": "box:b00t:worker-7001:1", "status": "failed",
        "started_at": rfc3339(begun_at), "finished_at": rfc3339(begun_at), "duration_ms": 0,
        "error_message": "no", "traceback": None,
    }  # fmt: skip


def test_a_scheduler_serves_the_same_on_its_own_port(backend: Backend) -> None:
    scheduler = backend.client("scheduler-8081")

    answer = scheduler.post("/schedule", data=json.dumps({"payload": 1}), content_type="application/json")

    assert answer.status_code == 201
    assert scheduler.get("/jobs").json[0]["job_id"] == answer.json["job_id"]
    assert scheduler.get(f"/job?job_id={answer.json['job_id']}").status_code == 200


def test_a_silent_scheduler_is_a_503_with_retry_after(backend: Backend, client: FlaskClient) -> None:
    backend.silent.add("scheduler-8081")

    answer = client.post("/api/jobs", json={})

    assert error_of(answer)[:2] == (503, "no_scheduler")
    assert int(answer.headers["Retry-After"]) > 0


def test_lists_and_counts_filter_by_text_and_times(client: FlaskClient) -> None:
    wanted, other = submit(client, payload={"kind": "Invoice 100%"}), submit(client, payload="else")
    created_at = client.get(f"/job?job_id={other}").json["created_at"]

    def listed(**query: str) -> list[str]:
        return [job["job_id"] for job in client.get("/api/jobs", query_string=query).json]

    assert listed(text="invoice 100%") == listed(text="E 100") == [wanted]
    assert listed(text="invoice 100_") == listed(text="_") == listed(text="$") == []
    assert other in listed(created_after=created_at) and other not in listed(created_before=created_at)
    assert client.get("/api/jobs/count?text=invoice").json == {"count": 1, "is_exact": True}
    assert client.get("/api/jobs/count").json == {"count": 2, "is_exact": True}


@pytest.mark.parametrize("path", ["/api/jobs", "/jobs", "/api/jobs/count"])
@pytest.mark.parametrize(
    "query",
    ["text=", "text=a%00b", "created_after=yesterday", "created_before=2026-01-04T12:00:00", "created_after=2026-13-01T00:00:00Z"],
)
def test_an_invalid_filter_is_refused_with_its_name(client: FlaskClient, path: str, query: str) -> None:
    assert error_of(client.get(f"{path}?{query}")) == (400, "invalid_field", query.partition("=")[0])


def test_tasks_are_listed_with_the_defaults_of_their_jobs(client: FlaskClient) -> None:
    assert client.get("/api/tasks").json == [
        {"task": "echo", "max_retries": 5, "timeout_s": 3600.0, "parameters": None, "origin": "code"},
        {"task": "index", "max_retries": 5, "timeout_s": 3600.0, "parameters": None, "origin": "code"},
        {
            "task": "resize", "max_retries": 3, "timeout_s": 60.0, "parameters": {"type": "object", "properties": {}},
            "origin": "code",
        },
        {"task": "sync", "max_retries": 5, "timeout_s": 3600.0, "parameters": None, "origin": "code"},
    ]
    assert client.get("/api/tasks?x=1").status_code == 400


def test_a_count_takes_no_paging_parameters(client: FlaskClient) -> None:
    assert error_of(client.get("/api/jobs/count?limit=5")) == (400, "unknown_field", "limit")


def test_many_jobs_are_cancelled_and_retried_in_steps(client: FlaskClient) -> None:
    ids = [submit(client, payload="mine", delay_s=3600) for _ in range(3)]
    other = submit(client, payload="other", delay_s=3600)
    asked = {"filter": {"text": "mine"}, "limit": 2}

    first = client.post("/api/jobs/cancel", json=asked).json
    second = client.post("/api/jobs/cancel", json=asked | {"cursor": first["cursor"]}).json
    again = client.post("/api/jobs/cancel", json={"filter": {"text": "mine"}}).json

    assert (first["changed"], first["skipped"], second) == (2, 0, {"changed": 1, "skipped": 0, "cursor": None})
    assert again == {"changed": 0, "skipped": 3, "cursor": None}
    assert client.get(f"/job?job_id={other}").json["status"] == "pending"
    assert client.post("/api/jobs/retry", json={"filter": {}}).json == {"changed": 3, "skipped": 1, "cursor": None}
    assert {client.get(f"/job?job_id={job_id}").json["status"] for job_id in ids} == {"pending"}


def test_a_selection_must_be_explicit(client: FlaskClient) -> None:
    assert error_of(client.post("/api/jobs/cancel", json={})) == (400, "invalid_field", "filter")
    assert error_of(client.post("/api/jobs/retry", json={"filter": {"stat": "x"}})) == (400, "unknown_field", "stat")
    assert error_of(client.post("/api/jobs/retry", json={"filter": {}, "cursor": "none"})) == (400, "invalid_cursor", "cursor")
    assert error_of(client.post("/api/jobs/cancel", data="{}")) == (415, "unsupported_media_type", None)
    assert client.get("/api/jobs/cancel").status_code == 405


@pytest.mark.parametrize("wait_s", ["-1", "60.1", "61", "1e2", "6e999", "inf", "abc", "", "0x1", "nan", "1_0", " 1"])
def test_a_wait_is_a_number_from_0_to_60(client: FlaskClient, wait_s: str) -> None:
    job_id = submit(client)

    assert error_of(client.get("/job", query_string={"job_id": job_id, "wait_s": wait_s})) == (400, "invalid_field", "wait_s")
    assert error_of(client.get(f"/api/jobs/{job_id}", query_string={"wait_s": wait_s})) == (400, "invalid_field", "wait_s")


def test_a_wait_without_a_long_poll_is_answered_at_once(client: FlaskClient) -> None:
    job_id = submit(client)

    assert client.get(f"/job?job_id={job_id}&wait_s=0").json == client.get(f"/api/jobs/{job_id}?wait_s=59.5").json
    assert client.get(f"/job?job_id={UNKNOWN_ID}&wait_s=5").status_code == 404
    assert client.get("/job?wait_s=5").status_code == 400
