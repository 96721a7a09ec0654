"""The start recorder, without a system."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.start_recorder import JobsNotStarted, StartPayload, StartRecorder


@pytest.fixture
def start_recorder(tmp_path: Path) -> Iterator[StartRecorder]:
    start_recorder = StartRecorder(tmp_path)
    yield start_recorder
    start_recorder.close()


def start_job(payload: StartPayload, *, attempt: int = 1) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(payload["recorder"])
    entry = {"number": payload["number"], "attempt": attempt, "pid": 1, "monotonic_ns": 2, "wall_ns": 3}
    connection.sendall(json.dumps(entry).encode() + b"\n")
    return connection


def test_starts_are_returned_in_the_requested_order(start_recorder: StartRecorder) -> None:
    first, second = start_recorder.new_payload(), start_recorder.new_payload()

    with start_job(second), start_job(first):
        starts = start_recorder.wait_for([first["number"], second["number"]])

    assert [start.number for start in starts] == [first["number"], second["number"]]


def test_a_start_of_an_earlier_attempt_does_not_count_as_a_later_one(start_recorder: StartRecorder) -> None:
    payload = start_recorder.new_payload()

    with start_job(payload), start_job(payload, attempt=2):
        [start] = start_recorder.wait_for([payload["number"]], attempt=2)

    assert start.attempt == 2


def test_a_job_that_does_not_start_is_reported(start_recorder: StartRecorder) -> None:
    with pytest.raises(JobsNotStarted, match="1 of 1 jobs"):
        start_recorder.wait_for([start_recorder.new_payload()["number"]], within_s=0.01)


def test_releasing_ends_the_jobs_that_hold(start_recorder: StartRecorder) -> None:
    payload = start_recorder.new_payload()
    with start_job(payload) as connection:
        start_recorder.wait_for([payload["number"]])

        start_recorder.release_all()

        assert connection.recv(1) == b""
