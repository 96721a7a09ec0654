"""`GET /metrics`: clean text, bounded labels, the same numbers as `/stats` and the database."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from flask.testing import FlaskClient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from jobyard.api.views.prometheus import ROWS, Row
from jobyard.engine.metrics import MOST_TASKS, ComponentCounters, Histogram
from jobyard.engine.worker.attempt_metrics import AttemptMetrics
from tests.http.conftest import NAMES, Backend
from tests.http.test_jobs import error_of, submit
from tests.support.builders import a_job

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
SUFFIXES = {"counter": "_total", "info": "_info"}


def families(client: FlaskClient) -> dict[str, Metric]:
    answer = client.get("/metrics")
    assert (answer.status_code, answer.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    listed = list(text_string_to_metric_families(answer.text))
    assert len({family.name for family in listed}) == len(listed)
    return {family.name: family for family in listed}


def value(family: Metric, suffix: str = "", **labels: str) -> float:
    (found,) = [one.value for one in family.samples if one.name.removeprefix(family.name) == suffix and one.labels == labels]
    return float(found)


def worker(backend: Backend, attempt_metrics: AttemptMetrics) -> None:
    """One more component, which tells this."""
    backend.components.append("worker-7001")
    stats = {"jobs_succeeded": 3, "jobs_failed": 1, "jobs_retried": 0, "jobs_lost": 0, "concurrency": 5, "currently_running": 2,
             "has_template": True}  # fmt: skip
    backend.counters["worker-7001"] = ComponentCounters(
        started_at=1.0, stats=stats, counts={"stale_writes": 7}, attempts=attempt_metrics.attempts,
        histograms={"lag": attempt_metrics.lag, "run": attempt_metrics.run},
    )  # fmt: skip


def metric_name(row: Row) -> str:
    return row.name + SUFFIXES.get(row.kind, "")


def test_metrics_agree_with_stats_and_the_database(backend: Backend, client: FlaskClient) -> None:
    submit(client)
    submit(client, delay_s=60)

    shown = families(client)
    stats = client.get("/stats").json

    assert {one.labels["status"]: one.value for one in shown["jobyard_jobs"].samples} == stats["jobs"]
    assert {status: count for status, count in backend.store.counts().items() if count} == {"pending": 2}
    accepted = stats["components"]["scheduler-8081"]["jobs_accepted"]
    assert value(shown["jobyard_jobs_accepted"], "_total", component="scheduler-8081") == accepted == 2
    for name in ("polls", "jobs_claimed"):
        family = shown["jobyard_watcher_polls" if name == "polls" else "jobyard_jobs_claimed"]
        assert value(family, "_total", component="watcher-9001") == stats["components"]["watcher-9001"][name]
    assert [one.value for one in shown["jobyard_queue_depth"].samples] == [0] * 10
    assert {one.labels["component"]: one.value for one in shown["jobyard_component_up"].samples} == dict.fromkeys(NAMES, 1)


def test_a_workers_distributions_become_histograms(backend: Backend, client: FlaskClient) -> None:
    attempt_metrics = AttemptMetrics()
    for duration_ms in (0, 5, 5, 2_000_000_000):
        attempt_metrics.note_ended("echo", "success", duration_ms)
    worker(backend, attempt_metrics)

    shown = families(client)

    run = shown["jobyard_run_seconds"]
    buckets = [(one.labels["le"], one.value) for one in run.samples if one.name.endswith("_bucket")]
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    assert (dict(buckets)["0.004"], dict(buckets)["0.0063"], dict(buckets)["100000.0"], buckets[-1]) == (1, 3, 3, ("+Inf", 4))
    assert value(run, "_count", component="worker-7001") == 4
    assert value(run, "_sum", component="worker-7001") == pytest.approx(2_000_000.01)
    assert value(shown["jobyard_attempts"], "_total", component="worker-7001", task="echo", outcome="success") == 4
    assert value(shown["jobyard_stale_writes"], "_total", component="worker-7001") == 7


def test_a_thousand_tasks_make_a_hundred_labels_at_most(backend: Backend, client: FlaskClient) -> None:
    attempt_metrics = AttemptMetrics()
    for number in range(1000):
        attempt_metrics.note_ended(f'task "{number}"\n\\', "failed", 1)
    worker(backend, attempt_metrics)

    attempts = families(client)["jobyard_attempts"]

    tasks = {one.labels["task"]: one.value for one in attempts.samples}
    assert len(tasks) == MOST_TASKS + 1 and sum(tasks.values()) == 1000
    assert tasks['task "7"\n\\'] == 1 and tasks["other"] == 1000 - MOST_TASKS


def test_a_component_that_shows_no_sign_of_life_is_down_and_its_last_counters_are_told_with_their_age(
    backend: Backend, client: FlaskClient
) -> None:
    submit(client)
    client.get("/metrics")
    backend.silent |= {"scheduler-8081", "supervisor"}

    shown = families(client)

    up = {one.labels["component"]: one.value for one in shown["jobyard_component_up"].samples}
    assert up == {"scheduler-8081": 0, "supervisor": 0, "queue-6000": 1, "watcher-9001": 1}
    assert value(shown["jobyard_jobs_accepted"], "_total", component="scheduler-8081") == 1
    assert value(shown["jobyard_component_stale_seconds"], component="scheduler-8081") >= 5
    assert value(shown["jobyard_component_stale_seconds"], component="queue-6000") == 0
    assert "jobyard_jobs" not in shown


def test_a_scrape_while_control_is_away_tells_the_last_numbers_with_their_age(backend: Backend, client: FlaskClient) -> None:
    submit(client)
    client.get("/metrics")
    backend.control.is_away = True

    shown = families(client)

    assert value(shown["jobyard_component_up"], component="queue-6000") == 1
    assert value(shown["jobyard_jobs_accepted"], "_total", component="scheduler-8081") == 1
    assert "jobyard_component_stale_seconds" in shown


def test_a_scrape_asks_control_once_and_no_component_but_a_scheduler(backend: Backend, client: FlaskClient) -> None:
    client.get("/metrics")
    backend.asked.clear()
    overviews = backend.control.overviews

    client.get("/metrics")

    assert {type(message).__name__ for message in backend.asked} == {"Ping", "CountJobs", "ReportDue"}
    assert backend.control.overviews == overviews + 1


def test_request_durations_are_shown_by_route_and_status_class(backend: Backend, client: FlaskClient) -> None:
    histogram = Histogram()
    histogram.note(0.02)
    backend.request_metrics.note("GET /jobs", 200, 0.02)

    http = families(client)["jobyard_http_request_seconds"]

    buckets = {one.labels["le"]: one.value for one in http.samples if one.name.endswith("_bucket")}
    assert (buckets["0.01"], buckets["0.025"], buckets["+Inf"]) == (0, 1, 1)
    assert value(http, "_sum", route="GET /jobs", status="2xx") == 0.02


def test_due_jobs_and_the_age_of_the_oldest_are_shown_by_queue_and_task(backend: Backend, client: FlaskClient) -> None:
    long_ago = backend.world.now() - timedelta(seconds=500)
    backend.store.insert([[
        a_job(task="mail", queue="slow", scheduled_at=long_ago), a_job(task="mail"), a_job(task="echo", queue="slow"),
        a_job(task="later", queue="later", scheduled_at=backend.world.now() + timedelta(hours=1)),
    ]])  # fmt: skip

    shown = families(client)

    assert {one.labels["queue"]: one.value for one in shown["jobyard_jobs_due"].samples} == {"default": 1, "slow": 2}
    assert {one.labels["task"]: one.value for one in shown["jobyard_task_jobs_due"].samples} == {"echo": 1, "mail": 2}
    assert 500 <= value(shown["jobyard_oldest_due_job_seconds"], queue="slow") < 100_000_000
    assert value(shown["jobyard_task_oldest_due_job_seconds"], task="mail") >= 500


def test_many_queues_and_tasks_share_a_label(backend: Backend, client: FlaskClient) -> None:
    backend.store.insert([[a_job(task=f"t{number:03}", queue=f"q{number:03}") for number in range(MOST_TASKS + 20)]])

    shown = families(client)

    for name, label in (("jobyard_jobs_due", "queue"), ("jobyard_task_jobs_due", "task")):
        counts = {one.labels[label]: one.value for one in shown[name].samples}
        assert len(counts) == MOST_TASKS + 1 and counts["other"] == 20


def test_the_page_lists_exactly_the_metrics(backend: Backend, client: FlaskClient) -> None:
    submit(client)
    attempt_metrics = AttemptMetrics()
    attempt_metrics.note_ended("echo", "success", 5)
    worker(backend, attempt_metrics)
    backend.request_metrics.note("GET /jobs", 200, 0.02)

    shown = families(client)
    lines = [balancer for balancer in PAGE.read_text("utf-8").splitlines() if balancer.startswith("| `jobyard_")]

    assert lines == [f"| `{metric_name(row)}` | {row.kind} | {', '.join(row.labels)} | {row.meaning} |" for row in ROWS]
    assert set(shown) == {row.name + (row.kind == "info") * "_info" for row in ROWS}
    types = {row.name + (row.kind == "info") * "_info": row for row in ROWS}
    for name, family in shown.items():
        assert family.type == {"info": "gauge"}.get(types[name].kind, types[name].kind)
        assert family.documentation == types[name].meaning
        assert {*family.samples[0].labels} - {"le"} == {*types[name].labels}


def test_it_takes_no_parameters(client: FlaskClient) -> None:
    assert error_of(client.get("/metrics?x=1")) == (400, "unknown_field", "x")


@pytest.mark.parametrize("name", ["grafana.json", "alerts.yml"])
def test_the_dashboard_and_the_alerts_use_existing_metrics_and_labels(name: str) -> None:
    text = (PAGE.parent / name).read_text("utf-8")
    known = {metric_name(row) for row in ROWS} | {
        f"{row.name}_{part}" for row in ROWS if row.kind == "histogram" for part in ("bucket", "count", "sum")
    }

    named = set(re.findall(r"jobyard_[a-z_]+", text))
    shown = re.findall(r"by \(([a-z, ]+)\)|\{\{ ?(?:\$labels\.)?([a-z]+) ?\}\}", text)
    labels = {label for one in shown for label in re.findall(r"\w+", " ".join(one))}

    assert named <= known and len(named) > 5
    assert labels <= {label for row in ROWS for label in row.labels} | {"le"}


def test_the_alerts_are_valid_rules() -> None:
    (group,) = yaml.safe_load((PAGE.parent / "alerts.yml").read_text("utf-8"))["groups"]

    for rule in group["rules"]:
        assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["expr"].count("(") == rule["expr"].count(")")
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_the_alerts_fire_when_they_should() -> None:
    tests = Path(__file__).with_name("alerts_test.yml")

    told = subprocess.run(["promtool", "test", "rules", str(tests)], capture_output=True, text=True, timeout=120, check=False)

    assert told.returncode == 0, told.stdout + told.stderr


def test_every_alert_has_a_test() -> None:
    alerts = yaml.safe_load((PAGE.parent / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    tests = yaml.safe_load(Path(__file__).with_name("alerts_test.yml").read_text("utf-8"))["tests"]

    fired = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]}
    assert {rule["alert"] for rule in alerts} == fired


def test_the_grafana_dashboard_is_valid() -> None:
    board = json.loads((PAGE.parent / "grafana.json").read_text("utf-8"))

    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in board["panels"]})
    assert all(target["expr"].count("(") == target["expr"].count(")") for panel in board["panels"] for target in panel["targets"])
