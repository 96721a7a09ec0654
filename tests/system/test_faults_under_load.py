"""Every acknowledged job is executed, whatever is killed or stopped; none is lost, and every job ends once."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.system import Jobyard
from tests.support.waiting import wait_for

ROLES = ("scheduler", "watcher", "queue", "worker", "gateway", "executor")
BATCH = 40


def submit_batch(jobyard: Jobyard, **fields: object) -> list[str]:
    """Submit a batch with keys, repeatedly until it is acknowledged: there is one job per key, whatever fails."""
    batch = {"jobs": [{"payload": number, **fields, "idempotency_key": os.urandom(8).hex()} for number in range(BATCH)]}

    def acknowledged() -> list[str] | None:
        answer = jobyard.ask("POST", "/api/jobs/batch", batch)
        return list(answer.json["job_ids"]) if answer.status in (200, 201) else None

    return wait_for(acknowledged, told="an acknowledged batch") or []


def counted(jobyard: Jobyard, status: str) -> int:
    return int(jobyard.stats()["jobs"].get(status, 0))


def wait_completed(jobyard: Jobyard, count: int, *, within_s: float = 300) -> None:
    wait_for(lambda: counted(jobyard, "completed") == count, within_s=within_s, told=f"{count} completed jobs")


def victim_of(jobyard: Jobyard, role: str, rng: random.Random) -> int:
    """The pid of a living process of this role."""
    if role == "executor":
        worker = psutil.Process(victim_of(jobyard, "worker", rng))
        return rng.choice(worker.children()).pid

    def living() -> list[int]:
        return [entry["pid"] for entry in jobyard.processes().values() if entry["role"] == role and entry["pid"]]

    return rng.choice(wait_for(living, told=f"a living {role}"))


@pytest.fixture(params=[pytest.param(25, id="short"), pytest.param(600, id="long", marks=pytest.mark.long)])
def rounds(request: pytest.FixtureRequest) -> Iterator[int]:
    yield request.param


def test_every_acknowledged_job_is_executed_under_random_kills(tmp_path: Path, rounds: int) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    rng = random.Random(seed)
    job_ids: list[str] = []
    with Jobyard(tmp_path, RETRY_BASE_S=0, MAX_LOST=1000) as jobyard:
        for turn in range(rounds):
            job_ids += submit_batch(jobyard, max_retries=100)
            try:
                os.kill(victim_of(jobyard, ROLES[turn % len(ROLES)], rng), signal.SIGKILL)
            except (ProcessLookupError, psutil.NoSuchProcess, IndexError):
                continue  # it died of an earlier fault

        wait_completed(jobyard, len(job_ids))

        assert len(set(job_ids)) == len(job_ids) == rounds * BATCH
        for job_id in rng.sample(job_ids, 20):
            executions = jobyard.executions(job_id)
            assert [execution["status"] for execution in executions].count("success") == 1
            assert [execution["attempt"] for execution in executions] == list(range(1, len(executions) + 1))
        wait_for(lambda: jobyard.get("/health").status == 200, told="good health")


def test_a_stop_and_a_start_lose_nothing_and_use_up_no_retry(tmp_path: Path) -> None:
    with Jobyard(tmp_path, DRAIN_S=0) as first:
        job_ids = [job_id for _ in range(20) for job_id in submit_batch(first)]
        later = submit_batch(first, delay_s=0.5)
        first.stop()

    with Jobyard(tmp_path) as second:
        wait_completed(second, len(job_ids) + len(later))

        jobs = second.get("/jobs?limit=1000").json
        assert {job["job_id"] for job in jobs} == set(job_ids + later)
        assert {(job["retry_count"], job["lost_count"]) for job in jobs} == {(0, 0)}


def test_all_counters_agree(tmp_path: Path) -> None:
    # a starved process is not replaced, since its counts would end with it, and keeps its leases
    with Jobyard(tmp_path, RETRY_BASE_S=0, HANG_S=300, LEASE_S=600) as jobyard:
        job_ids = [job_id for _ in range(10) for job_id in submit_batch(jobyard)]
        wait_completed(jobyard, len(job_ids))

        def sums() -> dict[str, int]:
            parts = jobyard.stats()["components"].values()
            counts = {
                name: sum(part.get(name, 0) for part in parts)
                for name in (
                    "jobs_accepted", "jobs_claimed", "jobs_queued", "jobs_pushed", "jobs_acked", "jobs_released", "jobs_succeeded",
                    "size",
                )
            }  # fmt: skip
            released = counts.pop("jobs_released")  # given back unstarted by an executor that was slow, and claimed again
            return counts | {name: counts[name] - released for name in ("jobs_claimed", "jobs_queued", "jobs_pushed")}

        expected = dict.fromkeys(sums(), len(job_ids)) | {"size": 0}
        with contextlib.suppress(AssertionError):  # the counts themselves tell more than that the wait was in vain
            wait_for(lambda: sums() == expected, told="equal counts")
        assert sums() == expected, jobyard.output()
