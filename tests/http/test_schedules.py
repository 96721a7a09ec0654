"""Schedules as a client sees them: what can be asked, what is answered, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from jobyard.engine.timestamps import rfc3339
from tests.http.conftest import Backend
from tests.support.claims import claim

HOURLY = {"cron": "15 * * * *", "job": {"task": "echo", "payload": {"b": 1.0}}}
FIELDS = [
    "name",
    "cron",
    "every_s",
    "time_zone",
    "job",
    "overlap",
    "catch_up",
    "catch_up_max",
    "jitter_s",
    "starts_at",
    "ends_at",
    "dst_gap",
    "dst_fold",
    "next_fire_at",
    "next_fires",
    "last_fire_at",
    "last_job_id",
    "fires",
    "missed",
    "missed_is_exact",
    "last_missed_at",
    "paused",
    "origin",
]


def put(client: FlaskClient, name: str = "s", **fields: Any) -> tuple[int, dict[str, Any]]:
    answer = client.put(f"/api/schedules/{name}", json={**HOURLY, **fields})
    return answer.status_code, answer.json


def error(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    status, told = put(client, **fields)
    assert status == 400 and client.get("/api/schedules").json == [], "nothing is stored then"
    return told["error"]


def ago(seconds: float) -> str:
    return rfc3339(datetime.now(UTC) - timedelta(seconds=seconds)) or ""


def test_a_new_schedule_is_shown_with_all_its_fields(client: FlaskClient) -> None:
    status, told = put(client)

    assert status == 201 and list(told) == FIELDS
    shown = {name: told[name] for name in FIELDS if name not in ("job", "next_fire_at", "next_fires")}
    assert shown == {
        "name": "s",
        "cron": "15 * * * *",
        "every_s": None,
        "time_zone": "UTC",
        "overlap": "skip",
        "catch_up": "latest",
        "catch_up_max": 100,
        "jitter_s": 0,
        "starts_at": None,
        "ends_at": None,
        "dst_gap": "shift",
        "dst_fold": "first",
        "last_fire_at": None,
        "last_job_id": None,
        "fires": 0,
        "missed": {"paused": 0, "catch_up": 0, "overlap": 0, "unique": 0},
        "missed_is_exact": True,
        "last_missed_at": None,
        "paused": None,
        "origin": "api",
    }
    assert len(told["next_fires"]) == 5 and told["next_fires"][0] == told["next_fire_at"] and ":15:00.000Z" in told["next_fire_at"]
    assert told["job"] == {
        "task": "echo",
        "payload": {"b": 1.0},
        "queue": "default",
        "priority": 5,
        "max_retries": 5,
        "timeout_s": 3600,
        "expires_s": None,
        "limit": None,
        "tags": [],
        "unique": None,
    }
    assert client.get("/api/schedules/s").json == told


def test_its_job_is_shown_as_its_task_would_have_it_now(client: FlaskClient) -> None:
    given = {"task": "index", "payload": {"doc": 7}, "priority": "high", "max_retries": 2.0, "timeout_s": 5.0}
    put(client, cron=None, every_s=60, job=given)

    shown = client.get("/api/schedules/s").json["job"]

    replace = {"key": "7", "until": "begun", "for_s": 0, "on_conflict": "replace", "at_latest_s": None}
    assert shown == {
        "task": "index", "payload": {"doc": 7}, "queue": "default", "priority": 9, "max_retries": 2, "timeout_s": 5,
        "expires_s": None, "limit": None, "tags": [], "unique": replace,
    }  # fmt: skip
    assert put(client, cron=None, every_s=60, job=given | {"priority": 9})[1]["job"] == shown


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_the_ends_of_the_calendar_are_answered(client: FlaskClient, at: str, zone: str) -> None:
    assert put(client, cron="0 0 * * *", time_zone=zone)[0] == 201

    assert client.get(f"/api/schedules/s/fires?after={at}").status_code == 200
    span = {"from": "0001-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    assert client.post("/api/schedules/s/backfill", json=span).json["error"]["field"] == "to"
    for bound in ("starts_at", "ends_at"):
        asked = {"cron": "0 0 * * *", "time_zone": zone, "job": {}, bound: at}
        assert client.post("/api/schedules/preview", json=asked).status_code in (200, 400)


def test_the_same_again_changes_nothing_and_another_changes_it(client: FlaskClient) -> None:
    _, first = put(client)

    again, changed = put(client), put(client, jitter_s=5, job={"task": "resize"})

    assert again == (200, first)
    assert changed[0] == 200 and changed[1]["job"]["max_retries"] == 3 and changed[1]["next_fire_at"] == first["next_fire_at"]


def test_a_list_is_by_name_and_leaves_the_next_fires_out(client: FlaskClient) -> None:
    for name in ("b", "a", "batch", "count"):
        assert put(client, name)[0] == 201

    listed = client.get("/api/schedules").json

    assert [one["name"] for one in listed] == ["a", "b", "batch", "count"] and "next_fires" not in listed[0]


def test_it_is_deleted_without_a_body(client: FlaskClient) -> None:
    put(client)

    gone = client.delete("/api/schedules/s")

    assert (gone.status_code, gone.data) == (204, b"")
    assert client.delete("/api/schedules/s").status_code == client.get("/api/schedules/s").status_code == 404


@pytest.mark.parametrize("path", ["pause", "resume", "run"])
def test_what_there_is_not_is_not_found(client: FlaskClient, path: str) -> None:
    answer = client.post(f"/api/schedules/none/{path}")

    assert (answer.status_code, answer.json["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", ["preview", "a b", "ü", "n" * 65])
def test_some_names_are_refused(client: FlaskClient, name: str) -> None:
    status, told = put(client, name)

    assert (status, told["error"]["code"]) == (400, "invalid_field")


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("60 * * * *", 'minute, "60"'),
        ("* 24 * * *", 'hour, "24"'),
        ("* * 0 * *", "day of month"),
        ("* * * 13 *", "JAN to DEC"),
        ("* * * * 8", "SUN to SAT"),
        ("*/0 * * * *", "step"),
        ("0 30 2 * * *", "every_s"),
        ("* * * *", "4 fields"),
        ("", "five"),
        ("0 0 15W * *", "LW"),
        ("0 0 ? * *", "use *"),
        ("H * * * *", "jitter_s"),
        ("0~30 * * * *", "jitter_s"),
        ("@reboot", "@daily"),
        ("@every 5m", "every_s"),
        ("TZ=UTC 0 0 * * *", "time_zone"),
        ("CRON_TZ=UTC 0 0 * * *", "time_zone"),
        ("0 0 * * FRI-SUN", "FRI-SAT,SUN"),
        ("0 0 * NOV-FEB *", "write NOV-12"),
        ("0 0 * * MON#6", "1 to 5"),
        ("a * * * *", 'minute, "A"'),
        ("0,,1 * * * *", "commas"),
        ("* * * * *" + " " * 256, "256"),
        ("0 0 L-3 * *", "day of month"),
        ("1-2-3 * * * *", "minute"),
    ],
)
def test_a_wrong_expression_names_the_field_and_the_part_and_what_would_be_right(
    client: FlaskClient, cron: str, words: str
) -> None:
    told = error(client, cron=cron)

    assert (told["code"], told["field"]) == ("invalid_cron", "cron") and words in told["message"]


@pytest.mark.parametrize(
    "cron",
    [
        "@hourly",
        "@DAILY",
        "@midnight",
        "@weekly",
        "@monthly",
        "@yearly",
        "@annually",
        "0 0 L * *",
        "0 0 LW * *",
        "0 0 * * 5L",
        "0 0 * * mon#2",
        "0 0 * jan-Mar sun",
        "*/15 0-23/2 1,15 * 7",
        "5/15 * * * *",
    ],
)
def test_what_cron_knows_is_accepted(client: FlaskClient, cron: str) -> None:
    assert put(client, cron=cron)[0] == 201


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 31 4,6 *", "0 0 LW * */7", "0 0 */31 * MON#5"])
def test_what_never_fires_is_refused(client: FlaskClient, cron: str) -> None:
    assert error(client, cron=cron)["code"] == "never_fires"


def test_nothing_between_the_bounds_never_fires_and_an_end_that_has_passed_may(client: FlaskClient) -> None:
    assert (
        error(client, cron="0 0 1 1 *", starts_at="2030-02-01T00:00:00Z", ends_at="2030-03-01T00:00:00Z")["code"] == "never_fires"
    )

    status, told = put(client, ends_at="2020-01-01T00:00:00Z")

    assert (status, told["next_fire_at"], told["next_fires"]) == (201, None, [])


@pytest.mark.parametrize(
    ("zone", "near"), [("Europe/Berln", "Europe/Berlin"), ("berlin", "Europe/Berlin"), ("posixrules", ""), ("", "")]
)
def test_an_unknown_zone_names_the_nearest(client: FlaskClient, zone: str, near: str) -> None:
    told = error(client, time_zone=zone)

    assert (told["code"], told["field"]) == ("unknown_time_zone", "time_zone")
    assert near in told["message"] and told["message"].count(",") == 2


def test_an_unknown_task_lists_the_known_ones(client: FlaskClient) -> None:
    told = error(client, job={"task": "nope"})

    assert (told["code"], told["field"]) == ("unknown_task", "job.task") and "echo, index, resize" in told["message"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"every_s": 5}, "cron"),
        ({"cron": None}, "cron"),
        ({"cron": None, "every_s": 0.5}, "every_s"),
        ({"job": None}, "job"),
        ({"cron": None, "every_s": 31536001}, "every_s"),
        ({"overlap": "fight"}, "overlap"),
        ({"catch_up": 1}, "catch_up"),
        ({"catch_up_max": 0}, "catch_up_max"),
        ({"catch_up_max": 1001}, "catch_up_max"),
        ({"jitter_s": 86401}, "jitter_s"),
        ({"jitter_s": True}, "jitter_s"),
        ({"starts_at": "tomorrow"}, "starts_at"),
        ({"dst_gap": "x"}, "dst_gap"),
        ({"cron": 5}, "cron"),
        ({"starts_at": "2030-01-01T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z"}, "ends_at"),
        ({"job": {"delay_s": 1}}, "job.delay_s"),
        ({"job": {"idempotency_key": "k"}}, "job.idempotency_key"),
        ({"job": {"priority": 10}}, "job.priority"),
        ({"job": []}, "job"),
        ({"job": {"scheduled_at": "2030-01-01T00:00:00Z"}}, "job.scheduled_at"),
        ({"job": {"task": "index"}}, "job.payload"),
        ({"dst_fold": "x"}, "dst_fold"),
        ({"job": {"unique": {"until": "x"}}}, "job.unique"),
    ],
)
def test_a_wrong_field_is_refused(client: FlaskClient, fields: dict[str, Any], field: str) -> None:
    told = error(client, **fields)

    assert (told["code"], told["field"]) == ("invalid_field", field)


def test_an_unknown_field_and_another_type_are_refused(client: FlaskClient) -> None:
    assert error(client, crown="x")["code"] == "unknown_field" and error(client, job={"x": 1})["code"] == "unknown_field"
    assert client.put("/api/schedules/s", data="{}", content_type="text/plain").status_code == 415
    assert client.post("/api/schedules/s/pause", data="{}", content_type="text/plain").status_code == 415
    assert client.put("/api/schedules/s?x=1", json=HOURLY).status_code == 400


def test_a_preview_stores_nothing(client: FlaskClient) -> None:
    answer = client.post("/api/schedules/preview", json={**HOURLY, "starts_at": "2020-01-01T00:00:00Z"})

    assert answer.status_code == 200 and list(answer.json) == ["next_fires"] and len(answer.json["next_fires"]) == 5
    assert client.get("/api/schedules").json == []
    assert client.post("/api/schedules/preview", json={"cron": "x", "job": {}}).json["error"]["code"] == "invalid_cron"


def test_fire_times_are_listed(client: FlaskClient) -> None:
    put(client, time_zone="Europe/Berlin", cron="30 2 * * *")

    times = client.get("/api/schedules/s/fires", query_string={"count": 2, "after": "2026-03-28T12:00:00Z"})

    assert times.json == ["2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"]
    assert len(client.get("/api/schedules/s/fires").json) == 5
    for wrong in ({"count": 0}, {"count": 101}, {"after": "x"}):
        assert client.get("/api/schedules/s/fires", query_string=wrong).status_code == 400


def test_a_pause_is_kept_and_its_reason_replaced(client: FlaskClient) -> None:
    put(client)

    first = client.post("/api/schedules/s/pause", json={"reason": "holiday"}).json["paused"]
    second = client.post("/api/schedules/s/pause").json["paused"]

    assert (first["by"], first["reason"]) == ("api", "holiday") and second == {**first, "reason": None}
    assert put(client, jitter_s=1)[1]["paused"] == second, "a PUT does not end it"
    assert (
        client.post("/api/schedules/s/resume").json["paused"] is None and client.post("/api/schedules/s/resume").status_code == 200
    )
    for wrong in ({"reason": 7}, {"reason": "r" * 201}, {"because": "x"}):
        assert client.post("/api/schedules/s/pause", json=wrong).status_code == 400


@pytest.mark.parametrize(("token", "name"), [("0ps", "ops"), ("plain", "api")])
def test_a_pause_says_whose_token_it_came_with(tmp_path: Path, token: str, name: str) -> None:
    client = Backend(tmp_path, API_TOKEN="ops=0ps,plain").client()
    whose = {"Authorization": f"Bearer {token}"}
    client.put("/api/schedules/s", json=HOURLY, headers=whose)

    told = client.post("/api/schedules/s/pause", headers=whose).json

    assert told["paused"]["by"] == name
    for wrong in ({}, {"Authorization": f"Bearer {name}={token}"}):
        assert client.get("/api/schedules/s", headers=wrong).status_code == 401


def test_it_runs_now_on_request_even_while_it_is_paused(client: FlaskClient) -> None:
    put(client)
    client.post("/api/schedules/s/pause")

    answer = client.post("/api/schedules/s/run")

    assert answer.status_code == 201 and list(answer.json) == ["job_id"]
    job = client.get(f"/api/jobs/{answer.json['job_id']}").json
    assert (job["schedule"], job["fire_at"], job["payload"]) == ("s", None, {"b": 1.0})
    assert client.get("/api/jobs?schedule=s").json == [job] and client.get("/api/schedules/s").json["fires"] == 0


def test_a_run_of_a_unique_job_answers_as_a_submission_does(client: FlaskClient) -> None:
    put(client, job={"unique": {"key": "k", "on_conflict": "return"}})
    first = client.post("/api/schedules/s/run")

    second = client.post("/api/schedules/s/run")

    assert (first.status_code, second.status_code, second.json["existing"]) == (201, 200, True)
    put(client, job={"unique": {"key": "k", "on_conflict": "refuse"}})
    third = client.post("/api/schedules/s/run")
    assert (third.status_code, third.json["error"]["job_id"]) == (409, first.json["job_id"])


def test_past_fires_are_made_up_for_once(client: FlaskClient) -> None:
    put(client, cron=None, every_s=60, overlap="allow")
    span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:10:00Z"}

    first, second = (client.post("/api/schedules/s/backfill", json=span) for _ in range(2))

    assert (first.status_code, len(first.json["job_ids"])) == (201, 11)
    assert (second.status_code, second.json) == (200, {"job_ids": []})
    jobs = client.get("/api/jobs?schedule=s").json
    assert jobs[0]["fire_at"] == "2026-01-01T00:10:00.000Z" and jobs[0]["scheduled_at"] == jobs[0]["fire_at"]
    assert client.get("/api/schedules/s").json["fires"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "from"),
        ({"from": "2026-01-01T00:00:00Z"}, "to"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2126-01-01T00:00:00Z"}, "to"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}, "to"),
        ({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z", "overlap": "x"}, "overlap"),
    ],
)
def test_a_backfill_has_its_bounds(client: FlaskClient, body: dict[str, str], field: str) -> None:
    put(client, cron=None, every_s=60)

    answer = client.post("/api/schedules/s/backfill", json=body)

    assert (answer.status_code, answer.json["error"]["field"]) == (400, field)


def test_a_fire_makes_a_job(client: FlaskClient, backend: Backend) -> None:
    put(client, cron=None, every_s=1, catch_up="all")
    stored = backend.store.schedules.find("s")
    assert stored is not None and stored.next_fire_at is not None

    backend.fires(at=stored.next_fire_at)

    told = client.get("/api/schedules/s").json
    job = client.get(f"/api/jobs/{told['last_job_id']}").json
    assert (told["fires"], told["last_fire_at"]) == (1, rfc3339(stored.next_fire_at))
    assert (job["schedule"], job["fire_at"], job["scheduled_at"]) == ("s", told["last_fire_at"], told["last_fire_at"])


def test_why_a_job_that_waits_for_its_schedule_says_so(client: FlaskClient, backend: Backend) -> None:
    put(client, cron=None, every_s=60, overlap="all")
    client.post("/api/schedules/s/backfill", json={"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:01:00Z"})
    [running] = claim(backend.store, now=backend.world.now())
    [waiting] = client.get("/api/jobs?schedule=s&status=pending").json

    reasons = client.get(f"/api/jobs/{waiting['job_id']}/why").json["reasons"]

    full = next(reason for reason in reasons if reason["code"] == "limit_full")
    assert (full["limit"], full["job_ids"]) == ("schedule:s", [running.job_id])
