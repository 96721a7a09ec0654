"""The checks of `doctor` on a service: a healthy one, then one problem at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from jobyard.api.commands.check_service import look_at_health, look_at_jobs, look_at_processes
from jobyard.api.commands.findings import Finding, State, worst
from tests.unit.api.commands.conftest import FakeService

NOW = datetime(2026, 1, 4, 12, 0, tzinfo=UTC)
ID = "a" * 24


def stats(*, running: int = 0, executors: int = 5, popped: int = 0, **process: object) -> dict[str, Any]:
    worker = {"worker_id": "worker-7001", "concurrency": 5, "currently_running": running, "executors": [{}] * executors}
    row = {"name": "worker-7001", "restarts": 0, "uptime_s": 9000.0, "rss_bytes": 1 << 20} | process
    counts = dict.fromkeys(("pending", "claimed", "queued", "running", "completed", "failed", "cancelled"), 0)
    return {"jobs": counts, "processes": [row], "components": {"worker-7001": worker, "queue-6000": {"jobs_popped": popped}}}


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat()


def findings_about(
    service: FakeService, listed: dict[str, list[dict[str, Any]]], *, running: int = 0, code: str = "queue_not_served"
) -> list[Finding]:  # fmt: skip
    """The findings about these jobs, by status."""
    service.on("GET /api/jobs", lambda request: httpx.Response(200, json=listed.get(request.url.params["status"], [])))
    service.on(f"GET /api/jobs/{ID}/why", {"reasons": [{"code": code, "message": "no worker serves the queue slow"}]})
    return list(look_at_jobs(service.client(), stats(running=running), NOW))


def test_a_healthy_service_is_fine(service: FakeService) -> None:
    service.on("GET /health", {"status": "healthy", "components": {"queue-6000": {}}})

    found = [*look_at_health(service.client()), *look_at_processes(stats()), *findings_about(service, {})]

    assert worst(found) is State.FINE


def test_a_component_that_is_down_is_broken_and_named(service: FakeService) -> None:
    service.on("GET /health", {"status": "unhealthy", "down": ["queue-6000"], "components": {}})

    [found] = look_at_health(service.client())

    assert found.state is State.BROKEN and "queue-6000" in found.message and found.remedy


def test_a_component_that_cannot_write_is_not_blamed_for_a_full_disk(service: FakeService) -> None:
    full = {"status": "down", "reason": "the database is not available: database or disk is full"}
    components = {"worker-7001": full, "watcher-9001": full, "queue-6000": {"status": "down", "reason": "does not answer"}}
    service.on("GET /health", {"status": "unhealthy", "down": list(components), "components": components})

    of_the_disk, of_the_queue = look_at_health(service.client())

    assert of_the_disk.message == f"{full['reason']} (reported by worker-7001, watcher-9001)"
    assert "disk" in of_the_disk.remedy and "hung" not in of_the_disk.remedy
    assert of_the_queue.message == "down: queue-6000: does not answer"


def test_a_process_that_keeps_dying_is_a_warning() -> None:
    found = list(look_at_processes(stats(restarts=4, uptime_s=20.0)))

    assert worst(found) is State.WARNING and "worker-7001 was replaced 4 times" in found[0].message
    assert "process_ended" in found[0].remedy


def test_a_process_that_died_often_but_long_ago_is_fine() -> None:
    assert worst(look_at_processes(stats(restarts=4, uptime_s=90_000.0))) is State.FINE


def test_a_worker_whose_executors_were_not_needed_yet_is_fine() -> None:
    assert worst(look_at_processes(stats(executors=1))) is State.FINE


def test_a_job_past_its_timeout_is_a_warning_and_one_within_it_is_not(service: FakeService) -> None:
    late, in_time = [{"job_id": ID, "last_run_at": ago(100), "timeout_s": timeout_s} for timeout_s in (60, 120)]

    assert worst(findings_about(service, {"running": [late]}, running=1)) is State.WARNING
    assert worst(findings_about(service, {"running": [in_time]}, running=1)) is State.FINE


def test_a_job_that_waits_while_slots_are_free_is_a_warning_that_says_why(service: FakeService) -> None:
    found = findings_about(service, {"pending": [{"job_id": ID, "scheduled_at": ago(60)}]})

    assert worst(found) is State.WARNING
    assert "1 job (" in found[0].message and "no worker serves the queue slow" in found[0].message
    assert found[0].remedy == f"run bin/jobyard why {ID}"


def test_a_job_that_is_not_due_or_waits_for_a_slot_is_fine(service: FakeService) -> None:
    assert worst(findings_about(service, {"pending": [{"job_id": ID, "scheduled_at": ago(-3600)}]})) is State.FINE
    assert worst(findings_about(service, {"queued": [{"job_id": ID, "queued_at": ago(600)}]}, running=5)) is State.FINE


def test_a_moving_backlog_is_fine_and_a_stalled_one_is_not(service: FakeService) -> None:
    left = {"pending": [{"job_id": ID, "scheduled_at": ago(60)}]}

    moves = findings_about(service.on("GET /stats", stats(popped=5)), left, running=4, code="jobs_ahead")
    stands = findings_about(service.on("GET /stats", stats(popped=0)), left, running=4, code="jobs_ahead")

    assert (worst(moves), worst(stands)) == (State.FINE, State.WARNING)
