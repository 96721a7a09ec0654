"""The last hour: what components tell, put together; and what is shown of it while control is away."""

from __future__ import annotations

from datetime import UTC, datetime

from flask.testing import FlaskClient

from jobyard.engine.metrics import MINUTES, ComponentCounters, Histogram, Minute, Totals, minute_of
from tests.http.conftest import Backend
from tests.http.test_jobs import error_of, submit

EMPTY = {"accepted": 0, "succeeded": 0, "failed": 0, "retried": 0, "lag_ms": None, "duration_ms": None}


def test_accepted_jobs_count_in_the_current_minute(backend: Backend, client: FlaskClient) -> None:
    submit(client)
    submit(client)

    history = client.get("/api/history").json

    assert list(history) == ["minutes", "queue_depth"] and len(history["minutes"]) == MINUTES
    assert sum(minute["accepted"] for minute in history["minutes"][-2:]) == 2
    assert [{**minute, "at": None} for minute in history["minutes"][:-2]] == [EMPTY | {"at": None}] * (MINUTES - 2)
    times = [datetime.fromisoformat(minute["at"]) for minute in history["minutes"]]
    assert {(later - earlier).total_seconds() for earlier, later in zip(times, times[1:], strict=False)} == {60.0}
    assert times[-1] <= datetime.now(UTC)
    assert history["queue_depth"] == {str(priority): 0 for priority in range(10)}


def test_the_histories_of_several_workers_are_merged(backend: Backend, client: FlaskClient) -> None:
    number = minute_of(backend.world) - 5

    def told(seconds: float) -> ComponentCounters:
        histogram = Histogram()
        for _ in range(10):
            histogram.note(seconds)
        counts = {"jobs_succeeded": 8, "jobs_failed": 2, "jobs_retried": 1, "jobs_lost": 7}
        minute = Minute(number=number, totals=Totals(counts=counts, histograms={"lag": histogram, "run": histogram}))
        forgotten = Minute(number=number - MINUTES, totals=Totals(counts={"jobs_failed": 5}))
        return ComponentCounters(started_at=1.0, stats={}, minutes=[forgotten, minute], depth=[1, *[0] * 8, 3])

    backend.components = ["worker-7001", "worker-7002"]
    backend.counters = {"worker-7001": told(0.0009), "worker-7002": told(0.9)}

    shown = client.get("/api/history").json

    minute = next(minute for minute in shown["minutes"] if minute["succeeded"])
    assert minute | {"at": None} == {
        "at": None, "accepted": 0, "succeeded": 16, "failed": 4, "retried": 2,
        "lag_ms": {"p50": 1.0, "p95": 963.0, "p99": 992.6}, "duration_ms": {"p50": 1.0, "p95": 963.0, "p99": 992.6},
    }  # fmt: skip
    assert (shown["queue_depth"]["0"], shown["queue_depth"]["9"]) == (2, 6)


def test_what_a_silent_component_told_before_stays(backend: Backend, client: FlaskClient) -> None:
    submit(client)
    client.get("/api/history")
    backend.silent |= {"queue-6000", "scheduler-8081"}

    shown = client.get("/api/history").json

    assert sum(minute["accepted"] for minute in shown["minutes"]) == 1
    assert len(shown["minutes"]) == MINUTES and len(shown["queue_depth"]) == 10


def test_while_control_is_away_the_last_look_stays_and_says_its_age(backend: Backend, client: FlaskClient) -> None:
    submit(client)
    client.get("/api/history")
    backend.control.is_away = True

    shown = client.get("/api/history").json

    assert sum(minute["accepted"] for minute in shown["minutes"]) == 1
    assert shown["stale_since"] and shown["age_s"] >= 0


def test_it_takes_no_parameters(client: FlaskClient) -> None:
    assert error_of(client.get("/api/history?minutes=5")) == (400, "unknown_field", "minutes")
