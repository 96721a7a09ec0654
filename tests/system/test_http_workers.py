"""Workers in any language: those of docs/workers, each where its interpreter is there, and one that dies silently."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.raw import a_client
from tests.support.system import CHECKOUT, Jobyard
from tests.support.waiting import LIMIT_S, wait_for

WORKERS = CHECKOUT / "docs/workers"
PROGRAMS = {
    "shell": (("curl", "jq", "bash"), ["bash", "worker.sh"]),
    "python": (("python3",), ["python3", "worker.py"]),
    "javascript": (("node",), ["node", "worker.mjs"]),
    "go": (("go",), ["./worker-in-go"]),
}
NEVER_S = 3600


@contextlib.contextmanager
def a_worker(language: str, jobyard: Jobyard, folder: Path) -> Iterator[Path]:
    """The worker of the documentation runs; yields the file of what it says."""
    needs, command = PROGRAMS[language]
    missing = [program for program in needs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not there")
    environment = {**os.environ, "JOBYARD_URL": f"http://127.0.0.1:{jobyard.port(8080)}"}
    if language == "go":
        build = ["go", "build", "-o", str(folder / "worker-in-go"), str(WORKERS / "worker.go")]
        subprocess.run(build, check=True, cwd=folder, env=environment | {"GOCACHE": str(folder / "cache"), "GOFLAGS": ""})
    else:
        shutil.copy(WORKERS / command[-1], folder)
    said = folder / "said.txt"
    with said.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        yield said
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(LIMIT_S)


def running(jobyard: Jobyard, job_id: str) -> dict[str, object]:
    """The job, once it runs."""
    return wait_for(lambda: (job := jobyard.job(job_id))["status"] == "running" and job, told="a running job")


@pytest.mark.parametrize("language", PROGRAMS)
def test_the_workers_of_the_documentation_run_jobs_and_stop_when_they_lose_a_lease(
    jobyard: Jobyard, tmp_path: Path, language: str
) -> None:  # fmt: skip
    task = f"count-in-{language}"
    with a_worker(language, jobyard, tmp_path) as said:
        wait_for(lambda: task in [row["task"] for row in jobyard.get("/api/tasks").json], told=f"a declaration in {said}")

        done = jobyard.submit(task=task, payload={"seconds": 0.1})
        job = jobyard.wait_for_job(done)
        long = jobyard.submit(task=task, payload={"seconds": NEVER_S})
        epoch = running(jobyard, long)["epoch"]
        assert jobyard.ask("POST", f"/api/jobs/{long}/release", {"epoch": epoch, "delay_s": NEVER_S}).status == 200
        wait_for(lambda: "lost the lease" in said.read_text(), told="a worker that stops")
        after = jobyard.submit(task=task, payload={"seconds": 0.1})
        last = jobyard.submit(task=task, payload={"seconds": NEVER_S})

        assert (job["status"], job["result"]) == ("completed", {"by": language})
        assert jobyard.wait_for_job(after)["status"] == "completed"
        running(jobyard, last)
        assert jobyard.ask("POST", f"/api/jobs/{last}/cancel").status == 200
        assert jobyard.wait_for_job(last, status="cancelled")
    assert jobyard.ask("POST", f"/api/jobs/{long}/cancel").status == 200


def test_a_job_whose_worker_died_silently_runs_again(jobyard: Jobyard) -> None:
    jobyard.ask("PUT", "/api/tasks/http-mortal", {})
    job_id = jobyard.submit(task="http-mortal")
    asked = {"worker": "mortal", "tasks": ["http-mortal"], "lease_s": 5, "wait_s": 60}

    (first,) = jobyard.ask("POST", "/api/leases", asked).json
    (second,) = jobyard.ask("POST", "/api/leases", asked).json
    late = jobyard.ask("POST", f"/api/jobs/{job_id}/complete", {"epoch": first["epoch"]})
    done = jobyard.ask("POST", f"/api/jobs/{job_id}/complete", {"epoch": second["epoch"], "result": 1})

    assert (first["job_id"], first["attempt"], second["attempt"]) == (job_id, 1, 2)
    assert (late.status, late.json["error"]["code"], late.json["error"]["stop"]) == (409, "lease_lost", True)
    assert (done.status, done.json["lost_count"], done.json["retry_count"]) == (200, 1, 0)
    attempts = jobyard.get(f"/api/jobs/{job_id}/executions").json
    assert [attempt["status"] for attempt in attempts] == ["lost", "success"]


def test_a_client_that_left_while_it_waited_gets_nothing(jobyard: Jobyard) -> None:
    jobyard.ask("PUT", "/api/tasks/left", {})
    body = b'{"worker": "gone", "tasks": ["left"], "lease_s": 3600, "wait_s": 60}'
    head = f"POST /api/leases HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with a_client(jobyard) as client:
        client.sendall(head.encode() + body)
        wait_for(lambda: "gone" in [row["name"] for row in jobyard.stats()["http_workers"]], told="a worker that waits")
    job_id = jobyard.submit(task="left")

    (lease,) = jobyard.ask("POST", "/api/leases", {"worker": "here", "tasks": ["left"], "wait_s": 60}).json

    assert (lease["job_id"], lease["attempt"]) == (job_id, 1)
    assert jobyard.ask("POST", f"/api/jobs/{job_id}/complete", {"epoch": lease["epoch"]}).status == 200


def test_waiting_workers_get_a_job_each_from_another_scheduler_too(jobyard: Jobyard) -> None:
    jobyard.ask("PUT", "/api/tasks/shared", {})
    front = psutil.Process(jobyard.pid("gateway-8080"))
    assert front.is_running()
    body = b'{"worker": "one of many", "tasks": ["shared"], "wait_s": 60}'
    head = f"POST /api/leases HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(a_client(jobyard)) for _ in range(8)]
        for client in clients:
            client.sendall(head.encode() + body)
        ids = [jobyard.submit(task="shared") for _ in clients]
        answers = [client.recv(4096).split(b"\r\n\r\n", 1)[1] for client in clients]

    assert sorted(answer.count(b'"job_id"') for answer in answers) == [1] * len(clients)
    for job_id in ids:
        assert jobyard.ask("POST", f"/api/jobs/{job_id}/cancel").status == 200
