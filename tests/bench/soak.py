"""`bin/bench --soak SECONDS`: a steady load for long, sampled all the while; the plots are drawn by `plots.py`.

One thread submits no-op jobs by the hundred at a steady rate, whatever comes of them. Another one asks twenty times a second
how long a job takes to its first line. Sampled are jobs completed, those latencies, memory, CPU, the log of the database.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.client import TAKEN, Client
from tests.bench.effort import Effort
from tests.bench.figures import Figure
from tests.bench.guestbook import Guestbook
from tests.bench.report import shown
from tests.bench.spread import percentile
from tests.bench.system import System, running_system
from tests.bench.table import Table
from tests.support.gauges import log_mib

BATCH = 100
PROBE_EVERY_S = 0.05
SAMPLES = 300
SHORTEST_SAMPLE_S = 1.0
PROGRAM = "tests.bench.plots"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was seen in one stretch of time; `at_s` is its end, `waits_ms` are the latencies of the probes that came back in it."""

    at_s: float
    jobs_per_s: float
    waits_ms: list[float]
    memory_mib: float
    cpu_percent: float
    log_mib: float


class Busy(threading.Thread):
    """Does something again and again until it is told to end; `end` raises what went wrong meanwhile."""

    def __init__(self, doing: Callable[[], object], *, every_s: float) -> None:
        super().__init__(daemon=True)
        self._doing = doing
        self._every_s = every_s
        self._ends = threading.Event()
        self._fault: Exception | None = None

    def run(self) -> None:
        """At a steady rate: what comes too late is made up for."""
        due_at = time.monotonic()
        try:
            while not self._ends.wait(max(0.0, due_at - time.monotonic())):
                due_at += self._every_s
                self._doing()
        except Exception as fault:
            self._fault = fault

    def end(self) -> None:
        """No more."""
        self._ends.set()
        self.join()
        if self._fault is not None:
            raise self._fault


class Submitter:
    """Batches over one connection."""

    def __init__(self, system: System) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=30)
        self._body = json.dumps({"jobs": [{"payload": "test job"}] * BATCH})
        self.accepted = 0
        self.refused = 0

    def submit(self) -> None:
        """One batch."""
        self._connection.request("POST", "/api/jobs/batch", self._body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        self.accepted += BATCH * (answer.status in TAKEN)
        self.refused += answer.status not in TAKEN


class Prober:
    """Asks how long a job takes to its first line."""

    def __init__(self, system: System) -> None:
        self._guestbook = Guestbook(system.folder)
        self._client = Client(system.port)
        self._waits_ms: list[float] = []

    def probe(self) -> None:
        """Once."""
        payload = self._guestbook.invite()
        sent_ns = self._client.submit("bench_start", payload)
        [waiter] = self._guestbook.wait_for([payload["number"]])
        self._waits_ms.append((waiter.monotonic_ns - sent_ns) / 1e6)

    def take(self) -> list[float]:
        """What was seen since the last look."""
        taken, self._waits_ms = self._waits_ms, []
        return taken


def measure_soak(effort: Effort, *, seconds: float, plots: Path) -> Iterator[Figure | Table]:
    """So long; the samples and the plots are written to the folder `plots`."""
    with running_system() as system:
        submitter, prober = Submitter(system), Prober(system)
        busy = [Busy(submitter.submit, every_s=BATCH / effort.soak_per_s), Busy(prober.probe, every_s=PROBE_EVERY_S)]
        for each in busy:
            each.start()
        samples = list(_sampled(system, prober, seconds))
        for each in busy:
            each.end()
        system.wait_quiet()
        told = [*rows(samples), ["jobs accepted", f"{submitter.accepted:,}"], ["requests refused", f"{submitter.refused:,}"]]
        told.append(["jobs completed", f"{system.completed():,}"])
    _draw(samples, plots)
    yield Table(
        name="soak", title=f"{seconds:,.0f} s at {effort.soak_per_s:,} jobs/s, by the hundred", columns=["", "value"], rows=told,
        note=f"Samples and plots: {plots}",
    )  # fmt: skip


def _sampled(system: System, prober: Prober, seconds: float) -> Iterator[Sample]:
    began = time.monotonic()
    seen_at, completed, cpu_s = began, system.completed(), system.cpu_s()
    every_s = max(SHORTEST_SAMPLE_S, seconds / SAMPLES)
    while seen_at - began < seconds:
        time.sleep(every_s)
        at, now_completed, now_cpu_s = time.monotonic(), system.completed(), system.cpu_s()
        yield Sample(
            at_s=at - began, jobs_per_s=(now_completed - completed) / (at - seen_at), waits_ms=prober.take(),
            cpu_percent=100 * (now_cpu_s - cpu_s) / (at - seen_at), memory_mib=system.memory_mib(), log_mib=log_mib(system.jobyard),
        )  # fmt: skip
        seen_at, completed, cpu_s = at, now_completed, now_cpu_s


def rows(samples: Sequence[Sample]) -> list[list[str]]:
    """In short."""
    tenth = max(1, len(samples) // 10)
    first_mib, last_mib = (max(each.memory_mib for each in part) for part in (samples[:tenth], samples[-tenth:]))
    waits_ms = [wait_ms for each in samples for wait_ms in each.waits_ms]
    per_s = [each.jobs_per_s for each in samples]
    return [
        ["jobs/s in a sample, least … most", f"{shown(min(per_s))} … {shown(max(per_s))}"],
        *([f"submit to start ms, p{percent:g}", shown(percentile(waits_ms, percent))] for percent in (50, 95, 99, 99.9, 100)),
        ["memory MiB, most in the first tenth", shown(first_mib)],
        ["memory MiB, most in the last tenth", shown(last_mib)],
        ["the database's log MiB, most", shown(max(each.log_mib for each in samples))],
        ["CPU, % of a core", shown(sum(each.cpu_percent for each in samples) / len(samples))],
    ]


def _draw(samples: list[Sample], plots: Path) -> None:
    """In a program of its own: matplotlib is no part of what the rest needs."""
    plots.mkdir(parents=True, exist_ok=True)
    file = plots / "soak.json"
    file.write_text(json.dumps([asdict(each) for each in samples]) + "\n")
    subprocess.run([sys.executable, "-m", PROGRAM, str(file), str(plots)], check=True)
