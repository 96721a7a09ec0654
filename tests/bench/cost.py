"""What it takes: time to start, memory, CPU with nothing to do, and how much of its slots' time jobs get."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.client import Client
from tests.bench.effort import Effort
from tests.bench.figures import Figure, figure
from tests.bench.guestbook import Guestbook
from tests.bench.system import System

SLOTS = 15
SETTLE_S = 1.0
JOB_S = 1.0


def measure_idle(system: System, guestbook: Guestbook, effort: Effort) -> Iterator[Figure]:
    """Fresh, with nothing to do."""
    yield figure("start_s", system.start_s)
    time.sleep(SETTLE_S)
    yield figure("memory_idle_mib", system.memory_mib(), f"{system.process_count()} processes")
    began, used_s = time.monotonic(), system.cpu_s()
    time.sleep(effort.idle_s)
    yield figure("idle_cpu_percent", 100 * (system.cpu_s() - used_s) / (time.monotonic() - began))


def measure_slots(system: System, guestbook: Guestbook, effort: Effort) -> Iterator[Figure]:
    """Jobs of one second, a few for each slot."""
    client = Client(system.port)
    numbers = []
    for _ in range(SLOTS * effort.slot_rounds):
        payload = guestbook.invite()
        numbers.append(payload["number"])
        client.submit("bench_second", payload)
    client.close()
    begun_ns = sorted(guest.monotonic_ns for guest in guestbook.wait_for(numbers, within_s=30 + effort.slot_rounds * 3))
    busy_s = JOB_S * len(begun_ns)
    span_s = (begun_ns[-1] - begun_ns[0]) / 1e9 + JOB_S
    yield figure("busy_slots_percent", 100 * busy_s / (span_s * SLOTS))


def measure_memory(system: System, guestbook: Guestbook, effort: Effort) -> Iterator[Figure]:
    """After all the work."""
    system.wait_quiet()
    yield figure("memory_mib", system.memory_mib(), f"{system.process_count()} processes")
