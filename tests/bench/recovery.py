"""How soon work goes on after kill -9 of a process: all slots of the workers are full, then one dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from http.client import HTTPException

from tests.bench.client import Client, Refused
from tests.bench.effort import Effort
from tests.bench.figures import Figure, figure
from tests.bench.guestbook import Guestbook, Invitation, Waiter
from tests.bench.system import System

SLOTS = 15
AGAIN_S = 0.01


def measure_recovery(system: System, guestbook: Guestbook, effort: Effort) -> Iterator[Figure]:
    """The worst of a few deaths of each."""
    rounds = range(effort.recoveries)
    yield figure("recovery_worker_s", max(until_jobs_of_a_worker_run_again(system, guestbook) for _ in rounds))
    yield figure("recovery_executor_s", max(_executor(system, guestbook) for _ in rounds))
    for role in ("queue", "watcher", "scheduler", "gateway"):
        yield figure(f"recovery_{role}_s", max(until_a_new_job_runs(system, guestbook, role) for _ in rounds))


def until_jobs_of_a_worker_run_again(system: System, guestbook: Guestbook, by: signal.Signals = signal.SIGKILL) -> float:
    """Until the last of its jobs runs again, with no slot free but its successor's."""
    waiters = fill_all_slots(system, guestbook)
    worker = system.jobyard.get("/stats", port=7001).json
    executors = {executor["pid"] for executor in worker["executors"]}
    struck = [waiter.number for waiter in waiters if waiter.pid in executors]
    killed_ns = kill(system.jobyard.pid("worker-7001"), by)
    again = guestbook.wait_for(struck, attempt=2)
    let_all_go(system, guestbook)
    return (max(waiter.monotonic_ns for waiter in again) - killed_ns) / 1e9


def _executor(system: System, guestbook: Guestbook) -> float:
    """Until its job runs again: `RETRY_BASE_S` is 0 here."""
    waiters = fill_all_slots(system, guestbook)
    killed_ns = kill(waiters[0].pid)
    [again] = guestbook.wait_for([waiters[0].number], attempt=2)
    let_all_go(system, guestbook)
    return (again.monotonic_ns - killed_ns) / 1e9


def until_a_new_job_runs(system: System, guestbook: Guestbook, role: str, by: signal.Signals = signal.SIGKILL) -> float:
    """A job submitted at once, again and again until it is taken."""
    system.wait_whole()
    killed_ns = max(kill(pid, by) for pid in system.pids(role))
    payload = guestbook.invite()
    insist(system, payload)
    [waiter] = guestbook.wait_for([payload["number"]])
    return (waiter.monotonic_ns - killed_ns) / 1e9


def insist(system: System, payload: Invitation) -> None:
    """Submit it until it is taken; its key makes it one job."""
    while True:
        client = Client(system.port)
        try:
            client.submit("bench_start", payload, idempotency_key=f"number {payload['number']}")
            return
        except (OSError, HTTPException, Refused):
            time.sleep(AGAIN_S)
        finally:
            client.close()


def fill_all_slots(system: System, guestbook: Guestbook) -> list[Waiter]:
    """With jobs that stay."""
    system.wait_whole()
    client = Client(system.port)
    payloads = [guestbook.invite() for _ in range(SLOTS)]
    for payload in payloads:
        client.submit("bench_hold", payload)
    client.close()
    return guestbook.wait_for([payload["number"] for payload in payloads])


def let_all_go(system: System, guestbook: Guestbook) -> None:
    """The slots are free again."""
    guestbook.let_all_go()
    system.wait_quiet()


def kill(pid: int, by: signal.Signals = signal.SIGKILL) -> int:
    """The time of its death."""
    os.kill(pid, by)
    return time.monotonic_ns()
