"""The first steps of a new user, and the counters afterwards."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from tests.support.notes import Notes
from tests.support.system import Jobyard
from tests.support.waiting import wait_for, wait_steady

PORTS = (8080, 8081, 8082, 8083, 9001, 9002, 9003, 6000, 7001, 7002, 7003)
SCHEDULERS, WATCHERS, QUEUE, WORKERS = (8081, 8082, 8083), (9001, 9002, 9003), (6000,), (7001, 7002, 7003)

STATS = {
    SCHEDULERS: {"scheduler_id", "jobs_accepted", "requests", "uptime_s"},
    WATCHERS: {
        "watcher_id", "jobs_claimed", "jobs_queued", "claim_conflicts", "last_claim_time", "last_queued_time", "polls", "uptime_s",
    },
    QUEUE: {
        "queue_id", "size", "ready", "leased", "jobs_pushed", "jobs_popped", "jobs_acked", "jobs_released", "jobs_recovered",
        "last_push_time", "last_pop_time", "uptime_s",
    },
    WORKERS: {
        "worker_id", "concurrency", "currently_running", "jobs_succeeded", "jobs_failed", "jobs_retried", "jobs_lost",
        "last_execution_time", "executors", "uptime_s",
    },
}  # fmt: skip

FIELDS = {
    "job_id", "task", "payload", "queue", "priority", "status", "scheduled_at", "created_at", "updated_at", "claimed_by",
    "claimed_at", "queued_at", "locked_by", "locked_until", "last_run_at", "next_run_at", "finished_at", "attempt", "epoch",
    "lost_count", "retry_count", "max_retries", "timeout_s", "idempotency_key", "result", "error", "unique_key", "limit", "after",
    "run_if", "ref", "group", "schedule", "fire_at", "expires_s", "expires_at", "cancelled_because", "traceparent", "tracestate",
    "tags",
}  # fmt: skip

JOBS = 60


def totals(jobyard: Jobyard) -> Counter[str]:
    """The counters of all components, summed by name, and the jobs by status."""
    summed: Counter[str] = Counter()
    for ports in STATS:
        for port in ports:
            stats = jobyard.get("/stats", port=port).json
            summed.update({name: count for name, count in stats.items() if name.startswith("jobs_")})
    summed.update(jobyard.stats()["jobs"])
    return summed


def wait_quiet(jobyard: Jobyard) -> None:
    wait_for(lambda: jobyard.get("/stats", port=6000).json["size"] == 0, told="an empty queue")


def submit_all(jobyard: Jobyard, jobs: list[dict[str, Any]]) -> list[str]:
    answer = jobyard.ask("POST", "/api/jobs/batch", {"jobs": jobs})
    assert answer.status == 201, answer
    return list(answer.json["job_ids"])


def test_a_first_job_is_accepted_run_and_shown(jobyard: Jobyard) -> None:
    answer = jobyard.ask("POST", "/api/jobs", {"payload": "test job"})

    job_id = answer.json["job_id"]
    job = jobyard.wait_for_job(job_id)
    assert (answer.status, answer.json["status"], answer.headers["Location"]) == (201, "pending", f"/api/jobs/{job_id}")
    assert set(job) == FIELDS
    assert (job["task"], job["payload"], job["result"], job["error"], job["attempt"]) == ("echo", "test job", "test job", None, 1)
    assert jobyard.get(f"/job?job_id={job_id}").json == job
    assert job_id in [shown["job_id"] for shown in jobyard.get("/jobs").json]
    assert job_id in [shown["job_id"] for shown in jobyard.get("/jobs?status=completed").json]
    assert job_id not in [shown["job_id"] for shown in jobyard.get("/jobs?status=pending").json]


def test_an_attempt_leaves_an_execution(jobyard: Jobyard) -> None:
    job_id = jobyard.submit("test job")
    jobyard.wait_for_job(job_id)

    [execution] = jobyard.executions(job_id)

    assert set(execution) == {
        "execution_id", "job_id", "attempt", "worker_id", "status", "started_at", "finished_at", "duration_ms", "error_message",
        "traceback",
    }  # fmt: skip
    assert (execution["job_id"], execution["attempt"], execution["status"]) == (job_id, 1, "success")
    assert execution["started_at"] <= execution["finished_at"]


@pytest.mark.parametrize(("ports", "names"), STATS.items())
def test_every_component_has_the_documented_stats(jobyard: Jobyard, ports: tuple[int, ...], names: set[str]) -> None:
    for port in ports:
        assert set(jobyard.get("/stats", port=port).json) >= names


@pytest.mark.parametrize("port", PORTS)
def test_every_port_is_healthy_and_answers_errors_in_one_form(jobyard: Jobyard, port: int) -> None:
    health, nowhere = jobyard.get("/health", port=port), jobyard.get("/nowhere", port=port)
    wrong_method = jobyard.ask("DELETE", "/health", port=port)

    assert (health.status, health.json["status"]) == (200, "healthy")
    assert (nowhere.status, set(nowhere.json["error"])) == (404, {"code", "message", "field"})
    assert (wrong_method.status, "GET" in wrong_method.headers["Allow"]) == (405, True)


def test_a_scheduler_accepts_jobs(jobyard: Jobyard) -> None:
    for port in SCHEDULERS:
        answer = jobyard.ask("POST", "/schedule", {"payload": port}, port=port)

        assert answer.status == 201
        assert jobyard.wait_for_job(answer.json["job_id"])["result"] == port


def test_stats_add_up(jobyard: Jobyard, notes: Notes) -> None:
    wait_quiet(jobyard)
    before = wait_steady(lambda: totals(jobyard))

    good = submit_all(jobyard, [{"payload": number} for number in range(JOBS)])
    bad = jobyard.submit(notes.payload(), task="fail", max_retries=2)
    jobyard.wait_for_job(bad, status="failed")
    for job_id in good:
        jobyard.wait_for_job(job_id)
    wait_quiet(jobyard)

    executions = [row for job_id in (*good, bad) for row in jobyard.get(f"/api/jobs/{job_id}/executions").json]
    attempts = len(executions)
    assert attempts - [row["status"] for row in executions].count("released") == JOBS + 3
    moved = wait_steady(lambda: totals(jobyard)) - before
    moved["jobs_popped"] -= moved.pop("jobs_released", 0)  # a ticket that waited too long is released and handed out again
    assert moved == Counter(
        jobs_accepted=JOBS + 1, completed=JOBS, failed=1, jobs_claimed=attempts, jobs_queued=attempts, jobs_pushed=attempts,
        jobs_popped=attempts, jobs_acked=attempts, jobs_succeeded=JOBS, jobs_failed=1, jobs_retried=2,
    )  # fmt: skip


def test_the_roster_names_every_process(jobyard: Jobyard) -> None:
    processes = jobyard.processes()

    assert {"supervisor", "gateway-8080", "scheduler-8081", "watcher-9003", "queue-6000", "worker-7002"} <= set(processes)
    for entry in processes.values():
        assert {"name", "role", "pid", "status", "restarts", "uptime_s", "rss_bytes", "cpu_percent"} <= set(entry)


def test_a_batch_keeps_its_order(jobyard: Jobyard) -> None:
    lines = b"\n".join(json.dumps({"payload": number}).encode() for number in range(50))

    answer = jobyard.ask("POST", "/api/jobs/batch", lines, headers={"Content-Type": "application/x-ndjson"})

    assert [jobyard.job(job_id)["payload"] for job_id in answer.json["job_ids"]] == list(range(50))


def test_one_bad_job_refuses_its_whole_batch(jobyard: Jobyard) -> None:
    before = jobyard.get("/jobs?limit=1").json[0]["job_id"]

    answer = jobyard.ask("POST", "/api/jobs/batch", {"jobs": [{"payload": 1}, {"payload": 2, "priority": "urgent"}]})

    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_field")
    assert "1" in answer.json["error"]["field"]
    assert jobyard.get("/jobs?limit=1").json[0]["job_id"] == before


def test_the_same_key_with_the_same_body_is_one_job(jobyard: Jobyard) -> None:
    first = jobyard.ask("POST", "/api/jobs", {"payload": 1, "idempotency_key": "walkthrough"})
    again = jobyard.ask("POST", "/api/jobs", {"payload": 1, "idempotency_key": "walkthrough"})
    other = jobyard.ask("POST", "/api/jobs", {"payload": 2, "idempotency_key": "walkthrough"})

    assert (first.status, again.status, other.status) == (201, 200, 409)
    assert first.json["job_id"] == again.json["job_id"]


def test_a_coroutine_can_be_a_task(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(value={"ok": True}, for_s=0.01), task="run_async")

    assert jobyard.wait_for_job(job_id)["result"] == {"ok": True}


def test_a_tasks_output_is_logged_with_its_job(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(size=300), task="speak")
    jobyard.wait_for_job(job_id)

    wait_for(lambda: any(job_id in line and "y" * 300 in line for line in jobyard.output().splitlines()), told="the words")


def test_much_output_does_not_stop_a_task(jobyard: Jobyard, notes: Notes) -> None:
    job_id = jobyard.submit(notes.payload(size=3_000_000), task="speak")

    jobyard.wait_for_job(job_id)


def test_a_job_runs_when_it_is_due_and_not_before(jobyard: Jobyard, notes: Notes) -> None:
    job_ids = [jobyard.submit(notes.payload(), task="run", delay_s=0.3 + 0.1 * number) for number in range(5)]

    for job_id in job_ids:
        begun, due = notes.wait(job_id), jobyard.job(job_id)["scheduled_at"]
        assert begun.wall_s >= to_seconds(due)


def to_seconds(rfc3339: str) -> float:
    return datetime.fromisoformat(rfc3339).timestamp()
