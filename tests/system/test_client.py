"""The client against a running system: its documentation is correct, and whatever is killed, no job is lost or doubled."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio
import psutil
import pytest

from jobyard import AsyncClient, Client
from jobyard.engine.jobs.job import Status
from tests.support.system import CHECKOUT, Jobyard
from tests.support.waiting import LIMIT_S, wait_for

JOBS = 4_000
CHUNK = 50
DOCUMENTED_URL = "http://127.0.0.1:8080"


def url_of(jobyard: Jobyard) -> str:
    return f"http://127.0.0.1:{jobyard.port()}"


class ThrottledJobs:
    """Jobs that are produced only as fast as the test allows."""

    def __init__(self) -> None:
        self.taken = 0
        self._allowed = threading.Semaphore(0)

    def allow(self, count: int) -> None:
        self._allowed.release(count)

    def __iter__(self) -> Iterator[dict[str, object]]:
        for number in range(JOBS):
            self._allowed.acquire()
            self.taken += 1
            yield {"payload": number}


@pytest.mark.parametrize("victim", ["gateway-8080", "scheduler-8081"])
def test_submit_many_stores_every_job_once_whichever_process_is_killed(tmp_path: Path, victim: str) -> None:
    job_ids: list[str] = []
    jobs = ThrottledJobs()
    with Jobyard(tmp_path, WORKERS=1) as jobyard, Client(url_of(jobyard)) as client:
        submitting = threading.Thread(target=lambda: job_ids.extend(client.submit_many(jobs, CHUNK)), daemon=True)
        submitting.start()
        for part in range(1, 5):
            jobs.allow(JOBS // 4)
            wait_for(lambda: jobs.taken > (part - 0.9) * JOBS // 4, told="some of this part sent")  # noqa: B023
            jobyard.wait_replaced(victim, jobyard.kill(victim))
        submitting.join(LIMIT_S)

        assert not submitting.is_alive() and len(job_ids) == len(set(job_ids)) == JOBS
        stored = {job.job_id: job.payload for job in client.iter_jobs(page=1000)}
        assert [stored[job_id] for job_id in job_ids] == list(range(JOBS)) and len(stored) == JOBS
        wait_for(lambda: client.stats()["jobs"]["completed"] == JOBS, told="the end of all jobs")


def test_one_client_serves_many_threads(jobyard: Jobyard) -> None:
    with Client(url_of(jobyard)) as client:
        results: list[object] = []

        def ask(number: int) -> None:
            results.append(client.wait(client.submit(payload=number), 20).raise_for_status().result)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)

    assert sorted(map(int, map(str, results))) == list(range(20))


def test_consecutive_requests_share_a_connection(jobyard: Jobyard) -> None:
    def connections() -> int:
        mine = psutil.Process().net_connections("tcp")
        return sum(bool(one.raddr) and one.raddr.port == jobyard.port() and one.status == "ESTABLISHED" for one in mine)

    before = connections()
    with Client(url_of(jobyard)) as client:
        for number in range(20):
            client.submit(payload=number)

        assert connections() == before + 1

    assert connections() == before


def test_the_asynchronous_client_works_the_same(jobyard: Jobyard) -> None:
    async def main() -> None:
        async with AsyncClient(url_of(jobyard)) as client:
            ids = await client.submit_many(({"payload": number, "queue": "of_async"} for number in range(30)), 7)
            jobs = [await client.wait(job_id, 20) for job_id in ids]
            listed = [job.job_id async for job in client.iter_jobs(queue="of_async", page=8)]
            assert Counter(job.status for job in jobs) == {Status.COMPLETED: 30} and listed == ids[::-1]
            assert (await client.executions(ids[0]))[0].attempt == 1 and (await client.health()).is_healthy

    anyio.run(main)


def test_the_documented_examples_work(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs/client.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 7
    files = {block.split("\n")[0].removeprefix("# "): block for block in blocks if block.startswith("# ")}
    for name, block in files.items():
        (tmp_path / name).write_text(block, "utf-8")
    jobyard = Jobyard(tmp_path, TASKS="mytasks")
    with jobyard.add_settings(JOBYARD_URL=url_of(jobyard)):
        environment = Jobyard.environment_for(tmp_path) | {"JOBYARD_URL": url_of(jobyard), "PYTHONWARNINGS": "error"}
        for block in blocks:
            if block not in files.values():
                code = block.replace(DOCUMENTED_URL, url_of(jobyard))
                ended = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
                promised = re.findall(r"^ *print\(.*\)  +# (.*)$", block, re.MULTILINE)
                assert promised and ended.stdout.splitlines() == promised, ended.stderr

    plugins = ["-p", "no:cacheprovider", "-p", "jobyard.engine.testing.pytest_plugin"]
    words = [sys.executable, "-m", "pytest", "-q", *plugins, "test_mytasks.py"]
    tested = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert tested.returncode == 0 and "4 passed" in tested.stdout, tested.stdout + os.linesep + tested.stderr
