"""Health, counters, guards, and the form of every error."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from jobyard.api.http.app import create_app
from jobyard.api.http.operations import operation_of
from jobyard.api.http.routes import KINDS, ROUTES, routes_of
from jobyard.engine.errors import StoreUnavailable
from tests.http.conftest import NAMES, Backend
from tests.http.test_jobs import error_of

TOKEN = "0123456789abcdef0123456789abcdef"


def test_health_is_healthy_when_every_component_answers(client: FlaskClient) -> None:
    answer = client.get("/health")

    assert (answer.status_code, answer.json["status"]) == (200, "healthy")
    assert set(answer.json["components"]) == set(NAMES)


@pytest.mark.parametrize("path", ["/health", "/stats", "/jobs", "/api/tasks", "/openapi.json", "/job?job_id=none", "/nothing"])
def test_json_ends_with_a_line_break(client: FlaskClient, path: str) -> None:
    text = client.get(path).text

    assert text == f"{text.strip()}\n" and json.loads(text) is not None


@pytest.mark.parametrize("name", ["queue-6000", "scheduler-8081", "watcher-9001"])
def test_health_names_what_is_down(backend: Backend, client: FlaskClient, name: str) -> None:
    backend.silent.add(name)

    answer = client.get("/health")

    assert (answer.status_code, answer.json["status"]) == (503, "unhealthy")
    assert name in answer.json["down"]
    assert "Retry-After" in answer.headers


def test_stats_hold_jobs_processes_and_components(client: FlaskClient) -> None:
    client.post("/api/jobs", json={"delay_s": 60})

    stats = client.get("/stats").json

    assert stats["jobs"] == {
        "blocked": 0, "pending": 1, "claimed": 0, "queued": 0, "running": 0, "completed": 0, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    assert stats["processes"][-1]["name"] == "supervisor"
    assert {"rss_bytes", "cpu_percent"} <= set(stats["processes"][0])
    assert stats["components"]["scheduler-8081"]["jobs_accepted"] == 1


def test_what_has_told_nothing_yet_is_named_in_the_stats(backend: Backend, client: FlaskClient) -> None:
    backend.silent.add("queue-6000")

    assert "error" in client.get("/stats").json["components"]["queue-6000"]
    assert error_of(backend.client("queue-6000").get("/stats"))[:2] == (503, "unavailable")


def test_the_last_counters_of_a_silent_component_stay_visible_with_their_age(backend: Backend, client: FlaskClient) -> None:
    client.get("/stats")
    backend.silent.add("queue-6000")

    shown = client.get("/stats").json["components"]
    alone = backend.client("queue-6000").get("/stats").json

    assert (shown["queue-6000"]["size"], shown["queue-6000"]["age_s"] >= 5) == (0, True)
    assert "stale_since" in alone
    assert "stale_since" not in shown["watcher-9001"]


def test_while_control_is_away_stats_are_the_last_known_and_jobs_are_current(backend: Backend, client: FlaskClient) -> None:
    client.get("/stats")
    backend.control.is_away = True
    client.post("/api/jobs", json={"delay_s": 60})

    stats = client.get("/stats").json

    assert stats["jobs"]["pending"] == 1
    assert stats["components"]["scheduler-8081"]["jobs_accepted"] == 0
    assert "stale_since" in stats and "stale_since" in stats["components"]["scheduler-8081"]
    assert [row["name"] for row in stats["processes"]] == list(NAMES)


def test_a_new_control_that_was_told_nothing_yet_hides_nothing(backend: Backend, client: FlaskClient) -> None:
    before = client.get("/stats").json
    backend.control.restart()
    backend.control.is_empty = True

    after = client.get("/stats").json

    assert list(after["components"]) == list(before["components"])
    assert all("stale_since" in told for told in after["components"].values())
    assert [row["name"] for row in after["processes"]] == list(NAMES)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("watcher-9001", "watcher_id jobs_claimed jobs_queued claim_conflicts last_claim_time last_queued_time polls uptime_s"),
        ("scheduler-8081", "scheduler_id jobs_accepted requests uptime_s"),
        ("queue-6000", "queue_id size ready leased jobs_pushed jobs_popped jobs_acked jobs_released jobs_recovered last_push_time "
                       "last_pop_time uptime_s"),
    ],
)  # fmt: skip
def test_a_component_shows_its_counters(backend: Backend, name: str, fields: str) -> None:
    assert set(backend.client(name).get("/stats").json) == set(fields.split())


def test_the_queue_shows_what_it_holds(backend: Backend) -> None:
    queue = backend.client("queue-6000")

    assert queue.get("/queue").json == {"size": 0, "ready": 0, "leased": 0, "items": []}
    assert error_of(queue.get("/queue?limit=0")) == (400, "invalid_field", "limit")


def test_a_component_that_does_not_answer_is_unavailable(backend: Backend) -> None:
    backend.silent.add("queue-6000")

    assert error_of(backend.client("queue-6000").get("/health"))[:2] == (503, "unavailable")


def test_an_unavailable_database_refuses_and_stores_nothing(backend: Backend, client: FlaskClient) -> None:
    real = backend.store.insert
    backend.store.insert = raise_unavailable  # type: ignore[method-assign]

    answer = client.post("/api/jobs", json={})

    assert error_of(answer)[:2] == (503, "database_unavailable")
    backend.store.insert = real  # type: ignore[method-assign]
    assert client.get("/jobs").json == []


def raise_unavailable(*requests: object, **more: object) -> None:
    raise StoreUnavailable("away")


def test_too_many_pending_jobs_refuse_more(tmp_path: Path) -> None:
    client = Backend(tmp_path, MAX_PENDING="1").client()
    client.post("/api/jobs", json={"delay_s": 9})

    assert error_of(client.post("/api/jobs", json={}))[:2] == (503, "overloaded")
    assert client.post("/api/jobs/batch", json={"jobs": []}).status_code == 201


@pytest.mark.parametrize("path", ["/nothing", "/api", "/jobs/", "/api/jobs/a/b/c", "/../etc/passwd", "/schedule"])
def test_an_unknown_path_is_a_json_error(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code in (404, 405) or path == "/jobs/"
    assert answer.content_type == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/jobs", "GET, HEAD"), ("GET", "/api/jobs/batch", "POST"), ("DELETE", "/api/jobs", "GET, HEAD, POST"),
        ("OPTIONS", "/health", "GET, HEAD"), ("BREW", "/stats", "GET, HEAD"), ("OPTIONS", "/api/schedules/preview", "POST"),
    ],
)  # fmt: skip
def test_a_wrong_method_gets_the_allowed_ones(client: FlaskClient, method: str, path: str, allowed: str) -> None:
    answer = client.open(path, method=method)

    assert error_of(answer)[:2] == (405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


def test_head_is_get_without_a_body(client: FlaskClient) -> None:
    answer = client.head("/jobs")

    assert (answer.status_code, answer.data) == (200, b"")


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "application/x-ndjson"]
)
def test_an_unsupported_content_type_is_refused(client: FlaskClient, kind: str) -> None:
    answer = client.post("/api/jobs", data="{}", content_type=kind or None)

    assert error_of(answer)[:2] == (415, "unsupported_media_type")


@pytest.mark.parametrize("coding", ["gzip", "identity, gzip", "br", "\xff"])
def test_a_compressed_body_is_refused(client: FlaskClient, coding: str) -> None:
    packed = client.post("/api/jobs", json={}, headers={"Content-Encoding": coding})
    on_the_way = client.post("/api/jobs", json={}, headers={"Transfer-Encoding": f"{coding}, chunked"})

    assert error_of(packed)[:2] == (415, "unsupported_media_type")
    assert error_of(on_the_way)[:2] == (501, "not_implemented")


def test_content_encoding_identity_is_accepted(client: FlaskClient) -> None:
    assert client.post("/api/jobs", json={}, headers={"Content-Encoding": "identity"}).status_code == 201


def test_charset_utf8_is_accepted(client: FlaskClient) -> None:
    assert client.post("/api/jobs", data="{}", content_type="Application/JSON; charset=UTF-8").status_code == 201


def test_an_empty_body_is_invalid_json(client: FlaskClient) -> None:
    assert error_of(client.post("/api/jobs", content_type="application/json"))[:2] == (400, "invalid_json")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost:80:80", "[::2]"])
def test_another_host_is_misdirected(client: FlaskClient, host: str) -> None:
    for path in ("/jobs", "/nothing", "/health/", "/"):
        assert error_of(client.get(path, headers={"Host": host}))[:2] == (421, "misdirected_host")


@pytest.mark.parametrize("host", ["evil.example", "10.1.2.3:8080", "[fd00::1]", ""])
@pytest.mark.parametrize("token", ["", TOKEN])
def test_health_answers_a_probe_whatever_its_host(tmp_path: Path, host: str, token: str) -> None:
    client = Backend(tmp_path, API_TOKEN=token).client()

    assert client.get("/health", headers={"Host": host}).status_code == 200
    assert client.get("/health", environ_overrides={"RAW_URI": "http://evil.example/health"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "is_address"),
    [("10.1.2.3:8080", True), ("10.1.2.3", True), ("[fd00::1]:8080", True), ("fd00::1", False), ("10.1.2.3.example", False),
     ("[10.1.2.3]", False), ("10.1.2", False), ("", False)],
)  # fmt: skip
def test_an_address_is_a_host_where_there_is_a_token(tmp_path: Path, host: str, is_address: bool) -> None:
    client = Backend(tmp_path, API_TOKEN=TOKEN).client()

    answer = client.get("/jobs", headers={"Host": host, "Authorization": f"Bearer {TOKEN}"})

    assert answer.status_code == (200 if is_address else 421)


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [(".example.com", "jobs.example.com:80", 200), (".example.com", "a.b.EXAMPLE.com", 200), (".example.com", "example.com", 200),
     (".example.com", "badexample.com", 421), (".example.com", "example.com.evil", 421), (".example.com", "localhost", 421),
     ("*", "anything.example", 200), ("*", "", 200)],
)  # fmt: skip
def test_patterns_of_hosts(tmp_path: Path, allowed: str, host: str, status: int) -> None:
    client = Backend(tmp_path, API_TOKEN=TOKEN, ALLOWED_HOSTS=allowed).client()

    assert client.get("/jobs", headers={"Host": host, "Authorization": f"Bearer {TOKEN}"}).status_code == status


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"])
def test_our_hosts_are_served_with_any_port(client: FlaskClient, host: str) -> None:
    assert client.get("/jobs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("target", ["http://evil.example/jobs", "http://localhost@evil.example/jobs", "http:/jobs", "evil:80"])
def test_the_host_of_an_absolute_url_takes_precedence_over_the_header(client: FlaskClient, target: str) -> None:
    assert error_of(client.get("/jobs", environ_overrides={"RAW_URI": target}))[:2] == (421, "misdirected_host")
    assert client.get("/jobs", environ_overrides={"RAW_URI": "http://LOCALHOST:8080/jobs"}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost.evil.example", "file://", "http://[", ""])
def test_another_origin_is_forbidden(client: FlaskClient, origin: str) -> None:
    assert error_of(client.post("/api/jobs", json={}, headers={"Origin": origin}))[:2] == (403, "origin_not_allowed")


@pytest.mark.parametrize(
    ("origin", "host"),
    [("http://localhost:8080", "localhost:8080"), ("http://localhost", "localhost"), ("http://localhost:80", "127.0.0.1"),
     ("https://jobs.example.com", "jobs.example.com"), ("https://jobs.example.com", "jobs.example.com:443"),
     ("https://jobs.example.com:8443", "jobs.example.com:8443"),
     ("http://[::1]:8080", "[::1]:8080"), ("HTTP://LOCALHOST:8080", "localhost:8080"),
     ("https://jobs.example.com", "127.0.0.1:8080")],
)  # fmt: skip
def test_our_own_origin_is_served(tmp_path: Path, origin: str, host: str) -> None:
    client = Backend(tmp_path, ALLOWED_HOSTS="jobs.example.com,localhost,[::1]").client()

    assert client.post("/api/jobs", json={}, headers={"Origin": origin, "Host": host}).status_code == 201


@pytest.mark.parametrize(
    ("origin", "host"),
    [("http://localhost:3000", "localhost:8080"), ("http://localhost", "localhost:8080"), ("http://127.0.0.1", "127.0.0.1:8080"),
     ("https://localhost", "localhost:80"), ("https://jobs.example.com:8443", "jobs.example.com"),
     ("https://a.example.org", "b.example.org"), ("http://localhost:3000", "jobs.example.com")],
)  # fmt: skip
def test_another_port_or_name_of_the_same_machine_is_another_origin(tmp_path: Path, origin: str, host: str) -> None:
    client = Backend(tmp_path, ALLOWED_HOSTS="jobs.example.com,localhost,.example.org").client()

    answer = client.post("/api/jobs", json={}, headers={"Origin": origin, "Host": host})

    assert error_of(answer)[:2] == (403, "origin_not_allowed")


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"])
def test_a_missing_or_wrong_token_is_refused(tmp_path: Path, given: str | None) -> None:
    client = Backend(tmp_path, API_TOKEN=TOKEN).client()

    answer = client.get("/nothing", headers={} if given is None else {"Authorization": given})

    assert error_of(answer)[:2] == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_right_token_and_health_without_one_are_served(tmp_path: Path) -> None:
    client = Backend(tmp_path, API_TOKEN=TOKEN).client()

    assert client.get("/jobs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client.get("/health").status_code == 200


def test_an_internal_error_does_not_reveal_its_cause(backend: Backend, client: FlaskClient) -> None:
    backend.roles["scheduler-8081"].tick = raise_secret  # type: ignore[method-assign]

    answer = client.get("/jobs")

    assert error_of(answer)[:2] == (500, "internal_error")
    assert "secret" not in answer.text


def raise_secret(inbox: object) -> float:
    raise RuntimeError("secret")


def test_the_document_describes_every_route_and_no_other(client: FlaskClient) -> None:
    document = json.loads(client.get("/openapi.json").data)

    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}

    assert document["openapi"] == "3.1.0"
    assert described == {(method, path.replace("<", "{").replace(">", "}")) for method, path in routes_of("gateway")}
    assert all(ref in document["components"]["schemas"] for ref in (route.answer for route in ROUTES if "gateway" in route.kinds))


def test_every_operation_has_what_generators_and_people_need(client: FlaskClient) -> None:
    document = json.loads(client.get("/openapi.json").data)
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}

    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-z][A-Za-z]+", name) for name in ids)
    assert {"submitJob", "submitJobs", "listJobs", "getJob", "cancelJob", "retryJob", "listTasks"} <= set(ids)
    assert {tag for operation in operations for tag in operation["tags"]} <= set(tags)
    assert all(operation["summary"] and operation["description"] and operation["responses"] for operation in operations)
    assert all(parameter["description"] for operation in operations for parameter in operation["parameters"])
    assert [server["url"] for server in document["servers"]] == [".", "http://127.0.0.1:8080"]


def test_the_examples_of_the_document_are_accepted(client: FlaskClient) -> None:
    schemas = json.loads(client.get("/openapi.json").data)["components"]["schemas"]
    for path, name in (("/api/jobs", "NewJob"), ("/api/jobs/batch", "NewBatch"), ("/api/jobs/cancel", "Selection")):
        for example in schemas[name]["examples"]:
            assert client.post(path, json=example).status_code in (200, 201)
    assert all(set(example) == set(schemas["Job"]["required"]) for example in schemas["Job"]["examples"])


def test_the_tasks_of_the_document_are_those_of_the_service(client: FlaskClient) -> None:
    schemas = json.loads(client.get("/openapi.json").data)["components"]["schemas"]

    assert schemas["NewJob"]["properties"]["task"]["enum"] == ["echo", "index", "resize", "sync"]


def test_a_route_without_a_row_gets_its_id_from_its_path() -> None:
    routes = {
        ("GET", "/api/hooks"): "listHooks", ("GET", "/api/hooks/<hook>"): "getHook", ("PUT", "/api/hooks/<hook>"): "putHook",
        ("DELETE", "/api/hooks/<hook>"): "deleteHook", ("POST", "/api/hooks/<hook>/test"): "testHook",
        ("GET", "/api/schedules/<name>/fires"): "getScheduleFires", ("POST", "/api/leases"): "createLease",
        ("POST", "/api/leases/settle"): "settleLeases",
    }  # fmt: skip

    assert {route: operation_of(*route).id for route in routes} == routes


@pytest.mark.parametrize("kind", KINDS)
def test_every_app_serves_exactly_its_rows(backend: Backend, kind: str) -> None:
    names = (
        "jobs", "logs", "history", "metrics", "component", "gateway", "pages", "schedules", "limits", "workflows", "leases",
        "hooks",
    )  # fmt: skip
    views = {name: AnyView() for name in names}
    app = create_app(kind, views, guards=None, error_handlers=None)  # type: ignore[arg-type]

    rules = [(rule.rule.replace("<string:", "<").replace("<path:", "<"), rule.methods or ()) for rule in app.url_map.iter_rules()]
    served = {(method, rule) for rule, methods in rules for method in methods if method != "HEAD"}

    assert served == set(routes_of(kind))


class AnyView:
    """An object that has every view."""

    def __getattr__(self, name: str) -> object:
        return lambda **more: "{}"


def test_a_job_that_waits_is_explained(backend: Backend, client: FlaskClient) -> None:
    job_id = client.post("/api/jobs", json={"delay_s": 3600}).json["job_id"]

    why = client.get(f"/api/jobs/{job_id}/why").json

    assert (why["job_id"], why["status"]) == (job_id, "pending")
    assert [reason["code"] for reason in why["reasons"]] == ["scheduled", "no_worker"]


def test_silent_components_are_among_the_reasons(backend: Backend, client: FlaskClient) -> None:
    job_id = client.post("/api/jobs", json={}).json["job_id"]
    backend.silent |= {"queue-6000", "watcher-9001"}

    codes = [reason["code"] for reason in client.get(f"/api/jobs/{job_id}/why").json["reasons"]]

    assert codes == ["no_watcher", "no_queue", "no_worker"]


def test_why_takes_an_existing_job_and_no_parameters(client: FlaskClient) -> None:
    assert client.get(f"/api/jobs/{'f' * 24}/why").status_code == 404
    assert client.get("/api/jobs/x/why").status_code == 400
    assert client.get(f"/api/jobs/{'f' * 24}/why?verbose=1").status_code == 400
