"""Tasks that report to a `StartRecorder` at their first line, which tells the benchmark when they started."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any

from jobyard import current_job, task

StartPayload = dict[str, Any]


@task("bench_start")
def start_job(payload: StartPayload) -> None:
    """Report the start and return."""
    _report_start(payload, time.monotonic_ns(), time.time_ns()).close()


@task("bench_hold")
def hold(payload: StartPayload) -> None:
    """Report the start and run until the recorder releases the task or closes the connection."""
    with _report_start(payload, time.monotonic_ns(), time.time_ns()) as connection:
        connection.recv(1)


@task("bench_second")
def run_one_second(payload: StartPayload) -> None:
    """Report the start and run for one second."""
    with _report_start(payload, time.monotonic_ns(), time.time_ns()):
        time.sleep(1)


def _report_start(payload: StartPayload, monotonic_ns: int, wall_ns: int) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(payload["recorder"])
    report = {
        "number": payload["number"], "attempt": current_job().attempt, "pid": os.getpid(),
        "monotonic_ns": monotonic_ns, "wall_ns": wall_ns,
    }  # fmt: skip
    connection.sendall(json.dumps(report).encode() + b"\n")
    return connection
