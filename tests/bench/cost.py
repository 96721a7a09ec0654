"""What the system costs: start time, memory, CPU when idle and per job, and the share of the slots' time that jobs get."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from tests.bench.client import Client
from tests.bench.effort import Effort
from tests.bench.figures import ROLE_WORDS, Figure, figure
from tests.bench.speed import BATCH_SIZE, by_the_thousand, one_by_one
from tests.bench.start_recorder import StartRecorder
from tests.bench.system import System

SLOTS = 15
JOB_S = 1.0


def measure_idle(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """A fresh system with nothing to do."""
    yield figure("start_s", system.start_s)
    yield figure("memory_idle_mib", system.fresh_mib, f"{system.process_count()} processes")
    began, used_s = time.monotonic(), system.cpu_s()
    time.sleep(effort.idle_s)
    yield figure("idle_cpu_percent", 100 * system.cpu_since_s(used_s) / (time.monotonic() - began))


def measure_slots(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """The use of the slots by jobs of one second, a few for each slot."""
    client = Client(system.port)
    numbers = []
    for _ in range(SLOTS * effort.slot_rounds):
        payload = start_recorder.new_payload()
        numbers.append(payload["number"])
        client.submit("bench_second", payload)
    client.close()
    begun_ns = sorted(start.monotonic_ns for start in start_recorder.wait_for(numbers, within_s=30 + effort.slot_rounds * 3))
    busy_s = JOB_S * len(begun_ns)
    span_s = (begun_ns[-1] - begun_ns[0]) / 1e9 + JOB_S
    yield figure("busy_slots_percent", 100 * busy_s / (span_s * SLOTS))


def measure_cost_per_job(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """User and system time of each role, divided by the number of jobs."""
    yield from _cost(system, "batch", lambda: by_the_thousand(system, effort.jobs).accepted * BATCH_SIZE)
    yield from _cost(system, "single", lambda: one_by_one(system, effort.single_jobs).accepted)


def _cost(system: System, way: str, submit: Callable[[], int]) -> Iterator[Figure]:
    system.wait_idle()
    already, before_s = system.completed(), system.cpu_s()
    jobs = submit()
    system.wait_completed(already + jobs)
    system.wait_idle()
    used_s = system.cpu_by_role_since_s(before_s)
    used_s["all"] = sum(used_s.values())
    for role in ROLE_WORDS:
        yield figure(f"cost_{way}_{role}_us", used_s[role] / jobs * 1e6)


def measure_growth(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """Memory of the same processes after many jobs."""
    system.wait_idle()
    missing = max(BATCH_SIZE, effort.memory_jobs - system.completed())
    already = system.completed()
    done = by_the_thousand(system, missing).accepted * BATCH_SIZE
    system.wait_completed(already + done)
    system.wait_idle()
    after_mib = system.memory_mib()
    yield figure("memory_after_mib", after_mib, f"{system.completed():,} jobs")
    yield figure("memory_growth", after_mib / system.fresh_mib)


def measure_memory(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """Memory after all measurements."""
    system.wait_idle()
    yield figure("memory_mib", system.memory_mib(), f"{system.process_count()} processes")
