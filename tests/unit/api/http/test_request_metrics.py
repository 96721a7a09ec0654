"""Times of requests by route and class of status."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobyard.api.front.server import HTTP_WORKERS
from jobyard.api.http.request_metrics import RequestMetrics, request_id_of
from jobyard.engine.logs import Log
from tests.support.builders import a_log
from tests.support.world import FakeWorld


def test_a_request_counts_for_its_route_and_class() -> None:
    request_metrics = RequestMetrics(FakeWorld(), a_log())

    for route, status, seconds in (("GET /jobs", 200, 0.5), ("GET /jobs", 206, 0.25), ("GET /jobs", 404, 1), ("other", 404, 0)):
        request_metrics.note(route, status, seconds)

    counts = {labels: (histogram.count, histogram.sum_s) for labels, histogram in request_metrics.read().items()}
    assert counts == {("GET /jobs", "2xx"): (2, 0.75), ("GET /jobs", "4xx"): (1, 1.0), ("other", "4xx"): (1, 0.0)}


def test_no_request_of_any_thread_is_lost() -> None:
    request_metrics = RequestMetrics(FakeWorld(), a_log())

    with ThreadPoolExecutor(8) as threads:
        for _ in range(8):
            threads.submit(lambda: [request_metrics.note("GET /jobs", 200, 0.001) for _ in range(2_000)])

    assert request_metrics.read()["GET /jobs", "2xx"].count == 16_000


def test_one_http_worker_counts_for_all() -> None:
    assert HTTP_WORKERS == 1, "with several, each would tell only of itself: let them share what `http.request_metrics` counts"


@pytest.mark.parametrize("given", ["abc", "8f14e45f-ceea-467f-a8d5-0a1b2c3d4e5f", "a" * 128, "a.b_c~d:e@f/g+h=i"])
def test_the_clients_own_id_is_kept(given: str) -> None:
    environ = {"HTTP_X_REQUEST_ID": given}

    assert RequestMetrics(FakeWorld(), a_log()).begin(environ) == request_id_of(environ) == given


@pytest.mark.parametrize("given", [None, "", "a" * 129, "a b", "a,b", 'a"b', "a\n", "\xe9", "\x1b[1m", "\u0661", "<b>"])
def test_without_a_plain_one_an_id_is_made_and_no_two_are_the_same(given: str | None) -> None:
    request_metrics = RequestMetrics(FakeWorld(), a_log())
    environ = {} if given is None else {"HTTP_X_REQUEST_ID": given}

    first, second = request_metrics.begin({**environ}), request_metrics.begin({**environ})

    assert first != second and given not in (first, second)
    assert request_metrics.begin({"HTTP_X_REQUEST_ID": first}) == first


def test_at_debug_the_log_says_what_was_answered_to_whom(tmp_path: Path) -> None:
    log = Log(FakeWorld(), level="debug", fd=os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT))
    request_metrics = RequestMetrics(FakeWorld(), log)
    environ = {"HTTP_X_REQUEST_ID": "abc", "REQUEST_METHOD": "GET", "PATH_INFO": "/jobs\n"}

    request_metrics.begin(environ)
    request_metrics.end(environ, "GET /jobs", 200)
    refused = request_metrics.refuse(400)

    first, second = (tmp_path / "log").read_text().splitlines()
    assert first.endswith('request_answered request_id=abc method=GET path="/jobs\\n" status=200 took_ms=0.0')
    assert second.endswith(f"request_refused request_id={refused} status=400")
