"""What a client notices of kill -9 and SIGSTOP: how long requests fail, and when the queue's content is back.

A client sends requests without a pause. The outage is the longest time between two successful answers, whether requests fail or
wait in between.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException

from jobyard.engine.supervisor.process_table import STABLE_AFTER_S
from tests.bench.client import Client, Refused
from tests.bench.effort import Effort
from tests.bench.figures import Figure, figure
from tests.bench.recovery import (
    fill_all_slots,
    kill,
    release_all,
    submit_until_accepted,
    until_a_new_job_runs,
    until_jobs_of_a_worker_run_again,
)
from tests.bench.start_recorder import StartRecorder
from tests.bench.system import System
from tests.support.waiting import wait_for

PROBE_EVERY_S = 0.002
STEADY_ANSWERS = 20
WAITING_JOBS = 200
QUEUE_PORT = 6000
RESTART_S = 0.5
"""`RestartSec` of `bin/jobyard.service`."""


def measure_outage(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """The worst of a few rounds; all processes of a role die at once. Roles alternate, since repeated deaths slow a restart."""
    roles = ("watcher", "scheduler", "queue", "gateway")
    rounds = [
        [*(_outage(system, role) for role in roles), _until_the_queues_content_is_back(system, start_recorder)]
        for _ in range(effort.recoveries)
    ]
    names = [*(f"outage_{role}_s" for role in roles), "queue_content_s"]
    yield from (figure(name, max(values)) for name, values in zip(names, zip(*rounds, strict=True), strict=True))


def measure_hang(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """One round of each: it takes `HANG_S` until a stopped process counts as dead."""
    yield figure("hang_worker_s", until_jobs_of_a_worker_run_again(system, start_recorder, signal.SIGSTOP))
    yield figure("hang_queue_s", until_a_new_job_runs(system, start_recorder, "queue", signal.SIGSTOP))


def measure_restart(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """The supervisor dies, and everything with it; a loop like systemd's starts it again."""
    yield figure("recovery_supervisor_s", max(_restart(system, start_recorder) for _ in range(effort.recoveries)))


def _outage(system: System, role: str) -> float:
    _wait_settled(system, role)
    prober = Prober(system.port)
    with prober:
        prober.wait_for_answers(STEADY_ANSWERS)
        for pid in system.pids(role):
            kill(pid)
        prober.wait_for_answers(STEADY_ANSWERS)
        system.wait_healthy()
        prober.wait_for_answers(STEADY_ANSWERS)
    system.wait_idle()
    return prober.longest_gap_s


class Prober(threading.Thread):
    """A client that submits jobs one after the other, each on a new connection."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.longest_gap_s = 0.0
        self._port = port
        self._answers = 0
        self._is_over = threading.Event()

    def run(self) -> None:
        answered_at = time.monotonic()
        while not self._is_over.wait(PROBE_EVERY_S):
            if self._ask():
                now = time.monotonic()
                self.longest_gap_s = max(self.longest_gap_s, now - answered_at) if self._answers else 0.0
                answered_at = now
                self._answers += 1

    def wait_for_answers(self, count: int) -> None:
        """Wait for this many more successful answers."""
        goal = self._answers + count
        wait_for(lambda: self._answers >= goal, within_s=30, told="good answers")

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *how: object) -> None:
        self._is_over.set()
        self.join()

    def _ask(self) -> bool:
        client = Client(self._port)
        try:
            client.submit("echo", None)
        except (OSError, HTTPException, Refused):
            return False
        finally:
            client.close()
        return True


def _until_the_queues_content_is_back(system: System, start_recorder: StartRecorder) -> float:
    """Measured with all slots full and jobs waiting in the queue."""
    _wait_settled(system, "queue")
    fill_all_slots(system, start_recorder)
    client = Client(system.port)
    for _ in range(WAITING_JOBS):
        client.submit("echo", None)
    client.close()
    wait_for(_is_in_the_queue(system), told="a full queue")
    killed_ns = max(kill(pid) for pid in system.pids("queue"))
    wait_for(_is_in_the_queue(system), told="the queue's content")
    again_ns = time.monotonic_ns()
    release_all(system, start_recorder)
    return (again_ns - killed_ns) / 1e9


def _wait_settled(system: System, role: str) -> None:
    """Wait until the system is healthy, and these processes are old enough to be restarted at once."""
    system.wait_healthy()

    def are_stable() -> bool:
        entries = system.jobyard.stats()["processes"]
        return all(entry["uptime_s"] > STABLE_AFTER_S for entry in entries if entry["role"] == role)

    wait_for(are_stable, within_s=2 * STABLE_AFTER_S, told=f"a settled {role}")


def _is_in_the_queue(system: System) -> Callable[[], bool]:
    return lambda: system.jobyard.get("/queue?limit=1", port=QUEUE_PORT).json["ready"] >= WAITING_JOBS


def _restart(system: System, start_recorder: StartRecorder) -> float:
    system.wait_healthy()
    [supervisor] = system.pids("supervisor")
    killed_ns = kill(supervisor)
    system.jobyard.wait_end()
    time.sleep(RESTART_S)
    system.jobyard.start(wait_ready=False)
    payload = start_recorder.new_payload()
    submit_until_accepted(system, payload)
    [start] = start_recorder.wait_for([payload["number"]])
    system.wait_healthy()
    return (start.monotonic_ns - killed_ns) / 1e9
