"""Measures one after the other, all alike: latency on an idle system, then as many no-op jobs as fast as they go, memory after
that, and how soon jobs run again whose workers were killed. Everything is bounded in time.
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
from tests.bench.spread import percentile
from tests.support.gauges import memory_mib

APPS = Path(marks.__file__).parent
WARM_UP, HOLDS = 20, 2
START_S = 30.0
LONGEST_S = 60.0
LOOK_EVERY_S = 0.005
STOP_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is run: the same for all."""

    jobs: int
    latency_jobs: int
    hold_s: float = 3.0
    again_s: float = 20.0

    @property
    def slots(self) -> int:
        """Marks for all of it."""
        return WARM_UP + self.latency_jobs + self.jobs + 2 * HOLDS


@dataclass(slots=True, kw_only=True)
class Finish:
    """What came of it; `again_s` None: not in the course's time."""

    jobs_per_s: float = 0.0
    waits_ms: list[float] = field(default_factory=list)
    memory_mib: float = 0.0
    again_s: float | None = None
    remarks: list[str] = field(default_factory=list)

    def percentile_ms(self, percent: float) -> float:
        """Of submit to start."""
        return percentile(self.waits_ms, percent)


@dataclass(slots=True, kw_only=True)
class Runner:
    """One of those compared, ready to run; `others` are processes that are part of it, besides its workers."""

    python: str
    app: str
    environment: Mapping[str, str]
    workers: Sequence[Sequence[str]]
    folder: Path
    marks: memoryview
    others: Sequence[int] = ()
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """The workers, each in a group of its own."""
        with (self.folder / "said.txt").open("ab") as output:
            self.started = [
                subprocess.Popen(
                    command, cwd=APPS, env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    start_new_session=True,
                )
                for command in self.workers
            ]  # fmt: skip

    def run_once(self, command: Sequence[str]) -> None:
        """Something that must be done before."""
        done = subprocess.run(
            command, cwd=APPS, env=self.environment, capture_output=True, text=True, timeout=START_S, stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise CannotRun(f"{' '.join(command)} fails: {last_line(done.stderr)}")

    def kill(self) -> None:
        """With -9, all of them at once, as nobody can prevent."""
        _signal_all(_trees([process.pid for process in self.started]), signal.SIGKILL)
        self._reap()

    def stop(self) -> None:
        """Asked first, then killed; nothing is left."""
        processes = _trees([process.pid for process in self.started])
        for process in self.started:
            with contextlib.suppress(OSError):
                process.terminate()
        psutil.wait_procs(processes, timeout=STOP_S)
        _signal_all(processes, signal.SIGKILL)
        self._reap()

    def memory_mib(self) -> float:
        """PSS of workers and others."""
        return sum(memory_mib(process.pid) for process in _trees([*self.others, *(process.pid for process in self.started)]))

    def said(self) -> str:
        """The workers' last words."""
        return last_line((self.folder / "said.txt").read_text(errors="replace"))

    def produce(self, how: str, first: int, count: int, *words: object) -> dict[str, object]:
        """Have the producer submit; what it tells."""
        command = [self.python, "produce.py", self.app, how, str(first), str(count), *map(str, words)]
        try:
            done = subprocess.run(
                command, cwd=APPS, env=self.environment, capture_output=True, text=True, timeout=2 * LONGEST_S,
                stdin=subprocess.DEVNULL, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as late:
            raise CannotRun(f"its producer is not done after {2 * LONGEST_S:.0f} s") from late
        if done.returncode:
            raise CannotRun(f"its producer fails: {last_line(done.stderr)}")
        told: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return told

    def _reap(self) -> None:
        for process in self.started:
            process.wait()
        self.started = []


def run(runner: Runner, course: Course) -> Finish:
    """All of it, by a runner whose workers are started."""
    finish = Finish()
    place = _warm_up(runner)
    told = runner.produce("one", place, course.latency_jobs)
    finish.waits_ms = list(told["waits_ms"])  # type: ignore[call-overload]
    place += course.latency_jobs
    began_ns = int(runner.produce("many", place, course.jobs)["began_ns"])  # type: ignore[call-overload]
    _measure_speed(runner, range(place, place + course.jobs), began_ns, finish)
    finish.memory_mib = runner.memory_mib()
    if not finish.remarks:  # what is still queued would be in the way
        finish.again_s = _again_s(runner, place + course.jobs, course, finish.remarks)
    return finish


def _warm_up(runner: Runner) -> int:
    """Until the first jobs have run; the next place."""
    runner.produce("many", 0, WARM_UP)
    if not _wait(runner.marks, range(WARM_UP), within_s=START_S):
        raise CannotRun(f"its workers run nothing within {START_S:.0f} s: {runner.said()}")
    return WARM_UP


def _measure_speed(runner: Runner, places: range, began_ns: int, finish: Finish) -> None:
    left_s = LONGEST_S - (time.monotonic_ns() - began_ns) / 1e9
    is_whole = _wait(runner.marks, places, within_s=left_s)
    signed = [at_ns for at_ns in runner.marks[places.start : places.stop].tolist() if at_ns]
    ended_ns = max(signed, default=began_ns) if is_whole else time.monotonic_ns()
    finish.jobs_per_s = len(signed) / max((ended_ns - began_ns) / 1e9, 1e-9)
    if not is_whole:
        finish.remarks.append(f"stopped after {LONGEST_S:.0f} s, {len(signed):,} jobs")


def _again_s(runner: Runner, place: int, course: Course, remarks: list[str]) -> float | None:
    """Kill all workers while jobs run, start them again at once; until all that had begun have ended, less what they take."""
    runner.produce("hold", place, 2 * HOLDS, course.hold_s)
    begins = range(place, place + 2 * HOLDS, 2)
    if not _wait(runner.marks, begins[:1], within_s=course.again_s):
        return None
    runner.kill()
    struck = [begin for begin in begins if runner.marks[begin] and not runner.marks[begin + 1]]
    killed_at = time.monotonic()
    runner.start()
    if not struck:
        remarks.append("no job was hit by the kill")
        return None
    if not _wait(runner.marks, [begin + 1 for begin in struck], within_s=course.again_s):
        return None
    return max(0.0, time.monotonic() - killed_at - course.hold_s)


def _wait(slots: memoryview, places: Sequence[int], *, within_s: float) -> bool:
    """Whether all of these were signed in time. Looks at the last one first: it costs next to nothing while it waits."""
    give_up_at = time.monotonic() + within_s
    missing = list(places)
    while True:
        while missing and slots[missing[-1]]:
            missing.pop()
        if not missing:
            return True
        if time.monotonic() > give_up_at:
            return False
        time.sleep(LOOK_EVERY_S)


@contextlib.contextmanager
def fresh_marks(course: Course) -> Iterator[tuple[Path, memoryview]]:
    """A file of them, and the same in memory."""
    with tempfile.TemporaryDirectory(prefix="jobyard-marks-") as name:
        path = Path(name) / "marks"
        path.write_bytes(bytes(course.slots * marks.SLOT))
        yield path, marks.open_marks(path)  # type: ignore[no-untyped-call]


def surroundings(path: Path, url: str, programs: Path) -> dict[str, str]:
    """The environment of a peer's processes: little of ours."""
    inherited = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    search = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    own = {"PATH": search, "PYTHONPATH": str(APPS), "BENCH_MARKS": str(path), "BENCH_URL": url, "PYTHONWARNINGS": "ignore"}
    return inherited | own


def worker_commands(command: str, url: str, programs: Path, copies: int) -> list[list[str]]:
    """So many of it."""
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
    """First stopped, when they are to die: nobody of them sees another one's end."""
    for each in (signal.SIGSTOP, signal_number) if signal_number == signal.SIGKILL else (signal_number,):
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(each)
