"""How soon a job begins on an idle system, and how well its time is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.client import Client, rfc3339_at
from tests.bench.effort import Effort
from tests.bench.figures import Figure, figure
from tests.bench.guestbook import Guestbook
from tests.bench.spread import percentile
from tests.bench.system import System

PAUSE_S = 0.02
FIRST_DUE_S = 1.0
SPREAD_S = 0.03
CROWD, CROWD_S = 1_000, 1.0
WARM_UP_JOBS = 20


def measure_latency(system: System, guestbook: Guestbook, effort: Effort) -> Iterator[Figure]:
    """One job at a time, each on a system that has come to rest."""
    client = Client(system.port)
    for _ in range(WARM_UP_JOBS):
        _submit_to_start_ms(client, guestbook)
    waits_ms = [_submit_to_start_ms(client, guestbook) for _ in range(effort.latency_jobs)]
    client.close()
    yield figure("latency_p50_ms", percentile(waits_ms, 50))
    yield figure("latency_p99_ms", percentile(waits_ms, 99))


def measure_lateness(system: System, guestbook: Guestbook, effort: Effort) -> Iterator[Figure]:
    """Jobs due one after the other, submitted well before."""
    alone_ms = _lateness_ms(system, guestbook, jobs=effort.scheduled_jobs, apart_s=SPREAD_S, first_due_s=FIRST_DUE_S)
    yield figure("lateness_p50_ms", percentile(alone_ms, 50))
    yield figure("lateness_p99_ms", percentile(alone_ms, 99))
    crowd_ms = _lateness_ms(system, guestbook, jobs=CROWD, apart_s=CROWD_S / CROWD, first_due_s=FIRST_DUE_S)
    yield figure("lateness_crowd_p99_ms", percentile(crowd_ms, 99))
    earliest_ms = min(*alone_ms, *crowd_ms)
    yield figure("earliest_ms", earliest_ms, "a job ran before its time" if earliest_ms < 0 else "")


def _lateness_ms(system: System, guestbook: Guestbook, *, jobs: int, apart_s: float, first_due_s: float) -> list[float]:
    first_due_ns = time.time_ns() + int(first_due_s * 1e9)
    due_ns: dict[int, int] = {}
    asked: list[dict[str, object]] = []
    for index in range(jobs):
        payload = guestbook.invite()
        at_ns = (first_due_ns + int(index * apart_s * 1e9)) // 1_000_000 * 1_000_000
        due_ns[payload["number"]] = at_ns
        asked.append({"task": "bench_start", "payload": payload, "scheduled_at": rfc3339_at(at_ns)})
    client = Client(system.port)
    client.submit_batch(asked)
    client.close()
    waiters = guestbook.wait_for(list(due_ns))
    return [(waiter.wall_ns - due_ns[waiter.number]) / 1e6 for waiter in waiters]


def _submit_to_start_ms(client: Client, guestbook: Guestbook) -> float:
    payload = guestbook.invite()
    sent_ns = client.submit("bench_start", payload)
    [waiter] = guestbook.wait_for([payload["number"]])
    time.sleep(PAUSE_S)
    return (waiter.monotonic_ns - sent_ns) / 1e6
