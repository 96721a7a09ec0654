"""Jobs that wait for others as a client sees them: the fields, the answers, the errors, groups and graphs."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome
from jobyard.engine.workflows.resolver import Resolver
from tests.http.conftest import Backend
from tests.support.claims import claim

UNKNOWN_ID = "6b04af6d98fafe38214255d4"


def batch(client: FlaskClient, *jobs: dict[str, Any]) -> list[str]:
    answer = client.post("/api/jobs/batch", json={"jobs": jobs})
    assert answer.status_code == 201, answer.json
    job_ids: list[str] = answer.json["job_ids"]
    return job_ids


def error(client: FlaskClient, *jobs: dict[str, Any], status: int = 400) -> dict[str, Any]:
    answer = client.post("/api/jobs/batch", json={"jobs": jobs}) if len(jobs) > 1 else client.post("/api/jobs", json=jobs[0])
    assert answer.status_code == status, answer.json
    told: dict[str, Any] = answer.json["error"]
    return told


def show(client: FlaskClient, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = client.get(f"/api/jobs/{job_id}").json
    return job


def end(backend: Backend, job_id: str, *, failing: bool = False) -> None:
    """Run the job to its end, and bring forward what waits for it."""
    claim(backend.store, now=backend.world.now())
    job = stored(backend, job_id)
    outcome = Outcome(status=ExecutionStatus.FAILED, error="no", unrecoverable=True)
    outcome = outcome if failing else Outcome(status=ExecutionStatus.SUCCESS, result=b"1")
    assert backend.store.apply([lifecycle.settle(job, outcome, now=backend.world.now(), retry_base_s=1)]) == [True]
    resolve(backend)


def resolve(backend: Backend) -> None:
    while Resolver(backend.store, backend.world.now).resolve().looked_at:
        pass


def stored(backend: Backend, job_id: str) -> Job:
    job = backend.store.find([job_id])[0]
    assert job is not None
    return job


def test_a_job_reads_back_what_it_waits_for(client: FlaskClient) -> None:
    first, second = batch(client, {"ref": "a", "group": "g"}, {"after": ["a", {"group": "g"}]})

    job = show(client, second)

    assert job["after"] == [{"job_id": first, "ref": "a"}, {"group": "g"}]
    assert (job["status"], job["run_if"], job["ref"], job["group"]) == ("blocked", "completed", None, None)
    assert (show(client, first)["after"], show(client, first)["run_if"], show(client, first)["ref"]) == (None, None, "a")


def test_a_single_job_may_wait_for_a_stored_one_and_says_its_status(client: FlaskClient, backend: Backend) -> None:
    (first,) = batch(client, {})
    blocked = client.post("/api/jobs", json={"after": [first]})
    end(backend, first, failing=True)
    cancelled = client.post("/api/jobs", json={"after": [first]})
    ready = client.post("/api/jobs", json={"after": [first], "run_if": "ended"})

    assert [answer.json["status"] for answer in (blocked, cancelled, ready)] == ["blocked", "cancelled", "pending"]
    job = show(client, cancelled.json["job_id"])
    assert job["cancelled_because"] == {"reason": "dependency_failed", "job_id": first}
    assert (job["attempt"], job["finished_at"] is None) == (0, False)


@pytest.mark.parametrize(
    ("jobs", "code", "field"),
    [
        ([{"after": [UNKNOWN_ID]}], "unknown_job", "after"),
        ([{"after": ["no id"]}], "unknown_job", "after"),
        ([{}, {"after": ["a"]}], "unknown_job", "jobs[1].after"),
        ([{"after": [{"group": "nobody"}]}], "unknown_group", "after"),
        ([{"ref": "a", "after": ["b"]}, {"ref": "b", "after": ["a"]}], "cycle", "jobs[0].after"),
        ([{"group": "g", "after": [{"group": "g"}]}], "cycle", "after"),
        ([{"ref": "a"}], "invalid_field", "ref"),
        ([{}, {"run_if": "ended"}], "invalid_field", "jobs[1].run_if"),
    ],
)
def test_what_cannot_be_waited_for_is_refused(client: FlaskClient, jobs: list[dict[str, Any]], code: str, field: str) -> None:
    told = error(client, *jobs)

    assert (told["code"], told["field"]) == (code, field)
    assert client.get("/api/jobs/count").json == {"count": 0, "is_exact": True}


def test_a_cycle_names_its_refs_in_order(client: FlaskClient) -> None:
    told = error(client, {"ref": "a", "after": ["c"]}, {"ref": "b", "after": ["a"]}, {"ref": "c", "after": ["b"]})

    assert told["message"] == "jobs[0]: the jobs wait for one another in a cycle: a → c → b → a"


def test_a_group_that_was_waited_for_and_has_ended_is_closed(client: FlaskClient, backend: Backend) -> None:
    member, _ = batch(client, {"group": "g"}, {"after": [{"group": "g"}]})
    end(backend, member)

    assert error(client, {"group": "g"}, status=409)["code"] == "group_ended"


def test_a_job_whose_dependency_failed_is_retried_with_it_only(client: FlaskClient, backend: Backend) -> None:
    first, second, third = batch(client, {"ref": "a"}, {"ref": "b", "after": ["a"]}, {"after": ["b"]})
    end(backend, first, failing=True)

    refused = client.post(f"/api/jobs/{second}/retry")
    bulk = client.post("/api/jobs/retry", json={"filter": {"status": "cancelled"}})
    retried = client.post(f"/api/jobs/{first}/retry")
    resolve(backend)

    assert (refused.status_code, refused.json["error"]["code"], refused.json["error"]["job_id"]) == (409, "blocked_by", first)
    assert bulk.json == {"changed": 0, "skipped": 2, "cursor": None}
    assert (retried.status_code, retried.json["status"]) == (200, "pending")
    assert [show(client, job_id)["status"] for job_id in (second, third)] == ["blocked", "blocked"]


def test_a_job_cancelled_by_hand_is_blocked_again_by_a_retry(client: FlaskClient, backend: Backend) -> None:
    first, second = batch(client, {"ref": "a"}, {"after": ["a"]})
    cancelled = client.post(f"/api/jobs/{second}/cancel").json

    retried = client.post(f"/api/jobs/{second}/retry").json
    end(backend, first)

    assert (cancelled["status"], cancelled["cancelled_because"]) == ("cancelled", None)
    assert (retried["status"], show(client, second)["status"]) == ("blocked", "pending")


def test_a_group_is_shown_with_its_jobs_by_status(client: FlaskClient, backend: Backend) -> None:
    first, _, join = batch(client, {"group": "g"}, {"group": "g"}, {"after": [{"group": "g"}], "run_if": "ended"})
    end(backend, first)

    group = client.get("/api/groups/g").json

    assert list(group) == ["name", "counts", "created_at", "ended_at", "waiting"]
    assert (group["name"], group["waiting"], group["ended_at"]) == ("g", [join], None)
    assert group["counts"] == {
        "blocked": 0, "pending": 0, "claimed": 0, "queued": 0, "running": 1, "completed": 1, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    assert client.get("/api/groups").json == [group]


def test_a_group_that_is_not_there_is_not_found(client: FlaskClient) -> None:
    assert (client.get("/api/groups/g").status_code, client.get("/api/groups/a%20b").status_code) == (404, 400)
    assert client.get("/api/groups").json == []


def test_jobs_are_listed_counted_and_cancelled_by_group(client: FlaskClient) -> None:
    one, two, _ = batch(client, {"group": "g"}, {"group": "g"}, {"group": "h"})

    listed = client.get("/api/jobs?group=g").json
    counted = client.get("/api/jobs/count?group=g").json
    step = client.post("/api/jobs/cancel", json={"filter": {"group": "g"}}).json

    assert [job["job_id"] for job in listed] == [two, one]
    assert (counted["count"], step["changed"]) == (2, 2)
    assert client.get("/api/jobs?group=a%20b").status_code == 400


def test_the_graph_of_a_job_has_its_whole_component(client: FlaskClient) -> None:
    a, b, join = batch(client, {"ref": "a", "group": "g"}, {"after": ["a"], "group": "g"}, {"after": [{"group": "g"}]})

    graph = client.get(f"/api/jobs/{b}/graph").json

    assert [node["job_id"] for node in graph["nodes"]][0] == b
    assert {node["job_id"] for node in graph["nodes"]} == {a, b, join}
    assert graph["nodes"][0] == {"job_id": b, "task": "echo", "status": "blocked", "ref": None, "group": "g"}
    assert {"from": a, "to": b} in graph["edges"] and {"from": {"group": "g"}, "to": join} in graph["edges"]
    assert (len(graph["edges"]), graph["is_whole"]) == (2, True)
    assert client.get(f"/api/jobs/{UNKNOWN_ID}/graph").status_code == 404


def test_why_names_what_is_missing(client: FlaskClient) -> None:
    first, second, _ = batch(client, {"ref": "a"}, {"after": ["a", {"group": "g"}]}, {"group": "g"})

    reason = client.get(f"/api/jobs/{second}/why").json["reasons"][0]

    assert reason["code"] == "blocked"
    assert reason["waits_for"] == [{"job_id": first, "ref": "a", "status": "pending"}, {"group": "g", "living": 1}]


def test_the_same_batch_of_idempotent_jobs_is_known(client: FlaskClient) -> None:
    jobs = [{"ref": "a", "idempotency_key": "1"}, {"after": ["a"], "idempotency_key": "2"}]
    first = batch(client, *jobs)

    again = client.post("/api/jobs/batch", json={"jobs": jobs})

    assert (again.status_code, again.json["job_ids"]) == (200, first)


def test_the_ref_of_a_job_that_existed_stands_for_its_holder(client: FlaskClient) -> None:
    (holder,) = batch(client, {"unique": "k"})

    ids = batch(client, {"ref": "a", "unique": "k", "group": "dropped"}, {"after": ["a"]})

    assert ids[0] == holder
    assert show(client, ids[1])["after"] == [{"job_id": holder, "ref": "a"}]
    assert client.get("/api/groups/dropped").status_code == 404


def test_a_cycle_that_only_the_holder_makes_is_refused(client: FlaskClient) -> None:
    told = error(client, {"ref": "a", "unique": "k", "after": ["b"]}, {"ref": "b", "unique": "k"})

    assert told["code"] == "cycle"
