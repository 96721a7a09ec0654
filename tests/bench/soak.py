"""`bin/bench --soak SECONDS`: a steady load for a long time, with samples throughout; `plots.py` draws the plots.

One thread submits no-op jobs by the hundred at a steady rate, regardless of how fast they run. Another one measures twenty times a
second how long a job takes to start. Sampled are completed jobs, these latencies, memory, CPU, and the size of the database's log.
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

from tests.bench.client import ACCEPTED, Client
from tests.bench.effort import Effort
from tests.bench.figures import Figure
from tests.bench.percentiles import percentile
from tests.bench.report import digits
from tests.bench.start_recorder import StartRecorder
from tests.bench.system import System, running_system
from tests.bench.table import Table
from tests.support.gauges import log_mib

BATCH = 100
PROBE_EVERY_S = 0.05
SAMPLES = 300
MIN_SAMPLE_S = 1.0
PROGRAM = "tests.bench.plots"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The measurements of one interval. `at_s`: its end. `waits_ms`: the latencies of the probes that finished in it."""

    at_s: float
    jobs_per_s: float
    waits_ms: list[float]
    memory_mib: float
    cpu_percent: float
    log_mib: float


class RepeatingThread(threading.Thread):
    """A thread that repeats an action until `end`, which raises the error that stopped it, if any."""

    def __init__(self, action: Callable[[], object], *, every_s: float) -> None:
        super().__init__(daemon=True)
        self._action = action
        self._every_s = every_s
        self._ends = threading.Event()
        self._fault: Exception | None = None

    def run(self) -> None:
        """Repeat the action at a steady rate, catching up after delays."""
        due_at = time.monotonic()
        try:
            while not self._ends.wait(max(0.0, due_at - time.monotonic())):
                due_at += self._every_s
                self._action()
        except Exception as fault:
            self._fault = fault

    def end(self) -> None:
        """Stop repeating."""
        self._ends.set()
        self.join()
        if self._fault is not None:
            raise self._fault


class Submitter:
    """Submits batches over one connection."""

    def __init__(self, system: System) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=30)
        self._body = json.dumps({"jobs": [{"payload": "test job"}] * BATCH})
        self.accepted = 0
        self.refused = 0

    def submit(self) -> None:
        """Submit one batch."""
        self._connection.request("POST", "/api/jobs/batch", self._body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        self.accepted += BATCH * (answer.status in ACCEPTED)
        self.refused += answer.status not in ACCEPTED


class Prober:
    """Measures how long a job takes to start."""

    def __init__(self, system: System) -> None:
        self._start_recorder = StartRecorder(system.folder)
        self._client = Client(system.port)
        self._waits_ms: list[float] = []

    def probe(self) -> None:
        """Measure once."""
        payload = self._start_recorder.new_payload()
        sent_ns = self._client.submit("bench_start", payload)
        [start] = self._start_recorder.wait_for([payload["number"]])
        self._waits_ms.append((start.monotonic_ns - sent_ns) / 1e6)

    def take(self) -> list[float]:
        """The latencies since the last call."""
        taken, self._waits_ms = self._waits_ms, []
        return taken


def measure_soak(effort: Effort, *, seconds: float, plots: Path) -> Iterator[Figure | Table]:
    """Run for this long; the samples and the plots are written to the folder `plots`."""
    with running_system() as system:
        submitter, prober = Submitter(system), Prober(system)
        busy = [
            RepeatingThread(submitter.submit, every_s=BATCH / effort.soak_per_s),
            RepeatingThread(prober.probe, every_s=PROBE_EVERY_S),
        ]
        for each in busy:
            each.start()
        samples = list(_sampled(system, prober, seconds))
        for each in busy:
            each.end()
        system.wait_idle()
        summary = [*rows(samples), ["jobs accepted", f"{submitter.accepted:,}"], ["requests refused", f"{submitter.refused:,}"]]
        summary.append(["jobs completed", f"{system.completed():,}"])
    _draw(samples, plots)
    yield Table(
        name="soak", title=f"{seconds:,.0f} s at {effort.soak_per_s:,} jobs/s, by the hundred", columns=["", "value"], rows=summary,
        note=f"Samples and plots: {plots}",
    )  # fmt: skip


def _sampled(system: System, prober: Prober, seconds: float) -> Iterator[Sample]:
    began = time.monotonic()
    seen_at, completed, cpu_s = began, system.completed(), system.cpu_s()
    every_s = max(MIN_SAMPLE_S, seconds / SAMPLES)
    while seen_at - began < seconds:
        time.sleep(every_s)
        at, now_completed, used_s = time.monotonic(), system.completed(), system.cpu_since_s(cpu_s)
        yield Sample(
            at_s=at - began, jobs_per_s=(now_completed - completed) / (at - seen_at), waits_ms=prober.take(),
            cpu_percent=100 * used_s / (at - seen_at), memory_mib=system.memory_mib(), log_mib=log_mib(system.jobyard),
        )  # fmt: skip
        seen_at, completed, cpu_s = at, now_completed, system.cpu_s()


def rows(samples: Sequence[Sample]) -> list[list[str]]:
    """A summary of the samples."""
    tenth = max(1, len(samples) // 10)
    first_mib, last_mib = (max(each.memory_mib for each in part) for part in (samples[:tenth], samples[-tenth:]))
    waits_ms = [wait_ms for each in samples for wait_ms in each.waits_ms]
    per_s = [each.jobs_per_s for each in samples]
    return [
        ["jobs/s in a sample, least … most", f"{digits(min(per_s))} … {digits(max(per_s))}"],
        *([f"submit to start ms, p{percent:g}", digits(percentile(waits_ms, percent))] for percent in (50, 95, 99, 99.9, 100)),
        ["memory MiB, most in the first tenth", digits(first_mib)],
        ["memory MiB, most in the last tenth", digits(last_mib)],
        ["the database's log MiB, most", digits(max(each.log_mib for each in samples))],
        ["CPU, % of a core", digits(sum(each.cpu_percent for each in samples) / len(samples))],
    ]


def _draw(samples: list[Sample], plots: Path) -> None:
    """Draw in a separate program, since only that needs matplotlib."""
    plots.mkdir(parents=True, exist_ok=True)
    file = plots / "soak.json"
    file.write_text(json.dumps([asdict(each) for each in samples]) + "\n")
    subprocess.run([sys.executable, "-m", PROGRAM, str(file), str(plots)], check=True)
