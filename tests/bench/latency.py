"""How soon a job starts on an idle system, and how punctual scheduled jobs are."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.client import Client, rfc3339_at
from tests.bench.effort import Effort
from tests.bench.figures import Figure, figure
from tests.bench.percentiles import percentile
from tests.bench.start_recorder import StartRecorder
from tests.bench.system import System

PAUSE_S = 0.02
FIRST_DUE_S = 1.0
SPREAD_S = 0.03
BURST, BURST_S = 1_000, 1.0
WARM_UP_JOBS = 20


def measure_latency(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """One job at a time, each on an idle system."""
    client = Client(system.port)
    for _ in range(WARM_UP_JOBS):
        _submit_to_start_ms(client, start_recorder)
    waits_ms = [_submit_to_start_ms(client, start_recorder) for _ in range(effort.latency_jobs)]
    client.close()
    yield figure("latency_p50_ms", percentile(waits_ms, 50))
    yield figure("latency_p99_ms", percentile(waits_ms, 99))


def measure_lateness(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """Jobs that are due one after the other, submitted well before."""
    alone_ms = _lateness_ms(system, start_recorder, jobs=effort.scheduled_jobs, apart_s=SPREAD_S, first_due_s=FIRST_DUE_S)
    yield figure("lateness_p50_ms", percentile(alone_ms, 50))
    yield figure("lateness_p99_ms", percentile(alone_ms, 99))
    burst_ms = _lateness_ms(system, start_recorder, jobs=BURST, apart_s=BURST_S / BURST, first_due_s=FIRST_DUE_S)
    yield figure("lateness_crowd_p99_ms", percentile(burst_ms, 99))
    earliest_ms = min(*alone_ms, *burst_ms)
    yield figure("earliest_ms", earliest_ms, "a job ran before its time" if earliest_ms < 0 else "")


def _lateness_ms(system: System, start_recorder: StartRecorder, *, jobs: int, apart_s: float, first_due_s: float) -> list[float]:
    first_due_ns = time.time_ns() + int(first_due_s * 1e9)
    due_ns: dict[int, int] = {}
    asked: list[dict[str, object]] = []
    for index in range(jobs):
        payload = start_recorder.new_payload()
        at_ns = (first_due_ns + int(index * apart_s * 1e9)) // 1_000_000 * 1_000_000
        due_ns[payload["number"]] = at_ns
        asked.append({"task": "bench_start", "payload": payload, "scheduled_at": rfc3339_at(at_ns)})
    client = Client(system.port)
    client.submit_batch(asked)
    client.close()
    starts = start_recorder.wait_for(list(due_ns))
    return [(start.wall_ns - due_ns[start.number]) / 1e6 for start in starts]


def _submit_to_start_ms(client: Client, start_recorder: StartRecorder) -> float:
    payload = start_recorder.new_payload()
    sent_ns = client.submit("bench_start", payload)
    [start] = start_recorder.wait_for([payload["number"]])
    time.sleep(PAUSE_S)
    return (start.monotonic_ns - sent_ns) / 1e6
