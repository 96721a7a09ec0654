"""How soon work continues after kill -9 of a process while all slots of the workers are full."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from http.client import HTTPException

from tests.bench.client import Client, Refused
from tests.bench.effort import Effort
from tests.bench.figures import Figure, figure
from tests.bench.start_recorder import JobStart, StartPayload, StartRecorder
from tests.bench.system import System

SLOTS = 15
RETRY_PAUSE_S = 0.01


def measure_recovery(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """The worst of a few rounds for each process."""
    rounds = range(effort.recoveries)
    yield figure("recovery_worker_s", max(until_jobs_of_a_worker_run_again(system, start_recorder) for _ in rounds))
    yield figure("recovery_executor_s", max(_executor(system, start_recorder) for _ in rounds))
    for role in ("queue", "watcher", "scheduler", "gateway"):
        yield figure(f"recovery_{role}_s", max(until_a_new_job_runs(system, start_recorder, role) for _ in rounds))


def until_jobs_of_a_worker_run_again(system: System, start_recorder: StartRecorder, by: signal.Signals = signal.SIGKILL) -> float:
    """The time until the last of the worker's jobs runs again, with no free slots but its successor's."""
    starts = fill_all_slots(system, start_recorder)
    worker = system.jobyard.get("/stats", port=7001).json
    executors = {executor["pid"] for executor in worker["executors"]}
    hit = [start.number for start in starts if start.pid in executors]
    killed_ns = kill(system.jobyard.pid("worker-7001"), by)
    again = start_recorder.wait_for(hit, attempt=2)
    release_all(system, start_recorder)
    return (max(start.monotonic_ns for start in again) - killed_ns) / 1e9


def _executor(system: System, start_recorder: StartRecorder) -> float:
    """The time until the executor's job runs again; `RETRY_BASE_S` is 0 here."""
    starts = fill_all_slots(system, start_recorder)
    killed_ns = kill(starts[0].pid)
    [again] = start_recorder.wait_for([starts[0].number], attempt=2)
    release_all(system, start_recorder)
    return (again.monotonic_ns - killed_ns) / 1e9


def until_a_new_job_runs(system: System, start_recorder: StartRecorder, role: str, by: signal.Signals = signal.SIGKILL) -> float:
    """The time until a new job runs, which is submitted at once, repeatedly until it is accepted."""
    system.wait_healthy()
    killed_ns = max(kill(pid, by) for pid in system.pids(role))
    payload = start_recorder.new_payload()
    submit_until_accepted(system, payload)
    [start] = start_recorder.wait_for([payload["number"]])
    return (start.monotonic_ns - killed_ns) / 1e9


def submit_until_accepted(system: System, payload: StartPayload) -> None:
    """Submit a job until it is accepted; its key prevents duplicates."""
    while True:
        client = Client(system.port)
        try:
            client.submit("bench_start", payload, idempotency_key=f"number {payload['number']}")
            return
        except (OSError, HTTPException, Refused):
            time.sleep(RETRY_PAUSE_S)
        finally:
            client.close()


def fill_all_slots(system: System, start_recorder: StartRecorder) -> list[JobStart]:
    """Fill all slots with jobs that hold."""
    system.wait_healthy()
    client = Client(system.port)
    payloads = [start_recorder.new_payload() for _ in range(SLOTS)]
    for payload in payloads:
        client.submit("bench_hold", payload)
    client.close()
    return start_recorder.wait_for([payload["number"] for payload in payloads])


def release_all(system: System, start_recorder: StartRecorder) -> None:
    """Let all jobs return, and wait until the system is idle."""
    start_recorder.release_all()
    system.wait_idle()


def kill(pid: int, by: signal.Signals = signal.SIGKILL) -> int:
    """Send the signal; the time at which it was sent."""
    os.kill(pid, by)
    return time.monotonic_ns()
