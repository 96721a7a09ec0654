"""What a client notices of kill -9 and of SIGSTOP: for how long nobody answers well, and when the queue's content is back.

A client asks without a pause. The longest time from one good answer to the next is the outage: errors count, and so does waiting.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException

from jobyard.engine.supervisor.process_table import LIVED_WELL_S
from tests.bench.client import Client, Refused
from tests.bench.effort import Effort
from tests.bench.figures import Figure, figure
from tests.bench.guestbook import Guestbook
from tests.bench.recovery import fill_all_slots, insist, kill, let_all_go, until_a_new_job_runs, until_jobs_of_a_worker_run_again
from tests.bench.system import System
from tests.support.waiting import wait_for

PROBE_EVERY_S = 0.002
CALM_ANSWERS = 20
WAITING_JOBS = 200
QUEUE_PORT = 6000
RESTART_S = 0.5
"""`RestartSec` of `bin/jobyard.service`."""


def measure_outage(system: System, guestbook: Guestbook, effort: Effort) -> Iterator[Figure]:
    """The worst of a few deaths of each; all processes of a role die at once. In turn: who keeps dying is started more slowly."""
    roles = ("watcher", "scheduler", "queue", "gateway")
    rounds = [
        [*(_outage(system, role) for role in roles), _until_the_queues_content_is_back(system, guestbook)]
        for _ in range(effort.recoveries)
    ]
    names = [*(f"outage_{role}_s" for role in roles), "queue_content_s"]
    yield from (figure(name, max(values)) for name, values in zip(names, zip(*rounds, strict=True), strict=True))


def measure_hang(system: System, guestbook: Guestbook, effort: Effort) -> Iterator[Figure]:
    """One of each: it takes `HANG_S` until a stopped process is taken for dead."""
    yield figure("hang_worker_s", until_jobs_of_a_worker_run_again(system, guestbook, signal.SIGSTOP))
    yield figure("hang_queue_s", until_a_new_job_runs(system, guestbook, "queue", signal.SIGSTOP))


def measure_restart(system: System, guestbook: Guestbook, effort: Effort) -> Iterator[Figure]:
    """The supervisor dies and all with it; a loop like systemd's starts everything again."""
    yield figure("recovery_supervisor_s", max(_restart(system, guestbook) for _ in range(effort.recoveries)))


def _outage(system: System, role: str) -> float:
    _wait_settled(system, role)
    prober = Prober(system.port)
    with prober:
        prober.wait_for_answers(CALM_ANSWERS)
        for pid in system.pids(role):
            kill(pid)
        prober.wait_for_answers(CALM_ANSWERS)
        system.wait_whole()
        prober.wait_for_answers(CALM_ANSWERS)
    system.wait_quiet()
    return prober.longest_gap_s


class Prober(threading.Thread):
    """A client that submits one job after the other, each on a new connection."""

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
        """Come back when there are so many more."""
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


def _until_the_queues_content_is_back(system: System, guestbook: Guestbook) -> float:
    """With all slots full and jobs waiting in the queue."""
    _wait_settled(system, "queue")
    fill_all_slots(system, guestbook)
    client = Client(system.port)
    for _ in range(WAITING_JOBS):
        client.submit("echo", None)
    client.close()
    wait_for(_is_in_the_queue(system), told="a full queue")
    killed_ns = max(kill(pid) for pid in system.pids("queue"))
    wait_for(_is_in_the_queue(system), told="the queue's content")
    again_ns = time.monotonic_ns()
    let_all_go(system, guestbook)
    return (again_ns - killed_ns) / 1e9


def _wait_settled(system: System, role: str) -> None:
    """Come back when all is well, and these have lived so long that they are started again at once."""
    system.wait_whole()

    def have_lived_well() -> bool:
        entries = system.jobyard.stats()["processes"]
        return all(entry["uptime_s"] > LIVED_WELL_S for entry in entries if entry["role"] == role)

    wait_for(have_lived_well, within_s=2 * LIVED_WELL_S, told=f"a settled {role}")


def _is_in_the_queue(system: System) -> Callable[[], bool]:
    return lambda: system.jobyard.get("/queue?limit=1", port=QUEUE_PORT).json["ready"] >= WAITING_JOBS


def _restart(system: System, guestbook: Guestbook) -> float:
    system.wait_whole()
    [supervisor] = system.pids("supervisor")
    killed_ns = kill(supervisor)
    system.jobyard.wait_end()
    time.sleep(RESTART_S)
    system.jobyard.start(wait_ready=False)
    payload = guestbook.invite()
    insist(system, payload)
    [waiter] = guestbook.wait_for([payload["number"]])
    system.wait_whole()
    return (waiter.monotonic_ns - killed_ns) / 1e9
