"""Times of requests by route and class of status."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from api.server import HTTP_WORKERS
from api.traffic import Traffic


def test_a_request_counts_for_its_route_and_class() -> None:
    traffic = Traffic()

    for route, status, seconds in (("GET /jobs", 200, 0.5), ("GET /jobs", 206, 0.25), ("GET /jobs", 404, 1), ("other", 404, 0)):
        traffic.note(route, status, seconds)

    told = {labels: (spread.count, spread.sum_s) for labels, spread in traffic.read().items()}
    assert told == {("GET /jobs", "2xx"): (2, 0.75), ("GET /jobs", "4xx"): (1, 1.0), ("other", "4xx"): (1, 0.0)}


def test_no_request_of_any_thread_is_lost() -> None:
    traffic = Traffic()

    with ThreadPoolExecutor(8) as threads:
        for _ in range(8):
            threads.submit(lambda: [traffic.note("GET /jobs", 200, 0.001) for _ in range(2_000)])

    assert traffic.read()["GET /jobs", "2xx"].count == 16_000


def test_one_http_worker_counts_for_all() -> None:
    assert HTTP_WORKERS == 1, "with several, each would tell only of itself: let them share what `api.traffic` counts"
