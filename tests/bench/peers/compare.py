"""`bin/bench --peers`: Jobyard first, then every peer of the catalogue, in one table."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.effort import Effort
from tests.bench.figures import Figure
from tests.bench.peers.catalogue import PEERS, Peer
from tests.bench.peers.environment import CannotRun, peer_bin, versions
from tests.bench.peers.measure import APPS, Result, Runner, Workload, environment_of, fresh_marks, run, worker_commands
from tests.bench.report import digits
from tests.bench.speed import one_by_one
from tests.bench.system import System, running_system
from tests.bench.table import Table
from tests.support.system import CHECKOUT
from tests.support.waiting import wait_for

OURS, OURS_SINGLE = "Jobyard", "Jobyard, one by one"
COLUMNS = ("", "jobs/s", "Jobyard is × faster", "start p50 ms", "p99 ms", "p50 ÷ Jobyard's", "memory MiB", "again after kill -9, s")


@dataclass(slots=True)
class Jobyard(Runner):
    """Jobyard: a running system. Only its workers are killed, and the system itself restarts them."""

    system: System | None = field(default=None, kw_only=True)

    def start(self) -> None:
        """Does nothing: the system starts its own workers."""

    def kill(self) -> None:
        """Kill all workers; their executors die with them."""
        assert self.system is not None
        for pid in self.system.pids("worker"):
            os.kill(pid, 9)

    def memory_mib(self) -> float:
        """The PSS of all processes."""
        assert self.system is not None
        return self.system.memory_mib()


def measure_peers(effort: Effort, *, only: str = "") -> Iterator[Figure | Table]:
    """Measure Jobyard and the peers. `only`: those with this text in their name."""
    workload = Workload(jobs=effort.peer_jobs, latency_jobs=effort.latency_jobs)
    ours, single_per_s = _measure_ours(workload)
    rows = [row_of(OURS, ours, ours), [OURS_SINGLE, digits(single_per_s), f"{ours.jobs_per_s / single_per_s:.1f}", *[""] * 5]]
    notes = [
        _note(OURS, "this checkout", "bin/start-all", "all defaults; submitted by the thousand through its Python client"),
        _note(OURS_SINGLE, "the same", "", "16 connections, each job a request; until all are completed in the database"),
    ]
    for peer in PEERS:
        if only.lower() not in peer.name.lower():
            continue
        print(f"measuring {peer.name} …", file=sys.stderr, flush=True)
        row, note = measured(peer, workload, ours)
        rows.append(row)
        notes.append(note)
    yield Table(
        name="peers", title=f"{workload.jobs:,} no-op jobs, one producer, workers on two cores, from first submit to last start",
        columns=COLUMNS, rows=rows, note="\n".join([*_about(workload), *notes]),
    )  # fmt: skip


def _about(workload: Workload) -> list[str]:
    return [
        "start: submit to the task's first line on an idle system. memory: PSS after these jobs, the server included.",
        "kill -9: of all workers while jobs run, started again at once; until all that ran have run again (less what they take);",
        f"–: not within {workload.again_s:.0f} s.",
        "",
    ]


def measured(peer: Peer, workload: Workload, ours: Result) -> tuple[list[str], str]:
    """The peer's row and a note about it, or the reason why it cannot run."""
    try:
        result, words = _measure(peer, workload)
    except CannotRun as why:
        return [peer.name, *["–"] * (len(COLUMNS) - 1)], f"- {peer.name}: cannot run here: {why}."
    command = peer.command if peer.copies == 1 else f"{peer.copies} × {peer.command}"
    return row_of(peer.name, result, ours), _note(peer.name, words, command, "; ".join([peer.note, *result.remarks]))


def _measure(peer: Peer, workload: Workload) -> tuple[Result, str]:
    programs = peer_bin(peer.environment, peer.packages)
    with (
        peer.serve() as server,
        fresh_marks(workload) as (path, slots),
        tempfile.TemporaryDirectory(prefix="jobyard-peer-") as name,
    ):
        runner = Runner(
            python=str(programs / "python"), app=peer.app, environment=environment_of(path, server.url, programs),
            workers=worker_commands(peer.command, server.url, programs, peer.copies), folder=Path(name), marks=slots,
            others=[] if server.pid is None else [server.pid],
        )  # fmt: skip
        if peer.prepare:
            runner.run_once(worker_commands(peer.prepare, server.url, programs, 1)[0])
        runner.start()
        try:
            result = run(runner, workload)
        finally:
            runner.stop()
    words = [versions(programs, peer.shown), server.words]
    return result, ", ".join(filter(None, words))


def _measure_ours(workload: Workload) -> tuple[Result, float]:
    search = os.pathsep.join([str(APPS), str(CHECKOUT)])
    with (
        fresh_marks(workload) as (path, slots),
        running_system(TASKS="jobyard_app", PYTHONPATH=search, BENCH_MARKS=path) as system,
    ):
        environment = environment_of(path, f"http://127.0.0.1:{system.port}", Path(sys.executable).parent) | {"PYTHONPATH": search}
        runner = Jobyard(
            python=sys.executable, app="jobyard_app", environment=environment, workers=[], folder=system.folder, marks=slots,
            system=system,
        )  # fmt: skip
        result = run(runner, workload)
        wait_for(lambda: system.jobyard.get("/health").status == 200, within_s=30, told="a healthy system")
        system.wait_idle()
        already = system.completed()
        sent = one_by_one(system, workload.jobs)
        ended_ns = system.wait_completed(already + sent.accepted)
        return result, sent.accepted * 1e9 / (ended_ns - sent.began_ns)


def row_of(name: str, result: Result, ours: Result) -> list[str]:
    """A row with the peer's figures, and their ratios to ours."""
    p50_ms, p99_ms = result.percentile_ms(50), result.percentile_ms(99)
    again = "–" if result.again_s is None else f"{result.again_s:.1f}"
    return [
        name, digits(result.jobs_per_s), f"{ours.jobs_per_s / result.jobs_per_s:.1f}", digits(p50_ms), digits(p99_ms),
        f"{p50_ms / ours.percentile_ms(50):.1f}", f"{result.memory_mib:.0f}", again,
    ]  # fmt: skip


def _note(name: str, words: str, command: str, note: str) -> str:
    return f"- {name} ({words}){f': `{command}`' if command else ''}: {note}."
