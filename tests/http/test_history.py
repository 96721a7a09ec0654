"""The last hour: the histories of all components, merged, and what is missing when one does not answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from jobyard.engine.metrics import MINUTES, Histogram, Minute, Totals, minute_of
from jobyard.engine.wire.messages import History
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
    assert 0 <= (datetime.now(UTC) - times[-1]).total_seconds() < 61
    assert history["queue_depth"] == {str(priority): 0 for priority in range(10)}


def test_the_histories_of_several_workers_are_merged(backend: Backend, client: FlaskClient) -> None:
    number = minute_of(backend.world) - 5

    def worker_history(seconds: float) -> History:
        histogram = Histogram()
        for _ in range(10):
            histogram.note(seconds)
        counts = {"jobs_succeeded": 8, "jobs_failed": 2, "jobs_retried": 1, "jobs_lost": 7}
        minute = Minute(number=number, totals=Totals(counts=counts, histograms={"lag": histogram, "run": histogram}))
        forgotten = Minute(number=number - MINUTES, totals=Totals(counts={"jobs_failed": 5}))
        return History(minutes=[forgotten, minute], depth=[1, *[0] * 8, 3])

    backend.components = ["worker-7001", "worker-7002"]
    backend.answers = {"worker-7001": [worker_history(0.0009)], "worker-7002": [worker_history(0.9)]}

    shown = client.get("/api/history").json

    minute = next(minute for minute in shown["minutes"] if minute["succeeded"])
    assert minute | {"at": None} == {
        "at": None, "accepted": 0, "succeeded": 16, "failed": 4, "retried": 2,
        "lag_ms": {"p50": 1.0, "p95": 963.0, "p99": 992.6}, "duration_ms": {"p50": 1.0, "p95": 963.0, "p99": 992.6},
    }  # fmt: skip
    assert (shown["queue_depth"]["0"], shown["queue_depth"]["9"]) == (2, 6)


@pytest.mark.parametrize("silent", [{"scheduler-8081"}, {"queue-6000", "scheduler-8081"}])
def test_a_silent_component_is_left_out_of_the_history(backend: Backend, client: FlaskClient, silent: set[str]) -> None:
    submit(client)
    backend.silent |= silent

    history = client.get("/api/history").json

    assert sum(minute["accepted"] for minute in history["minutes"]) == 0
    assert len(history["minutes"]) == MINUTES and len(history["queue_depth"]) == 10


def test_it_takes_no_parameters(client: FlaskClient) -> None:
    assert error_of(client.get("/api/history?minutes=5")) == (400, "unknown_field", "minutes")
