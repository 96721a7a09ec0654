"""Measures every job system in the same way: latency on an idle system, then the throughput of no-op jobs, memory after that, and
how soon the jobs of killed workers run again. Everything is bounded in time.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.bench.peers.apps import marks
from tests.bench.peers.environment import CannotRun, last_line
from tests.bench.percentiles import percentile
from tests.support.gauges import memory_mib

APPS = Path(marks.__file__).parent
WARM_UP, HOLDS = 20, 2
START_S = 30.0
MAX_S = 60.0
POLL_S = 0.005
STOP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is run, the same for every job system."""

    jobs: int
    latency_jobs: int
    hold_s: float = 3.0
    again_s: float = 20.0

    @property
    def slots(self) -> int:
        """The number of marks that the workload needs."""
        return WARM_UP + self.latency_jobs + self.jobs + 2 * HOLDS


@dataclass(slots=True, kw_only=True)
class Result:
    """The result. `again_s`: None when the jobs did not run again in time."""

    jobs_per_s: float = 0.0
    waits_ms: list[float] = field(default_factory=list)
    memory_mib: float = 0.0
    again_s: float | None = None
    remarks: list[str] = field(default_factory=list)

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the time from submit to start."""
        return percentile(self.waits_ms, percent)


@dataclass(slots=True, kw_only=True)
class Runner:
    """A job system that is ready to run. `others`: processes that belong to it besides its workers."""

    python: str
    app: str
    environment: Mapping[str, str]
    workers: Sequence[Sequence[str]]
    folder: Path
    marks: memoryview
    others: Sequence[int] = ()
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start the workers, each in a process group of its own."""
        with (self.folder / "said.txt").open("ab") as output:
            self.started = [
                subprocess.Popen(
                    command, cwd=APPS, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    start_new_session=True,
                )
                for command in self.workers
            ]  # fmt: skip

    def run_once(self, command: Sequence[str]) -> None:
        """Run a command that must be done first."""
        done = subprocess.run(
            command, cwd=APPS, env=self.environment, capture_output=True, text=True, timeout=START_S, stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise CannotRun(f"{' '.join(command)} fails: {last_line(done.stderr)}")

    def kill(self) -> None:
        """Kill all workers at once with SIGKILL."""
        _signal_all(_trees([process.pid for process in self.started]), signal.SIGKILL)
        self._reap()

    def stop(self) -> None:
        """Stop the workers: SIGTERM first, then SIGKILL; nothing is left."""
        processes = _trees([process.pid for process in self.started])
        for process in self.started:
            with contextlib.suppress(OSError):
                process.terminate()
        psutil.wait_procs(processes, timeout=STOP_S)
        _signal_all(processes, signal.SIGKILL)
        self._reap()

    def memory_mib(self) -> float:
        """The PSS of workers and others."""
        return sum(memory_mib(process.pid) for process in _trees([*self.others, *(process.pid for process in self.started)]))

    def said(self) -> str:
        """The last output of the workers."""
        return last_line((self.folder / "said.txt").read_text(errors="replace"))

    def produce(self, how: str, first: int, count: int, *words: object) -> dict[str, object]:
        """Run the producer; returns what it reports."""
        command = [self.python, "produce.py", self.app, how, str(first), str(count), *map(str, words)]
        try:
            done = subprocess.run(
                command, cwd=APPS, env=self.environment, capture_output=True, text=True, timeout=2 * MAX_S,
                stdin=subprocess.DEVNULL, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            raise CannotRun(f"its producer is not done after {2 * MAX_S:.0f} s") from late
        if done.returncode:
            raise CannotRun(f"its producer fails: {last_line(done.stderr)}")
        report: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return report

    def _reap(self) -> None:
        for process in self.started:
            process.wait()
        self.started = []


def run(runner: Runner, workload: Workload) -> Result:
    """Measure everything with a runner whose workers are started."""
    result = Result()
    place = _warm_up(runner)
    report = runner.produce("one", place, workload.latency_jobs)
    result.waits_ms = list(report["waits_ms"])  # type: ignore[call-overload]
    place += workload.latency_jobs
    began_ns = int(runner.produce("many", place, workload.jobs)["began_ns"])  # type: ignore[call-overload]
    _measure_speed(runner, range(place, place + workload.jobs), began_ns, result)
    result.memory_mib = runner.memory_mib()
    if not result.remarks:  # jobs that are still queued would distort this
        result.again_s = _again_s(runner, place + workload.jobs, workload, result.remarks)
    return result


def _warm_up(runner: Runner) -> int:
    """Wait until the first jobs have run; returns the next free place."""
    runner.produce("many", 0, WARM_UP)
    if not _wait(runner.marks, range(WARM_UP), within_s=START_S):
        raise CannotRun(f"its workers run nothing within {START_S:.0f} s: {runner.said()}")
    return WARM_UP


def _measure_speed(runner: Runner, places: range, began_ns: int, result: Result) -> None:
    left_s = MAX_S - (time.monotonic_ns() - began_ns) / 1e9
    is_whole = _wait(runner.marks, places, within_s=left_s)
    signed = [at_ns for at_ns in runner.marks[places.start : places.stop].tolist() if at_ns]
    ended_ns = max(signed, default=began_ns) if is_whole else time.monotonic_ns()
    result.jobs_per_s = len(signed) / max((ended_ns - began_ns) / 1e9, 1e-9)
    if not is_whole:
        result.remarks.append(f"stopped after {MAX_S:.0f} s, {len(signed):,} jobs")


def _again_s(runner: Runner, place: int, workload: Workload, remarks: list[str]) -> float | None:
    """Kill all workers while jobs run and restart them at once; the time until all those jobs have ended, less their duration."""
    runner.produce("hold", place, 2 * HOLDS, workload.hold_s)
    begins = range(place, place + 2 * HOLDS, 2)
    if not _wait(runner.marks, begins[:1], within_s=workload.again_s):
        return None
    runner.kill()
    hit = [begin for begin in begins if runner.marks[begin] and not runner.marks[begin + 1]]
    killed_at = time.monotonic()
    runner.start()
    if not hit:
        remarks.append("no job was hit by the kill")
        return None
    if not _wait(runner.marks, [begin + 1 for begin in hit], within_s=workload.again_s):
        return None
    return max(0.0, time.monotonic() - killed_at - workload.hold_s)


def _wait(slots: memoryview, places: Sequence[int], *, within_s: float) -> bool:
    """Whether all of these were marked in time. Checks the last one first, so waiting costs next to nothing."""
    give_up_at = time.monotonic() + within_s
    missing = list(places)
    while True:
        while missing and slots[missing[-1]]:
            missing.pop()
        if not missing:
            return True
        if time.monotonic() > give_up_at:
            return False
        time.sleep(POLL_S)


@contextlib.contextmanager
def fresh_marks(workload: Workload) -> Iterator[tuple[Path, memoryview]]:
    """A file of marks, and the marks mapped into memory."""
    with tempfile.TemporaryDirectory(prefix="jobyard-marks-") as name:
        path = Path(name) / "marks"
        path.write_bytes(bytes(workload.slots * marks.SLOT))
        yield path, marks.open_marks(path)  # type: ignore[no-untyped-call]


def environment_of(path: Path, url: str, programs: Path) -> dict[str, str]:
    """The environment of a peer's processes, with little of our own."""
    inherited = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    search = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    own = {"PATH": search, "PYTHONPATH": str(APPS), "BENCH_MARKS": str(path), "BENCH_URL": url, "PYTHONWARNINGS": "ignore"}
    return inherited | own


def worker_commands(command: str, url: str, programs: Path, copies: int) -> list[list[str]]:
    """The commands of this many workers."""
    program, *words = shlex.split(command.format(url=url))
    return [[str(programs / program), *words]] * copies


def _trees(pids: Sequence[int]) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    return found


def _signal_all(processes: Sequence[psutil.Process], signal_number: int) -> None:
    """Before SIGKILL, all processes are stopped, so that none sees another one die."""
    for each in (signal.SIGSTOP, signal_number) if signal_number == signal.SIGKILL else (signal_number,):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(each)
