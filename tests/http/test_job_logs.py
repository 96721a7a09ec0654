"""The output of a job's attempts: the stored part, the part that only a worker has, and a worker that does not answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from jobyard.engine.jobs import lifecycle
from jobyard.engine.jobs.job import ExecutionStatus, Job, Outcome, Output, Progress
from jobyard.engine.wire.messages import GetOutput, OutputNow
from tests.http.conftest import Backend
from tests.http.test_jobs import UNKNOWN_ID, error_of, submit
from tests.support.claims import claim
from tests.support.world import START

WORKER = "box:b00t:worker-7001:1"
SUCCESS = Outcome(status=ExecutionStatus.SUCCESS)
FAILED = Outcome(status=ExecutionStatus.FAILED)
PROGRESS = Progress(fraction=0.5, note="half way", at=START)


def begin(backend: Backend, job_id: str) -> Job:
    """A worker begins the job."""
    (job,) = claim(backend.store, now=backend.world.now(), worker=WORKER)
    assert job.job_id == job_id
    return job


def end(backend: Backend, job: Job, outcome: Outcome, text: str | None, **more: Any) -> None:
    output = None if text is None else Output(job_id=job.job_id, attempt=job.attempt, text=text, **more)
    change = lifecycle.settle(job, outcome, now=backend.world.now(), retry_base_s=0)
    assert backend.store.apply([msgspec.structs.replace(change, output=output)]) == [True]


def logs(client: FlaskClient, job_id: str) -> list[dict[str, Any]]:
    answer = client.get(f"/api/jobs/{job_id}/logs")
    assert answer.status_code == 200 and list(answer.json) == ["job_id", "attempts"]
    assert answer.json["job_id"] == job_id
    attempts: list[dict[str, Any]] = answer.json["attempts"]
    return attempts


def entry(attempt: int, output: str, **more: object) -> dict[str, object]:
    return {"attempt": attempt, "output": output, "is_cut": False, "is_running": False, "progress": None} | more


def test_a_job_that_has_not_begun_has_printed_nothing(client: FlaskClient) -> None:
    assert logs(client, submit(client)) == []


def test_every_attempt_is_shown_oldest_first_including_those_without_output(backend: Backend, client: FlaskClient) -> None:
    job_id = submit(client)
    end(backend, begin(backend, job_id), FAILED, "\x1b[1mone\x00")
    end(backend, begin(backend, job_id), FAILED, None)
    end(backend, begin(backend, job_id), SUCCESS, "three", is_cut=True, progress=PROGRESS)

    progress = {"fraction": 0.5, "note": "half way", "at": "2026-01-04T02:04:20.123Z"}
    assert logs(client, job_id.upper().lower()) == [
        entry(1, "\x1b[1mone\x00"), entry(2, ""), entry(3, "three", is_cut=True, progress=progress),
    ]  # fmt: skip


def test_the_running_attempts_output_comes_from_its_worker(backend: Backend, client: FlaskClient) -> None:
    job_id = submit(client)
    begin(backend, job_id)
    backend.answers["worker-7001"] = [OutputNow(output=Output(job_id=job_id, attempt=1, text="so far"))]

    assert logs(client, job_id) == [entry(1, "so far", is_running=True)]
    assert backend.asked[-1] == GetOutput(job_id=job_id, attempt=1)


def test_a_silent_worker_costs_only_the_running_attempts_output(backend: Backend, client: FlaskClient) -> None:
    job_id = submit(client)
    end(backend, begin(backend, job_id), FAILED, "one")
    begin(backend, job_id)
    backend.silent.add("worker-7001")

    assert logs(client, job_id) == [entry(1, "one"), entry(2, "", is_running=True)]


def test_an_attempt_that_ends_between_the_two_reads_is_read_again(backend: Backend, client: FlaskClient) -> None:
    job_id = submit(client)
    job = begin(backend, job_id)

    class Ended(list[OutputNow]):
        def pop(self, index: object = -1) -> OutputNow:
            end(backend, job, SUCCESS, "all of it")
            return OutputNow(output=None)

    backend.answers["worker-7001"] = Ended()  # type: ignore[assignment]

    assert logs(client, job_id) == [entry(1, "all of it")]


def test_of_very_many_attempts_only_the_latest_are_shown(backend: Backend, client: FlaskClient) -> None:
    job_id = submit(client, max_retries=100)
    for _ in range(40):
        end(backend, begin(backend, job_id), FAILED, "x" * (64 << 10))

    shown = logs(client, job_id)

    assert [one["attempt"] for one in shown] == list(range(24, 41))


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (f"/api/jobs/{UNKNOWN_ID}/logs", (404, "not_found", None)), ("/api/jobs/x/logs", (400, "invalid_job_id", "job_id")),
        (f"/api/jobs/{UNKNOWN_ID}/logs?tail=3", (400, "unknown_field", "tail")),
    ],
)  # fmt: skip
def test_a_bad_request_for_logs_is_refused(client: FlaskClient, path: str, error: tuple[int, str, object]) -> None:
    assert error_of(client.get(path)) == error
