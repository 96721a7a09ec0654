"""Jobs that wait for others, in a running system: results, fan-in, chains, and everything killed in the middle of them."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.system import Jobyard
from tests.support.waiting import wait_for

MEMBERS = 150
STEPS = 25
KILLED = ("watcher-9001", "worker-7001", "watcher-9002", "worker-7002", "watcher-9003", "worker-7003", "scheduler-8081")


def batch(jobyard: Jobyard, jobs: list[dict[str, Any]]) -> list[str]:
    answer = jobyard.ask("POST", "/api/jobs/batch", {"jobs": jobs})
    assert answer.status == 201, answer.body
    ids: list[str] = answer.json["job_ids"]
    return ids


def at(job: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(job[name])


def test_a_diamond_runs_in_order_and_hands_results_on(jobyard: Jobyard) -> None:
    *_, d = ids = batch(
        jobyard,
        [
            {"ref": "a", "payload": 1},
            {"ref": "b", "payload": [2], "after": ["a"]},
            {"ref": "c", "payload": "3", "after": ["a"]},
            {"ref": "d", "task": "collect", "after": ["b", "c"]},
        ],
    )

    jobs = [jobyard.wait_for_job(job_id) for job_id in ids]

    assert jobyard.job(d)["result"] == {"results": {"b": [2], "c": "3"}, "group": None}
    assert all(at(later, "last_run_at") >= at(jobs[0], "finished_at") for later in jobs[1:])
    assert [job["attempt"] for job in jobs] == [1, 1, 1, 1]


def test_a_callback_reads_its_group_and_begins_once(jobyard: Jobyard) -> None:
    *members, join = batch(
        jobyard,
        [{"payload": number, "group": "system:fan-in"} for number in range(40)]
        + [{"task": "collect", "payload": "system:fan-in", "after": [{"group": "system:fan-in"}]}],
    )

    told = jobyard.wait_for_job(join)

    assert [(row[0], row[2]) for row in told["result"]["group"]] == [(job_id, n) for n, job_id in enumerate(members)]
    assert told["attempt"] == 1
    answer = jobyard.get("/api/groups/system:fan-in")
    assert answer.status == 200, answer.body
    group = answer.json
    assert (group["counts"]["completed"], group["waiting"]) == (40, [])
    assert at(told, "last_run_at") >= datetime.fromisoformat(group["ended_at"])


def test_a_failure_cancels_what_waits_and_the_retry_restores_it(jobyard: Jobyard) -> None:
    first, second = batch(jobyard, [{"ref": "a", "task": "collect", "payload": 7, "max_retries": 0}, {"after": ["a"]}])
    jobyard.wait_for_job(first, status="failed")
    cancelled = jobyard.wait_for_job(second, status="cancelled")
    assert (cancelled["cancelled_because"], cancelled["attempt"]) == ({"reason": "dependency_failed", "job_id": first}, 0)

    assert jobyard.ask("POST", f"/api/jobs/{second}/retry").status == 409
    assert jobyard.ask("POST", f"/api/jobs/{first}/retry", {"payload": None}).json["status"] == "pending"

    assert jobyard.wait_for_job(second)["cancelled_because"] is None


def test_nothing_stays_blocked_and_nothing_begins_early_whatever_is_killed(tmp_path: Path) -> None:
    """kill -9 of watchers, workers and a scheduler, one after the other, during a fan-in and a chain."""
    with Jobyard(tmp_path, TASKS="system_tasks", RETRY_BASE_S=0.1, POLL_S=0.5, MAX_LOST=100) as jobyard:
        *members, join = batch(
            jobyard,
            [{"task": "collect", "group": "killed"} for _ in range(MEMBERS)]
            + [{"task": "collect", "payload": "killed", "after": [{"group": "killed"}], "run_if": "ended"}],
        )
        steps = batch(jobyard, [{"ref": str(n), "after": [str(n - 1)] if n else None} for n in range(STEPS)])

        for name in KILLED:
            jobyard.wait_replaced(name, jobyard.kill(name))
        jobs = {job_id: wait_for(lambda job_id=job_id: finished(jobyard, job_id)) for job_id in [*members, join, *steps]}

        assert Counter(job["status"] for job in jobs.values()) == {"completed": MEMBERS + 1 + STEPS}
        assert len(jobs[join]["result"]["group"]) == MEMBERS
        assert at(jobs[join], "claimed_at") >= max(at(jobs[member], "finished_at") for member in members)
        assert all(at(jobs[later], "claimed_at") >= at(jobs[one], "finished_at") for one, later in itertools.pairwise(steps))
        assert jobyard.stats()["jobs"]["blocked"] == 0


def finished(jobyard: Jobyard, job_id: str) -> Any:
    job = jobyard.job(job_id)
    return job if job["finished_at"] is not None else None
