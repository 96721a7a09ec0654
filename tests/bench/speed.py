"""Jobs per second: accepted, run, and both at once; submitted one by one and by the thousand."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from tests.bench.client import rfc3339_at
from tests.bench.effort import Effort
from tests.bench.figures import Figure, figure
from tests.bench.load import Load, LoadResult, send
from tests.bench.percentiles import percentile
from tests.bench.start_recorder import StartRecorder
from tests.bench.system import System

SINGLE, BATCH = "/api/jobs", "/api/jobs/batch"
SINGLE_CONNECTIONS, BATCH_CONNECTIONS = 16, 4
BATCH_SIZE = 1000
LATER_S = 86400
BEFORE_THE_DRAIN_S = 2.0


def measure_single(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """Accepted only: the jobs are due tomorrow."""
    sent = one_by_one(system, effort.single_jobs, delay_s=LATER_S)
    yield figure("single_per_s", sent.accepted / sent.seconds, sent.note)
    yield figure("single_p50_ms", percentile(sent.waits_ms, 50))
    yield figure("single_p99_ms", percentile(sent.waits_ms, 99))


def measure_batch(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """Accepted only: the jobs are due tomorrow."""
    sent = by_the_thousand(system, effort.jobs, delay_s=LATER_S)
    yield figure("batch_per_s", sent.accepted * BATCH_SIZE / sent.seconds, sent.note)


def measure_end_to_end(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """Accepted and run at the same time, in batches."""
    already = system.completed()
    sent = by_the_thousand(system, effort.jobs)
    ended_ns = system.wait_completed(already + sent.accepted * BATCH_SIZE)
    yield figure("end_to_end_per_s", sent.accepted * BATCH_SIZE * 1e9 / (ended_ns - sent.began_ns), sent.note)
    yield figure("end_to_end_batch_per_s", sent.accepted * BATCH_SIZE / sent.seconds, sent.note)


def measure_single_end_to_end(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """Accepted and run at the same time, one request per job."""
    already = system.completed()
    sent = one_by_one(system, effort.single_jobs)
    ended_ns = system.wait_completed(already + sent.accepted)
    yield figure("single_end_to_end_per_s", sent.accepted * 1e9 / (ended_ns - sent.began_ns), sent.note)
    yield figure("single_end_to_end_accepted_per_s", sent.accepted / sent.seconds, sent.note)


def measure_drain(system: System, start_recorder: StartRecorder, effort: Effort) -> Iterator[Figure]:
    """Jobs that are stored beforehand and become due at one moment."""
    already = system.completed()
    due_ns = time.time_ns() + int((BEFORE_THE_DRAIN_S + effort.jobs / 4000) * 1e9)
    sent = by_the_thousand(system, effort.jobs, scheduled_at=rfc3339_at(due_ns))
    late_s = (time.time_ns() - due_ns) / 1e9
    ended_ns = system.wait_completed(already + sent.accepted * BATCH_SIZE)
    due_monotonic_ns = time.monotonic_ns() - (time.time_ns() - due_ns)
    note = f"the last were stored {late_s:.1f} s after the first came due" if late_s > 0 else sent.note
    yield figure("drain_per_s", sent.accepted * BATCH_SIZE * 1e9 / (ended_ns - due_monotonic_ns), note)


def one_by_one(system: System, jobs: int, **fields: object) -> LoadResult:
    """Submit no-op jobs, one per request."""
    body = json.dumps({"payload": "test job", **fields})
    return send(Load(port=system.port, path=SINGLE, body=body, requests=jobs, connections=SINGLE_CONNECTIONS))


def by_the_thousand(system: System, jobs: int, **fields: object) -> LoadResult:
    """Submit no-op jobs, a thousand per request; `accepted` counts requests."""
    body = json.dumps({"jobs": [{"payload": "test job", **fields}] * BATCH_SIZE})
    requests = max(1, jobs // BATCH_SIZE)
    return send(Load(port=system.port, path=BATCH, body=body, requests=requests, connections=BATCH_CONNECTIONS))
