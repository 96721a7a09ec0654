"""The counters of real processes agree with the database and the executions."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.notes import Notes
from tests.support.system import Answer, Jobyard
from tests.support.waiting import wait_for

TASK = "ask_again"


def samples(jobyard: Jobyard) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer: Answer = jobyard.get("/metrics")
    assert answer.status == 200
    families = text_string_to_metric_families(answer.body.decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def summed(sampled: dict[Any, float], name: str, **labels: str) -> float:
    """The sum over all components."""
    return sum(value for (named, having), value in sampled.items() if named == name and labels.items() <= dict(having).items())


def test_metrics_stats_history_and_executions_agree(jobyard: Jobyard, notes: Notes) -> None:
    before = samples(jobyard)
    ids = [jobyard.submit(notes.payload(times=2, delay_s=0), task=TASK) for _ in range(3)]
    for job_id in ids:
        jobyard.wait_for_job(job_id)
    succeeded = lambda told: summed(told, "jobyard_attempts_total", task=TASK, outcome="success")  # noqa: E731
    wait_for(lambda: succeeded(samples(jobyard)) - succeeded(before) == 3, told="what was counted just now")

    after = samples(jobyard)

    stats = jobyard.stats()["components"]
    minutes = jobyard.get("/api/history").json["minutes"]
    post = {"route": "POST /api/jobs", "status": "2xx"}
    submitted = [summed(sampled, "jobyard_http_request_seconds_count", **post) for sampled in (before, after)]
    last = samples(jobyard)  # jobs of other tests may have ended meanwhile
    executions = [row for job_id in ids for row in jobyard.executions(job_id)]
    for outcome, count in (("success", 3), ("failed", 6)):
        ended = [summed(sampled, "jobyard_attempts_total", task=TASK, outcome=outcome) for sampled in (before, after)]
        assert ended[1] - ended[0] == sum(row["status"] == outcome for row in executions) == count
    for key, name in (("jobs_succeeded", "jobyard_jobs_succeeded_total"), ("jobs_retried", "jobyard_jobs_retried_total")):
        assert summed(after, name) <= sum(counters.get(key, 0) for counters in stats.values()) <= summed(last, name)
    for key in ("accepted", "succeeded", "retried"):
        name = f"jobyard_jobs_{key}_total"
        assert summed(after, name) <= sum(minute[key] for minute in minutes) <= summed(last, name)
    for name in ("jobyard_schedule_lag_seconds_count", "jobyard_run_seconds_count"):
        assert summed(after, name) - summed(before, name) >= len(executions)
    assert submitted[1] - submitted[0] == len(ids)
