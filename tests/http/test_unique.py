"""Unique jobs as a client sees them: the answers, the errors, the filter."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from jobyard.engine.jobs.job import Job
from tests.http.conftest import Backend
from tests.support.claims import claim

PAYLOAD_KEY = "echo/sha256:43258cff783fe7036d8a43033f830adfc60ec037382473548ac742b888292777"
"""Of the payload {"a":1,"b":2}."""
OTHER_SPELLING = b'{"payload": {"b": 2,   "a": 1}, "unique": true}'


def post(client: FlaskClient, **fields: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post("/api/jobs", json=fields)
    return answer.status_code, answer.json


def key_of(client: FlaskClient, job_id: str) -> str | None:
    return client.get(f"/api/jobs/{job_id}").json["unique_key"]


def stored(backend: Backend, job_id: str) -> Job:
    job = backend.store.find([job_id])[0]
    assert job is not None
    return job


def test_a_new_job_says_that_it_is_none_that_existed(client: FlaskClient) -> None:
    status, told = post(client, unique="k")

    assert (status, told["existing"], "replaced" in told) == (201, False, False)
    assert key_of(client, told["job_id"]) == "echo/k"


def test_a_job_without_a_key_says_nothing_of_it(client: FlaskClient) -> None:
    for unique in (None, False):
        status, told = post(client, unique=unique)

        assert status == 201 and list(told) == ["job_id", "status", "message"] and key_of(client, told["job_id"]) is None


def test_a_second_one_is_answered_with_the_first(client: FlaskClient) -> None:
    _, first = post(client, unique="k", delay_s=60)

    status, told = post(client, unique={"key": "k"}, payload="other")

    assert (status, told["existing"], told["job_id"], told["status"]) == (200, True, first["job_id"], "pending")
    assert "replaced" not in told


@pytest.mark.parametrize("unique", [True, {}, {"key": None}, {"until": "ended", "for_s": 0, "on_conflict": "return"}])
def test_without_a_key_the_payload_is_the_key(client: FlaskClient, unique: object) -> None:
    _, first = post(client, payload={"a": 1, "b": 2}, unique=unique)

    again = client.post("/api/jobs", data=OTHER_SPELLING, content_type="application/json")

    assert (again.status_code, again.json["job_id"]) == (200, first["job_id"]) and key_of(client, first["job_id"]) == PAYLOAD_KEY
    assert post(client, payload={"a": 1.0, "b": 2}, unique=unique)[0] == 201, "1.0 is another payload"


def test_a_tasks_name_is_part_of_the_key_unless_it_begins_with_a_slash(client: FlaskClient) -> None:
    _, own = post(client, unique="/shared")

    assert key_of(client, own["job_id"]) == "/shared"
    assert post(client, task="resize", unique="/shared")[1]["job_id"] == own["job_id"]
    assert post(client, unique="k")[0] == post(client, task="resize", unique="k")[0] == 201


def test_a_refused_one_names_the_holder(client: FlaskClient) -> None:
    _, first = post(client, unique="k")

    status, told = post(client, unique={"key": "k", "on_conflict": "refuse"})

    assert status == 409
    assert told["error"] == {
        "code": "not_unique", "field": "unique", "job_id": first["job_id"],
        "message": f"job {first['job_id']} holds the unique key 'echo/k'",
    }  # fmt: skip


def test_a_replacement_says_so(client: FlaskClient) -> None:
    debounce = {"key": "k", "until": "begun", "on_conflict": "replace", "at_latest_s": 60}
    _, first = post(client, unique=debounce, payload=1, delay_s=30)

    status, told = post(client, unique=debounce, payload=2, delay_s=30, priority="high")

    assert (status, told["existing"], told["replaced"], told["job_id"]) == (200, True, True, first["job_id"])
    job = client.get(f"/api/jobs/{first['job_id']}").json
    assert (job["payload"], job["priority"], job["status"]) == (2, 9, "pending")


@pytest.mark.parametrize(
    ("unique", "words"),
    [
        (7, "true, a key, or an object"), ("", "1 to 255 characters"), ("a\nb", "line breaks"), ("a\0", "NUL"), ("k" * 256, "255"),
        ({"keys": "k"}, "keys"), ({"until": "never"}, "ended, begun"), ({"for_s": -1}, "0 to 31536000"),
        ({"for_s": True}, "number"),
        ({"for_s": 31536001}, "31536000"), ({"on_conflict": "replace"}, "begun"), ({"at_latest_s": 1}, "replace"),
        ({"until": "begun", "on_conflict": "replace", "for_s": 1}, "for_s"), ({"on_conflict": "fight"}, "return, replace, refuse"),
        ({"until": "begun", "on_conflict": "replace", "at_latest_s": 31536001}, "31536000"), ({"key": 7}, "key"), ([], "object"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_with_what_can(client: FlaskClient, unique: object, words: str) -> None:
    status, told = post(client, unique=unique)

    assert (status, told["error"]["code"], told["error"]["field"]) == (400, "invalid_field", "unique")
    assert words in told["error"]["message"]


def test_a_lone_surrogate_is_no_key(client: FlaskClient) -> None:
    answer = client.post("/api/jobs", data=b'{"unique": "\\ud800"}', content_type="application/json")

    assert answer.status_code == 400


@pytest.mark.parametrize(("doc", "key"), [("a", "a"), (7, "7"), ("7", "7"), (-1, "-1"), ("/a", "/a")])
def test_a_tasks_key_is_made_of_the_payload(client: FlaskClient, doc: object, key: str) -> None:
    _, told = post(client, task="index", payload={"doc": doc, "more": 1}, delay_s=60)

    assert key_of(client, told["job_id"]) == (key if key.startswith("/") else f"index/{key}")
    assert post(client, task="index", payload={"doc": doc}, delay_s=60)[1]["replaced"] is True


@pytest.mark.parametrize(
    "payload", [None, 7, {}, *({"doc": doc} for doc in ("", True, None, 1.5, ["a"], {"a": 1}, "k" * 256, "a\nb"))]
)
def test_a_payload_of_which_no_key_can_be_made_is_refused(client: FlaskClient, payload: object) -> None:
    status, told = post(client, task="index", payload=payload)

    assert (status, told["error"]["code"], told["error"]["field"]) == (400, "invalid_field", "payload")


def test_a_jobs_own_key_takes_the_place_of_its_tasks_and_is_plain_text(client: FlaskClient) -> None:
    _, told = post(client, task="index", payload=None, unique="{doc}")

    assert key_of(client, told["job_id"]) == "index/{doc}"
    assert "existing" not in post(client, task="index", unique=False)[1]


def test_a_batch_names_those_that_existed(client: FlaskClient) -> None:
    _, holder = post(client, unique="a")
    jobs = [{}, {"unique": "a"}, {"unique": "b"}, {"unique": "b"}]

    answer = client.post("/api/jobs/batch", json={"jobs": jobs})

    assert answer.status_code == 201
    told = answer.json
    assert (told["existing"], told["replaced"]) == ([1, 3], []) and told["job_ids"][1] == holder["job_id"]
    assert told["job_ids"][2] == told["job_ids"][3]
    again = client.post("/api/jobs/batch", json={"jobs": jobs[1:]})
    assert (again.status_code, again.json["existing"]) == (200, [0, 1, 2])
    plain = client.post("/api/jobs/batch", json={"jobs": [{}]})
    assert (plain.status_code, list(plain.json)) == (201, ["job_ids"])
    assert client.post("/api/jobs/batch", json={"jobs": []}).status_code == 201


def test_a_batch_that_is_known_by_its_idempotency_keys_is_none_that_is_new(client: FlaskClient) -> None:
    batch = {"jobs": [{"idempotency_key": "i"}]}

    assert [client.post("/api/jobs/batch", json=batch).status_code for _ in range(2)] == [201, 200]


def test_a_batch_is_refused_as_a_whole(client: FlaskClient) -> None:
    refuse = {"key": "k", "on_conflict": "refuse"}

    answer = client.post("/api/jobs/batch", json={"jobs": [{}, {"unique": refuse}, {"unique": refuse}]})

    assert answer.status_code == 409 and answer.json["error"]["field"] == "jobs[2].unique" and "job_id" not in answer.json["error"]
    assert client.get("/api/jobs/count").json["count"] == 0


def test_jobs_are_found_by_their_keys(client: FlaskClient) -> None:
    _, told = post(client, unique="a b/ü")
    post(client, unique="other")

    found = client.get("/api/jobs", query_string={"unique_key": "echo/a b/ü"}).json

    assert [job["job_id"] for job in found] == [told["job_id"]]
    assert client.get("/api/jobs/count", query_string={"unique_key": "echo/a b/ü"}).json == {"count": 1, "is_exact": True}
    for wrong in ("", "k" * 512):
        assert client.get("/api/jobs", query_string={"unique_key": wrong}).status_code == 400


def test_a_retry_of_a_job_whose_key_another_holds_is_refused(client: FlaskClient, backend: Backend) -> None:
    _, first = post(client, unique="k")
    client.post(f"/api/jobs/{first['job_id']}/cancel")
    _, second = post(client, unique="k")

    refused = client.post(f"/api/jobs/{first['job_id']}/retry")
    many = client.post("/api/jobs/retry", json={"filter": {"unique_key": "echo/k"}})

    assert refused.status_code == 409
    assert (refused.json["error"]["code"], refused.json["error"]["job_id"]) == ("not_unique", second["job_id"])
    assert (many.json["changed"], many.json["skipped"]) == (0, 2)
    client.post(f"/api/jobs/{second['job_id']}/cancel")
    assert client.post("/api/jobs/retry", json={"filter": {"unique_key": "echo/k"}}).json["changed"] == 1, "the first to be retried"
    held = [stored(backend, told["job_id"]).held_key for told in (first, second)]
    assert sorted(held, key=str) == [None, "echo/k"]


def test_a_begun_job_gives_its_key_up_where_that_was_asked(client: FlaskClient, backend: Backend) -> None:
    _, first = post(client, unique={"key": "k", "until": "begun"})
    before = post(client, unique="k")[0]
    (begun,) = claim(backend.store, now=backend.world.now())

    assert (begun.job_id, before) == (first["job_id"], 200)
    assert post(client, unique="k")[0] == 201
